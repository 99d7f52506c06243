"""SQLite behind the port: one writer thread that groups commits, one reading connection.

WAL lets reading go on while the writer waits for the disk. `synchronous=FULL` makes every commit wait for the disk,
so transactions that arrive while one is being synced are committed together: each in a savepoint of its own, so
that one that fails takes no other with it.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sqlite3
import threading
from collections import defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from messagelog.storage.port import StoreClosed
from messagelog.storage.scripts.asking import Fetch, Together
from messagelog.storage.sqlite_file import hold, holding
from messagelog.storage.sqlite_log import count_transaction
from messagelog.storage.statements import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from messagelog.storage.port import Lock
    from messagelog.storage.scripts.asking import Ask, Params, Script

T = TypeVar("T")

_GROUP: Final = 64  # transactions that share a commit, at most
_BUSY_SECONDS: Final = 30
_READER_BUSY_SECONDS: Final = 2  # it waits on the event loop's thread, and only for the repair after a crash
_VERSION_SECONDS: Final = 10
_WAL_BYTES: Final = 64 * 1024 * 1024
_CACHED_STATEMENTS: Final = 512
"""All of ours, and room for those that differ from one transaction to the next."""


@dataclass(frozen=True, slots=True)
class _Job:
    script: Callable[[], Script[Any]]
    done: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


@dataclass(frozen=True, slots=True)
class _Outcome:
    job: _Job
    value: Any = None
    error: BaseException | None = None


class SqliteStore:
    """A journal in one file. `clock` (epoch milliseconds) stands in for the database's clock in tests.

    Everything raises `FileReplaced` once the file is not in its place any more.
    """

    def __init__(self, path: Path | str, *, clock: Callable[[], int] | None = None) -> None:
        self._path = str(path)
        self._clock = clock
        self._statements = {
            name: statement.text for name, statement in load("sqlite", given_clock=clock is not None).items()
        }
        self._file = hold(Path(path))
        try:
            self._reader = self._connected(_READER_BUSY_SECONDS)
            self._reader.execute("PRAGMA query_only=ON")
        except BaseException:
            self._file.release()
            raise
        self._writer: sqlite3.Connection | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closing = False
        self._queueing = threading.Lock()  # nothing is queued behind the end of the queue
        self._thread = threading.Thread(target=self._write_jobs, name="messagelog-writer", daemon=True)
        self._thread.start()

    async def read(self, script: Callable[[], Script[T]]) -> T:
        """Runs on the event loop's thread: a look-up by index takes microseconds, less than a change of threads."""
        if self._closing:
            raise StoreClosed("the store is closed")
        self._file.check()
        return self._run(self._reader, script())

    async def write(self, script: Callable[[], Script[T]], *, locks: Sequence[Lock] = ()) -> T:  # noqa: ARG002 - one runs after the other
        """Hands the script to the writer thread and waits until its commit is on disk."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        with self._queueing:
            if self._closing:
                raise StoreClosed("the store is closed")
            self._jobs.put(_Job(script, done, loop))
        return await done

    async def close(self) -> None:
        """Writes what is queued, then closes the file."""
        with self._queueing:
            self._closing = True
            self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._reader.close()
        self._file.release()

    def _connected(self, busy_seconds: float) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            isolation_level=None,
            check_same_thread=False,
            timeout=busy_seconds,
            cached_statements=_CACHED_STATEMENTS,
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
        return connection

    # ------------------------------------------------------------------------------ the writer thread

    def _write_jobs(self) -> None:
        while True:
            group, ends = self._gathered()
            _deliver(self._written(group))
            if ends:
                break
        if self._writer is not None:
            self._writer.close()

    def _gathered(self) -> tuple[list[_Job], bool]:
        """Waits for a job; gives it and those that queued up behind it, and whether the end of the queue was there."""
        group: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            group.append(job)
            if len(group) == _GROUP:
                return group, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _written(self, group: list[_Job]) -> list[_Outcome]:
        """Runs the jobs in one transaction. When it fails as a whole nobody's work was kept, and all are told so."""
        if not group:
            return []
        try:
            self._file.check()
            if self._writer is None:
                self._writer = self._connected(_BUSY_SECONDS)
            self._writer.execute("BEGIN IMMEDIATE")
            count_transaction(self._writer)
            outcomes = [self._outcome(self._writer, job) for job in group]
            self._writer.execute("COMMIT")
            self._file.check()  # what went into a file that is gone is not in the journal
        except BaseException as error:  # noqa: BLE001 - whatever it is, the callers are told, and the thread goes on
            self._abandon()
            return [_Outcome(job, error=error) for job in group]
        return outcomes

    def _abandon(self) -> None:
        """Lets go of a connection that cannot be trusted any more; closing it undoes what it had not committed."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _outcome(self, writer: sqlite3.Connection, job: _Job) -> _Outcome:
        writer.execute("SAVEPOINT job")
        try:
            value = self._run(writer, job.script())
        except BaseException as error:
            if not writer.in_transaction:
                raise  # SQLite has undone everything: the disk is full, the file is gone
            writer.execute("ROLLBACK TO job")
            writer.execute("RELEASE job")
            return _Outcome(job, error=error)
        writer.execute("RELEASE job")
        return _Outcome(job, value)

    # ---------------------------------------------------------------------------------------- scripts

    def _run(self, connection: sqlite3.Connection, script: Script[T]) -> T:
        try:
            ask = next(script)
            while True:
                ask = script.send(self._answered(connection, ask))
        except StopIteration as end:
            value: T = end.value
            return value

    def _answered(self, connection: sqlite3.Connection, ask: Ask) -> list[Any] | None:
        if isinstance(ask, Together):
            answers = [self._answered(connection, each) for each in ask.asks]
            return [rows for rows in answers if rows is not None]
        statement = self._statements[ask.name]
        if isinstance(ask, Fetch):
            return connection.execute(statement, self._bound(ask.params)).fetchall()
        for params in ask.params:
            connection.execute(statement, self._bound(params))
        return None

    def _bound(self, params: Params) -> Params:
        if "ids" in params:
            params = {**params, "ids": json.dumps(list(params["ids"]))}
        return params if self._clock is None else {**params, "now": self._clock()}


def _deliver(outcomes: Iterable[_Outcome]) -> None:
    """Tells the waiting coroutines, with one call into each event loop."""
    by_loop = defaultdict(list)
    for outcome in outcomes:
        by_loop[outcome.job.loop].append(outcome)
    for loop, those in by_loop.items():
        with suppress(RuntimeError):  # the loop was closed, and with it ended all who waited there
            loop.call_soon_threadsafe(_tell, those)


def _tell(outcomes: Iterable[_Outcome]) -> None:
    for outcome in outcomes:
        done = outcome.job.done
        if done.cancelled():
            continue
        if outcome.error is None:
            done.set_result(outcome.value)
        elif isinstance(outcome.error, StopIteration):  # a future takes any error but this
            done.set_exception(RuntimeError("a script ended before it began"))
        else:
            done.set_exception(outcome.error)


def version_of(path: Path) -> str | None:
    """The schema's version in a file, None where there is none."""
    with holding(path), closing(sqlite3.connect(path, timeout=_VERSION_SECONDS)) as connection:
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
    return None if row is None else str(row[0])
