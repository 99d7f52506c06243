"""The demo CRM's SQLite file, and the one thread that may touch it."""

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from messagelog.storage.sqlite.file import make_private, make_private_folder
from messagelog.storage.sqlite.writer import SqliteWriter

_T = TypeVar("_T")

Prepare = Callable[[sqlite3.Connection], None]


class StoreUnavailableError(Exception):
    """The file cannot be opened, read or written; nothing of the work that was asked for is in it."""


class DemoCrmStore:
    """Runs work on the file at `path`, which is opened, and `prepare`d in a transaction, for the first of it.

    `run` may be called from any event loop. After `close` the next call opens the file again.
    """

    def __init__(self, path: Path, prepare: Prepare) -> None:
        self._path = path
        self._prepare = prepare
        self._gate = threading.Lock()
        self._writer: SqliteWriter[sqlite3.Connection] | None = None

    async def run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do `work` in a transaction and return its result once that is committed.

        An error of `work` undoes what it did, and is raised here; `StoreUnavailableError` when the file fails.
        """
        with self._gate:
            if self._writer is None:
                self._writer = SqliteWriter("demo-crm-store", self._open)
            done = self._writer.submit(work)
        try:
            return await done
        except sqlite3.IntegrityError:  # the work's own
            raise
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailableError(f"the file {self._path} cannot be used: {error}") from error

    def close(self) -> None:
        """Finish what was asked for, then let go of the file. Wait for the disk; may be called again."""
        with self._gate:
            if self._writer is not None:
                self._writer.close().result()
                self._writer = None

    def _open(self) -> sqlite3.Connection:
        make_private_folder(self._path.parent)
        make_private(self._path)
        with contextlib.ExitStack() as undo:
            connection = sqlite3.connect(self._path, isolation_level=None)
            undo.callback(connection.close)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            self._prepare(connection)
            undo.pop_all()
        return connection
