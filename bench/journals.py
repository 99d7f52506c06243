"""What the servers keep: emptied before a run, or filled with many rows that are as unevenly spread as real ones.

A few conversations have thousands of messages, most have one or two: the conversation of a row is a number between
0 and 1 to the power of three, times the number of conversations.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final, Protocol

from bench.postgres import OURS, PEER

if TYPE_CHECKING:
    from pathlib import Path

    from bench.postgres import Postgres

_MESSAGES_PER_CONVERSATION: Final = 5

# A number between 0 and 1 that looks like chance and is the same everywhere: Knuth's multiplicative hash.
_CHANCES: Final = (
    "chances AS (SELECT n, CAST((n * 2654435761) % 4294967296 AS double precision) / 4294967296 AS chance"
    " FROM numbers)"
)

_ROWS: Final = "SELECT n, CAST(chance * chance * chance * {conversations} AS bigint) AS c FROM chances"
_NUMBERS_POSTGRES: Final = "numbers AS (SELECT generate_series(1::bigint, {rows}) AS n)"
_NUMBERS_SQLITE: Final = "numbers AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})"

_PEER_ROWS: Final = """
INSERT INTO "messageLogs" ("id", "platform", "conversationId", "conversationLogId", "thirdPartyLogId", "userId",
                           "createdAt", "updatedAt")
SELECT '7' || n, 'bench', '6' || c, '6' || c || '/7/1/2026', 'old-' || c, 'u-1-bench', now(), now() FROM made
"""
_OUR_LOGS: Final = """
INSERT INTO "conversationLogs" (
    "tenant", "platform", "conversationLogId", "conversationId", "shared", "contactId", "contactType", "contactName",
    "pins", "state", "thirdPartyLogId", "generation", "createdBy", "version", "blocks", "fence", "callVersion",
    "tries", "createdAt", "updatedAt")
SELECT DISTINCT 'bench', 'bench', '6' || c || '/7/1/2026', '6' || c, false, 'c-' || (c % 50000), 'contact',
    'Maya Patel', '{{"format":"text/plain","zone":"UTC","locale":"en","template":1}}', 'open', 'old-' || c, 1,
    'u-1', 0, {blob}, 1, 0, 0, 1780000000000 + c, 1780000000000 + c
FROM made
"""
_OUR_ROWS: Final = """
INSERT INTO "messageLogs" (
    "tenant", "platform", "id", "conversationId", "conversationLogId", "thirdPartyLogId", "userId", "state",
    "sentAt", "version", "entryHash", "createdAt", "updatedAt")
SELECT 'bench', 'bench', '7' || n, '6' || c, '6' || c || '/7/1/2026', 'old-' || c, 'u-1', 'logged',
    1780000000000 + n, 0, {hash}, 1780000000000 + n, 1780000000000 + n
FROM made
"""


class Journal(Protocol):
    """What a server keeps."""

    def empty(self) -> None:
        """Forgets all messages; users stay."""

    def fill(self, rows: int) -> None:
        """Adds so many logged messages."""


class PeerJournal:
    """The peer's table in PostgreSQL; the published and the mended peer share it."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    def empty(self) -> None:
        """As the protocol says."""
        self._postgres.empty(PEER)

    def fill(self, rows: int) -> None:
        """As the protocol says; nothing when the other one's rows are there already."""
        if self._postgres.count(PEER) < rows:
            self._postgres.run(PEER, _in_postgres(_PEER_ROWS, rows), "VACUUM ANALYZE")


class PostgresJournal:
    """Our tables in PostgreSQL."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self.url = postgres.url(OURS)

    def empty(self) -> None:
        """As the protocol says."""
        self._postgres.empty(OURS)

    def fill(self, rows: int) -> None:
        """As the protocol says."""
        logs = _OUR_LOGS.format(blob="''::bytea")
        messages = _OUR_ROWS.format(hash="decode(md5(n::text), 'hex')")
        self._postgres.run(OURS, _in_postgres(logs, rows), _in_postgres(messages, rows), "VACUUM ANALYZE")


class SqliteJournal:
    """Our tables in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.url = f"sqlite:///{path}"

    def empty(self) -> None:
        """As the protocol says."""
        self._run('DELETE FROM "conversationLogs"', 'DELETE FROM "messageLogs"')

    def fill(self, rows: int) -> None:
        """As the protocol says."""
        logs, messages = _OUR_LOGS.format(blob="x''"), _OUR_ROWS.format(hash="randomblob(16)")
        self._run(_in_sqlite(logs, rows), _in_sqlite(messages, rows), "ANALYZE")

    def _run(self, *statements: str) -> None:
        with closing(sqlite3.connect(self._path, timeout=60, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)


def _in_postgres(insert: str, rows: int) -> str:
    return _with(insert, f"WITH {_NUMBERS_POSTGRES}", rows)


def _in_sqlite(insert: str, rows: int) -> str:
    return _with(insert, f"WITH RECURSIVE {_NUMBERS_SQLITE}", rows)


def _with(insert: str, numbers: str, rows: int) -> str:
    conversations = max(1, rows // _MESSAGES_PER_CONVERSATION)
    made = _ROWS.format(conversations=conversations)
    return f"{numbers.format(rows=rows)}, {_CHANCES}, made AS ({made}) {insert}"
