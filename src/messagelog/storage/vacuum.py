"""Removes from a database file the bytes of what was erased."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Final

from messagelog.storage.sqlite.file import holding
from messagelog.storage.sqlite.wal import count_transaction
from messagelog.storage.urls import is_sqlite, sqlite_path

_WAIT_SECONDS: Final = 60


def purge_deleted(url: str) -> bool:
    """Rewrite SQLite's file without what was erased, and empty its log (WAL); return False if that was not done.

    It waits for writers, and they wait for it. On PostgreSQL this is for the administrator: `VACUUM FULL`, the archived
    WAL, replicas.
    """
    if not is_sqlite(url):
        return False
    path = sqlite_path(url)
    with (
        holding(path),
        closing(sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)) as connection,
    ):
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("BEGIN IMMEDIATE")
        count_transaction(connection)
        connection.execute("COMMIT")
        connection.execute("VACUUM")
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy
