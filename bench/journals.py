"""The databases of the servers: emptied before a run, or filled with many rows."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Protocol

from bench import rows
from bench.postgres import OURS, PEER

if TYPE_CHECKING:
    from pathlib import Path

    from bench.postgres import Postgres


class Journal(Protocol):
    """The database of a server."""

    def empty(self) -> None:
        """Delete all messages; users stay."""

    def fill(self, count: int) -> None:
        """Add this many logged messages."""


class PeerJournal:
    """The peer's table in PostgreSQL; the published and the fixed peer share it."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    def empty(self) -> None:
        """As the protocol says."""
        self._postgres.empty(PEER)

    def fill(self, count: int) -> None:
        """As the protocol says."""
        self._postgres.run(PEER, rows.peer_rows(count), "VACUUM ANALYZE")


class PostgresJournal:
    """Our tables in PostgreSQL."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self.url = postgres.url(OURS)

    def empty(self) -> None:
        """As the protocol says."""
        self._postgres.empty(OURS)

    def fill(self, count: int) -> None:
        """As the protocol says."""
        self._postgres.run(OURS, *rows.our_rows(count, "postgres"), "VACUUM ANALYZE")


class SqliteJournal:
    """Our tables in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.url = f"sqlite:///{path}"

    def empty(self) -> None:
        """As the protocol says."""
        self._run('DELETE FROM "conversationLogs"', 'DELETE FROM "messageLogs"')

    def fill(self, count: int) -> None:
        """As the protocol says."""
        self._run(*rows.our_rows(count, "sqlite"), "ANALYZE")

    def _run(self, *statements: str) -> None:
        with closing(sqlite3.connect(self._path, timeout=60, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)
