"""Loads the named SQL statements beside this file, in the spelling of a database.

They are in `journal.sql`, `inbox.sql`, `tenants.sql`, and `sealed.sql`, which is read once for each column of sealed
values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib import resources
from typing import Literal

from messagelog.storage.sealed_columns import SEALED

Dialect = Literal["sqlite", "postgres"]

_HEAD = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^--.*$\n?", re.MULTILINE)
_PARAMETER = re.compile(r"(?<![:\w]):(\w+)")

_SAME_IN_KEY = (
    '"groupContactId" = :group_contact AND "shared" = :shared'
    ' AND "tenant" = :tenant AND "platform" = :platform'
)
_SHARED: dict[str, str] = {
    "{this_log}": f'"clientLogId" = :log AND {_SAME_IN_KEY}',
    "{these_logs}": f'"clientLogId" {{in_ids}} AND {_SAME_IN_KEY}',
    "{this_row}": f'"messageId" = :id AND {_SAME_IN_KEY}',
    "{these_rows}": f'"messageId" {{in_ids}} AND {_SAME_IN_KEY}',
    "{log_key}": '"tenant", "platform", "clientLogId", "shared", "groupContactId"',
    # Within a tenant and platform, a text for each conversation log.
    "{one_log}": (
        """LENGTH("clientLogId") || '/' || "clientLogId" || "groupContactId" || CAST("shared" AS text)"""
    ),
    "{log_values}": """
       "conversationId", "contactId", "contactType", "contactName", "pins", "state", "reason", "thirdPartyLogId",
       "generation", "createdBy", "version", "blocks", "owner", "fence", "dueAt", "call", "callUser", "callVersion",
       "callBefore", "tries", "asks", "bodySize", "earlier", "refusals", "createdAt", "updatedAt", "journal"
    """.strip(),
    "{row_values}": """
       "messageId", "conversationId", "clientLogId", "thirdPartyLogId", "userId", "state", "reason", "sentAt",
       "version", "entryHash", "createdAt", "updatedAt", "facts", "factsAt", "changes"
    """.strip(),
}
"""Parts that statements share, and that are the same in both databases."""

_SPELLINGS: dict[Dialect, dict[str, str]] = {
    "sqlite": {
        # SQLite 3.40 has no unixepoch with fractions yet.
        "{now}": "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
        "{lock}": "",
        "{ids}": "(SELECT value AS id FROM json_each(:ids))",
        "{in_ids}": "IN (SELECT value FROM json_each(:ids))",
        "{cause}": """SUBSTR("reason" || ':', 1, INSTR("reason" || ':', ':') - 1)""",
    },
    "postgres": {
        "{now}": "(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
        "{lock}": "FOR UPDATE",
        "{ids}": "(SELECT id FROM unnest(:ids::text[]) AS listed (id))",
        "{in_ids}": "= ANY(:ids::text[])",
        "{cause}": """SPLIT_PART("reason", ':', 1)""",
    },
}
# With a clock of the caller's, the time comes in as a parameter that the adapter adds.
_GIVEN_CLOCK: dict[Dialect, str] = {"sqlite": ":now", "postgres": ":now::bigint"}


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement in a database's own spelling, and its parameters in the order of PostgreSQL's `$1`, `$2`, …"""

    name: str
    text: str
    parameters: tuple[str, ...]
    wire_name: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "wire_name", self.name.encode())


def load(dialect: Dialect, *, given_clock: bool) -> dict[str, Statement]:
    """Return the statements by name, with `:name` for SQLite, with `$1` for PostgreSQL."""
    spelling = _SHARED | _SPELLINGS[dialect]
    if given_clock:
        spelling["{now}"] = _GIVEN_CLOCK[dialect]
    of_columns = [_substitute(_file("sealed.sql"), column.names) for column in SEALED]
    files = (_file("journal.sql"), _file("inbox.sql"), _file("tenants.sql"), *of_columns)
    parts = [part for text in files for part in _HEAD.split(text)[1:]]
    found: dict[str, Statement] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if name in found:
            raise ValueError(f"two statements are called {name}")
        found[name] = _to_statement(name, body, dialect, spelling)
    return found


def _file(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8")


def _substitute(text: str, marks: dict[str, str]) -> str:
    for mark, spelled in marks.items():
        text = text.replace(mark, spelled)
    return text


def _to_statement(name: str, body: str, dialect: Dialect, spelling: dict[str, str]) -> Statement:
    text = _substitute(_COMMENT.sub("", body).strip(), spelling)
    parameters = tuple(dict.fromkeys(_PARAMETER.findall(text)))
    if dialect == "postgres":
        places = {parameter: f"${place}" for place, parameter in enumerate(parameters, 1)}
        text = _PARAMETER.sub(lambda found: places[found[1]], text)
    return Statement(name, text, parameters)
