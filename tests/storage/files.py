"""SQLite files of the tests."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from messagelog.storage.database import migrate

if TYPE_CHECKING:
    from pathlib import Path


def journal_file(path: Path, *operators: str) -> Path:
    """A journal with the newest schema, and these operators as its only rows."""
    migrate(f"sqlite:///{path}")
    add_operators(path, *operators)
    return path


def add_operators(path: Path, *names: str, version: str | None = None) -> None:
    """Writes rows of a small table, or that the schema is of another version."""
    with closing(sqlite3.connect(path)) as connection, connection:
        if version is not None:
            connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
        connection.executemany(
            "INSERT INTO operators VALUES (?, '', '[]', 0, 0)", [(name,) for name in names]
        )


def operators(path: Path) -> list[str]:
    """The names in that table, of a file that must be whole."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [name for (name,) in connection.execute("SELECT name FROM operators ORDER BY name")]
