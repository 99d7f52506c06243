"""The demo CRM's SQLite file, and the one thread that may touch it.

Work arrives as functions of a connection. The thread takes all that has arrived, does it in one transaction,
commits (which waits for the disk), and only then gives out the results: one wait for the disk serves every
request that came in meanwhile, the event loop never waits, and nobody is told what a crash could still undo.
"""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from messagelog.storage.sqlite.file import make_private, make_private_folder

_T = TypeVar("_T")

Prepare = Callable[[sqlite3.Connection], None]

_BATCH_LIMIT = 256


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
        self._jobs: SimpleQueue[_QueuedWork[Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Does `work` in a transaction and returns its result once that is committed.

        What `work` raises undoes what it did, and is raised here. StoreUnavailableError: the file fails.
        """
        job = _QueuedWork(work)
        with self._gate:
            if self._thread is None:
                writer = _Writer(self._path, self._prepare, self._jobs)
                self._thread = threading.Thread(target=writer.serve, name="demo-crm-store", daemon=True)
                self._thread.start()
            self._jobs.put(job)
        return await asyncio.wrap_future(job.answer)

    def close(self) -> None:
        """Finishes what was asked for, then lets go of the file. Waits for the disk; may be called again."""
        with self._gate:
            if self._thread is not None:
                self._jobs.put(None)
                self._thread.join()
                self._thread = None


class _QueuedWork(Generic[_T]):
    """A piece of work, and the future that whoever asked for it awaits."""

    def __init__(self, work: Callable[[sqlite3.Connection], _T]) -> None:
        self.answer: Future[_T] = Future()
        self._work = work
        self._deliver: Callable[[], object] = self.answer.cancel

    def do(self, connection: sqlite3.Connection) -> None:
        """Does the work, or leaves no trace of it. Raises sqlite3.OperationalError when the file fails."""
        connection.execute("SAVEPOINT job")
        try:
            result = self._work(connection)
        except sqlite3.OperationalError:
            raise  # the file is in trouble, and with it everybody's work
        except Exception as error:  # noqa: BLE001 - whoever awaits the answer gets it, whatever it is
            connection.execute("ROLLBACK TO job")
            self.fail(error)
        else:
            self._deliver = lambda: self.answer.set_result(result)
        connection.execute("RELEASE job")

    def fail(self, error: Exception) -> None:
        """Lets the answer be `error`."""
        self._deliver = lambda: self.answer.set_exception(error)

    def deliver(self) -> None:
        """Gives out the result or the error."""
        self._deliver()


class _Writer:
    """Works in the thread: batch after batch until `None` arrives."""

    def __init__(self, path: Path, prepare: Prepare, jobs: "SimpleQueue[_QueuedWork[Any] | None]") -> None:
        self._path = path
        self._prepare = prepare
        self._jobs = jobs
        self._connection: sqlite3.Connection | None = None

    def serve(self) -> None:
        while job := self._jobs.get():
            self._run_batch(self._collect_batch(job))
        self._close()

    def _collect_batch(self, first: _QueuedWork[Any]) -> list[_QueuedWork[Any]]:
        """Takes the jobs that wait behind `first`, without those that nobody awaits any more."""
        batch: list[_QueuedWork[Any]] = [first]
        with contextlib.suppress(Empty):
            while len(batch) < _BATCH_LIMIT:
                job = self._jobs.get_nowait()
                if job is None:
                    self._jobs.put(None)  # `close` waits behind its gate, so nothing can follow
                    break
                batch.append(job)
        return [job for job in batch if job.answer.set_running_or_notify_cancel()]

    def _run_batch(self, batch: list[_QueuedWork[Any]]) -> None:
        try:
            connection = self._open()
            connection.execute("BEGIN")
            for job in batch:
                job.do(connection)
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._close()  # which undoes the batch; the next one opens the file anew
            for job in batch:
                job.fail(StoreUnavailableError(f"the file {self._path} cannot be used: {error}"))
        for job in batch:
            job.deliver()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
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
            self._connection = connection
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
