"""SQLite behind the port: one writer thread that groups commits, one reading connection.

WAL lets reading go on while the writer waits for the disk. `synchronous=FULL` makes every commit wait for the disk,
so transactions that arrive while one is being synced are committed together: each in a savepoint of its own, so
that one that fails takes no other with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import sqlite3
import threading
import time
from collections import defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from messagelog.storage import scripts
from messagelog.storage.breaker import Breaker
from messagelog.storage.causes import Trouble, cause_of, slowness, trouble_of
from messagelog.storage.port import ANSWER_SECONDS, StoreClosed, StoreUnavailable
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
_BUSY_SHARE: Final = 0.8  # of that time: what waits for another program's lock says so itself
_READER_BUSY_SECONDS: Final = 1  # it waits on the event loop's thread, and only for the repair after a crash
_STEPS: Final = 100_000  # of SQLite's machine, between two looks at the clock
_VERSION_SECONDS: Final = 10
_WAL_BYTES: Final = 64 * 1024 * 1024
_CACHED_STATEMENTS: Final = 512
"""All of ours, and room for those that differ from one transaction to the next."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A script for the writer thread; none is the end of the queue."""

    script: Callable[[], Script[Any]] | None
    done: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop

    @property
    def given_up(self) -> bool:
        """Whether whoever waited for it was told that it took too long."""
        return self.done.done() and not self.done.cancelled()


@dataclass(frozen=True, slots=True)
class _Outcome:
    job: _Job
    value: Any = None
    error: BaseException | None = None


class _Connection(sqlite3.Connection):
    """A connection whose statements are interrupted after `until`, by the monotonic clock."""

    until = float("inf")

    def is_late(self) -> bool:
        """Whether a statement has to end."""
        return time.monotonic() > self.until


class SqliteStore:
    """A journal in one file. `clock` (epoch milliseconds) stands in for the database's clock in tests.

    `answer_seconds` is how long a script may take, and the waiting for another program's lock before it. Everything
    raises `FileReplaced` once the file is not in its place any more.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        clock: Callable[[], int] | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._path = str(path)
        self._clock = clock
        self._answer_seconds = answer_seconds
        self._statements = {
            name: statement.text for name, statement in load("sqlite", given_clock=clock is not None).items()
        }
        self._file = hold(Path(path))
        try:
            self._reader = self._connected(_READER_BUSY_SECONDS)
            self._reader.execute("PRAGMA query_only=ON")
        except BaseException as error:
            self._file.release()
            if isinstance(error, sqlite3.Error):
                raise StoreUnavailable(cause_of(error)) from error
            raise
        self._writer: _Connection | None = None
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._breaker = Breaker(self._probe)
        self._closing: asyncio.Future[None] | None = None
        self._queueing = threading.Lock()  # nothing is queued behind the end of the queue
        self._thread = threading.Thread(target=self._write_jobs, name="messagelog-writer", daemon=True)
        self._thread.start()

    async def read(self, script: Callable[[], Script[T]]) -> T:
        """Run a script on the event loop's thread: a look-up takes microseconds, less than a change of threads."""
        if self._closing:
            raise StoreClosed("the store is closed")
        self._file.check()
        self._breaker.let_pass(writes=False)
        try:
            return self._run(self._reader, script())
        except sqlite3.Error as error:
            if (unavailable := self._unavailable(error, reads=True)) is None:
                raise
            raise unavailable from error

    async def write(self, script: Callable[[], Script[T]], *, locks: Sequence[Lock] = ()) -> T:  # noqa: ARG002 - one runs after the other
        """Hand the script to the writer thread and wait until its commit is on disk."""
        self._breaker.let_pass(writes=True)
        return await self._write(script)

    async def check(self) -> None:
        """Raise `StoreUnavailable` unless a probe was committed just now, or can be."""
        await self._breaker.check()

    async def close(self) -> None:
        """Write what is queued, then close the file."""
        await self._breaker.close()
        with self._queueing:
            if self._closing is None:
                loop = asyncio.get_running_loop()
                self._closing = loop.create_future()
                self._jobs.put(_Job(None, self._closing, loop))
        await self._closing
        self._reader.close()
        self._file.release()

    def _connected(self, busy_seconds: float) -> _Connection:
        connection = sqlite3.connect(
            self._path,
            isolation_level=None,
            check_same_thread=False,
            timeout=busy_seconds,
            cached_statements=_CACHED_STATEMENTS,
            factory=_Connection,
        )
        connection.set_progress_handler(connection.is_late, _STEPS)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
        return connection

    async def _write(self, script: Callable[[], Script[T]]) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        with self._queueing:
            if self._closing:
                raise StoreClosed("the store is closed")
            self._jobs.put(_Job(script, done, loop))
        longest = 2 * self._answer_seconds
        too_late = loop.call_later(longest, _give_up, done)
        try:
            return await done
        except TimeoutError as error:  # the writer hangs: nobody else need wait to find that out
            cause = slowness(longest)
            self._breaker.open(cause, reads=False)
            raise StoreUnavailable(cause) from error
        except sqlite3.Error as error:
            if (unavailable := self._unavailable(error, reads=False)) is None:
                raise
            raise unavailable from error
        finally:
            too_late.cancel()

    def _unavailable(self, error: sqlite3.Error, *, reads: bool) -> StoreUnavailable | None:
        """What an error says of the database; None for a script's own, such as writing where it may only read."""
        cause = cause_of(error)
        trouble = trouble_of(cause)
        if trouble is None or (reads and cause.code.startswith("SQLITE_READONLY")):
            return None
        if trouble is not Trouble.PASSING:
            self._breaker.open(cause, reads=reads)
        return StoreUnavailable(cause)

    async def _probe(self, *, recovering: bool) -> None:
        await self._write(partial(scripts.probe, os.urandom(8).hex(), b""))
        if recovering:
            self._run(self._reader, scripts.find_keys())

    # ------------------------------------------------------------------------------ the writer thread

    def _write_jobs(self) -> None:
        end: _Job | None = None
        while end is None:
            group, end = self._gathered()
            self._deliver(self._written(group))
        if self._writer is not None:
            self._writer.close()
        self._deliver([_Outcome(end)])

    def _gathered(self) -> tuple[list[_Job], _Job | None]:
        """Waits for a job; gives it and those that queued up behind it, and the end of the queue if it was there."""
        group: list[_Job] = []
        job = self._jobs.get()
        while job.script is not None:
            if not job.given_up:
                group.append(job)
            if len(group) == _GROUP:
                return group, None
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return group, None
        return group, job

    def _written(self, group: list[_Job]) -> list[_Outcome]:
        """Runs the jobs in one transaction. When it fails as a whole nobody's work was kept, and all are told so."""
        if not group:
            return []
        begun = False
        try:
            self._file.check()
            writer = self._begin()
            begun = True
            count_transaction(writer)
            outcomes = [self._outcome(writer, job, job.script) for job in group if job.script]
            writer.execute("COMMIT")
            self._file.check()  # what went into a file that is gone is not in the journal
        except BaseException as error:  # noqa: BLE001 - whatever it is, the callers are told, and the thread goes on
            self._abandon()
            # What another program holds, those behind would wait for as long.
            behind = [] if begun else self._queued()
            return [_Outcome(job, error=error) for job in (*group, *behind)]
        return outcomes

    def _begin(self) -> _Connection:
        """Begins a transaction; the writer's connection."""
        if self._writer is None:
            self._writer = self._connected(self._answer_seconds * _BUSY_SHARE)
        self._writer.execute("BEGIN IMMEDIATE")
        return self._writer

    def _queued(self) -> list[_Job]:
        """Takes all jobs that have queued up, but for the end of the queue."""
        jobs = []
        with suppress(queue.Empty):
            while (job := self._jobs.get_nowait()).script is not None:
                jobs.append(job)
            self._jobs.put(job)
        return jobs

    def _abandon(self) -> None:
        """Lets go of a connection that cannot be trusted any more; closing it undoes what it had not committed."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _outcome(self, writer: _Connection, job: _Job, script: Callable[[], Script[Any]]) -> _Outcome:
        writer.execute("SAVEPOINT job")
        try:
            value = self._run(writer, script())
        except BaseException as error:
            if not writer.in_transaction:
                raise  # SQLite has undone everything: the disk is full, the file is gone
            writer.execute("ROLLBACK TO job")
            writer.execute("RELEASE job")
            return _Outcome(job, error=error)
        writer.execute("RELEASE job")
        return _Outcome(job, value)

    def _deliver(self, outcomes: Iterable[_Outcome]) -> None:
        """Tells the waiting coroutines, with one call into each event loop."""
        by_loop = defaultdict(list)
        for outcome in outcomes:
            by_loop[outcome.job.loop].append(outcome)
        for loop, those in by_loop.items():
            with suppress(RuntimeError):  # the loop was closed, and with it ended all who waited there
                loop.call_soon_threadsafe(self._tell, those)

    def _tell(self, outcomes: Iterable[_Outcome]) -> None:
        for outcome in outcomes:
            done, error = outcome.job.done, outcome.error
            if done.done():
                if isinstance(error, sqlite3.Error):  # nobody waits for it any more, and all want to know
                    self._unavailable(error, reads=False)
            elif error is None:
                done.set_result(outcome.value)
            elif isinstance(error, StopIteration):  # a future takes any error but this
                done.set_exception(RuntimeError("a script ended before it began"))
            else:
                done.set_exception(error)

    # ---------------------------------------------------------------------------------------- scripts

    def _run(self, connection: _Connection, script: Script[T]) -> T:
        connection.until = time.monotonic() + self._answer_seconds
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


def _give_up(done: asyncio.Future[Any]) -> None:
    if not done.done():
        done.set_exception(TimeoutError())


def version_of(path: Path) -> str | None:
    """The schema's version in a file, None where there is none."""
    with holding(path), closing(sqlite3.connect(path, timeout=_VERSION_SECONDS)) as connection:
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
    return None if row is None else str(row[0])
