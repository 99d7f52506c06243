"""Names what is wrong with a database, for log lines, answers and start-up messages, without a secret.

Drivers quote parts of the URL in their messages, and may take a password with an `@` in it for the name of a host. So
quoted text is left out. Neither driver is imported here: a process loads the one that it needs.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, cast


class Impact(Enum):
    """What an error says about the database as a whole."""

    AWAY = "away"
    """Nothing can be read or written."""
    UNWRITABLE = "unwritable"
    """Nothing can be committed; reads may go on."""
    PASSING = "passing"
    """One transaction has failed; the next one may succeed."""


@dataclass(frozen=True, slots=True)
class DatabaseFault:
    """What is wrong: SQLite's name for it or PostgreSQL's SQLSTATE, and a sentence."""

    code: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}"


_LOST: Final = "08006"
_NOT_CONNECTED: Final = "08001"

# libpq's errors of connecting have no SQLSTATE: the server's is not passed on.
_CONNECT_ERRORS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), code)
    for pattern, code in (
        (r"password authentication failed|no password supplied", "28P01"),
        (r"role .* does not exist|pg_hba\.conf|authentication failed", "28000"),
        (r"database .* does not exist", "3D000"),
        (r"starting up|shutting down|recovery mode|not (yet )?accepting connections", "57P03"),
        (r"too many clients|too many connections|remaining connection slots", "53300"),
        (
            r"closed the connection|connection reset|consuming input failed|connection is (lost|closed)|no answer",
            _LOST,
        ),
    )
)
_QUOTED: Final = re.compile(r"""(["']).*["']""", re.DOTALL)
_HEAD: Final = re.compile(r"^.*\bfailed: (?=\S)|^\s*FATAL:\s*")

_AWAY: Final = ("08", "57P", "28", "3D", "53300")
_UNWRITABLE: Final = ("25006", "53", "58", "XX001", "XX002")
_PASSING: Final = ("40", "55P03", "57014")

_SQLITE_UNWRITABLE: Final = (
    "SQLITE_BUSY",
    "SQLITE_CANTOPEN",
    "SQLITE_CORRUPT",
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_LOCKED",
    "SQLITE_NOTADB",
    "SQLITE_PROTOCOL",
    "SQLITE_READONLY",
)

_HINTS: Final = (
    (("28",), "The user or the password in MESSAGELOG_DATABASE_URL is not right."),
    (("3D",), "Create that database, then run `messagelog migrate`."),
    (("57P",), "It is starting or stopping: try again in a moment."),
    (("53300",), "Allow it more connections, or start fewer processes."),
    (("08",), "Does PostgreSQL run, and is MESSAGELOG_DATABASE_URL right?"),
    (("25006", "SQLITE_READONLY", "EROFS"), "It can be read but not be written to."),
    (("53100", "SQLITE_FULL", "ENOSPC"), "Make room on its disk."),
    (("SQLITE_BUSY", "SQLITE_LOCKED"), "Another program holds it: only one server may run on a file."),
    (
        ("SQLITE_CANTOPEN", "EACCES", "EPERM"),
        "The file, its folder or their permissions are not as they should be.",
    ),
    (("XX001", "XX002", "SQLITE_CORRUPT", "SQLITE_NOTADB"), "It is damaged: restore a backup."),
)


def cause_of(error: Any) -> DatabaseFault:
    """Return the fault that an error of a driver tells of; of any other error only its type."""
    if (known := getattr(error, "cause", None)) is not None:
        return cast("DatabaseFault", known)
    error = getattr(error, "orig", None) or error  # SQLAlchemy wraps them
    if (name := getattr(error, "sqlite_errorname", None)) is not None:
        return DatabaseFault(name, _without_quoted(str(error)))
    if hasattr(error, "sqlstate"):
        return DatabaseFault(_state_of(error), _first_line(str(error)))
    if isinstance(error, OSError) and error.errno is not None:
        return DatabaseFault(errno.errorcode.get(error.errno, "OSError"), error.strerror or "")
    return DatabaseFault(type(error).__name__, "an unexpected error")


def _state_of(error: Any) -> str:
    """Return PostgreSQL's SQLSTATE of an error, or the nearest one for an error of libpq itself."""
    if error.sqlstate is not None:
        return str(error.sqlstate)
    if not any(base.__name__ in {"OperationalError", "InterfaceError"} for base in type(error).__mro__):
        return type(error).__name__  # the statement is wrong, not the database
    return next((code for pattern, code in _CONNECT_ERRORS if pattern.search(str(error))), _NOT_CONNECTED)


def timeout_fault(seconds: float) -> DatabaseFault:
    """Return the fault of a transaction that did not end in time, though the database answers."""
    return DatabaseFault("57014", f"no end within {seconds:g} s")


def impact_of(cause: DatabaseFault) -> Impact | None:
    """Return what a fault says about the database; None if the transaction or its values are wrong."""
    code = cause.code
    if code.startswith(_PASSING) or code == "SQLITE_INTERRUPT":
        return Impact.PASSING
    if code.startswith(_AWAY):
        return Impact.AWAY
    if code.startswith((*_UNWRITABLE, *_SQLITE_UNWRITABLE)):
        return Impact.UNWRITABLE
    return None


def hint_of(cause: DatabaseFault) -> str:
    """Return a sentence that says what a person can do about it."""
    for codes, hint in _HINTS:
        if cause.code.startswith(codes):
            return hint
    return "Is MESSAGELOG_DATABASE_URL right, and does it run?"


def _first_line(text: str) -> str:
    """Return the first line of a message of libpq or the server, without the address that it is about."""
    line = text.partition("\n")[0]
    return _without_quoted(_HEAD.sub("", _HEAD.sub("", line))).strip()


def _without_quoted(text: str) -> str:
    """Return the text without all that is between its first quotation mark and its last."""
    return _QUOTED.sub(r"\1…\1", text)
