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

from messagelog.storage import transactions
from messagelog.storage.breaker import CircuitBreaker
from messagelog.storage.causes import Impact, cause_of, impact_of, timeout_fault
from messagelog.storage.sql import load
from messagelog.storage.sqlite.file import hold, holding
from messagelog.storage.sqlite.wal import count_transaction
from messagelog.storage.store import ANSWER_SECONDS, StoreClosed, StoreUnavailable
from messagelog.storage.transactions.commands import Batch, Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from messagelog.storage.store import Lock
    from messagelog.storage.transactions.commands import Command, Params, Transaction

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
class _QueuedTransaction:
    """A script for the writer thread; none is the end of the queue."""

    transaction: Callable[[], Transaction[Any]] | None
    done: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop

    @property
    def given_up(self) -> bool:
        """Whether whoever waited for it was told that it took too long."""
        return self.done.done() and not self.done.cancelled()


@dataclass(frozen=True, slots=True)
class _TransactionResult:
    job: _QueuedTransaction
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
            self._reader = self._connect(_READER_BUSY_SECONDS)
            self._reader.execute("PRAGMA query_only=ON")
        except BaseException as error:
            self._file.release()
            if isinstance(error, sqlite3.Error):
                raise StoreUnavailable(cause_of(error)) from error
            raise
        self._writer: _Connection | None = None
        self._jobs: queue.SimpleQueue[_QueuedTransaction] = queue.SimpleQueue()
        self._breaker = CircuitBreaker(self._probe)
        self._closing: asyncio.Future[None] | None = None
        self._queueing = threading.Lock()  # nothing is queued behind the end of the queue
        self._thread = threading.Thread(target=self._run_writer, name="messagelog-writer", daemon=True)
        self._thread.start()

    async def read(self, transaction: Callable[[], Transaction[T]]) -> T:
        """Run a script on the event loop's thread: a look-up takes microseconds, less than a change of threads."""
        if self._closing:
            raise StoreClosed("the store is closed")
        self._file.check()
        self._breaker.raise_if_open(writes=False)
        try:
            return self._run(self._reader, transaction())
        except sqlite3.Error as error:
            if (unavailable := self._outage_of(error, reads=True)) is None:
                raise
            raise unavailable from error

    async def write(self, transaction: Callable[[], Transaction[T]], *, locks: Sequence[Lock] = ()) -> T:  # noqa: ARG002 - one runs after the other
        """Hand the script to the writer thread and wait until its commit is on disk."""
        self._breaker.raise_if_open(writes=True)
        return await self._write(transaction)

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
                self._jobs.put(_QueuedTransaction(None, self._closing, loop))
        await self._closing
        self._reader.close()
        self._file.release()

    def _connect(self, busy_seconds: float) -> _Connection:
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

    async def _write(self, transaction: Callable[[], Transaction[T]]) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        with self._queueing:
            if self._closing:
                raise StoreClosed("the store is closed")
            self._jobs.put(_QueuedTransaction(transaction, done, loop))
        longest = 2 * self._answer_seconds
        too_late = loop.call_later(longest, _time_out, done)
        try:
            return await done
        except TimeoutError as error:  # the writer hangs: nobody else need wait to find that out
            cause = timeout_fault(longest)
            self._breaker.open(cause, reads=False)
            raise StoreUnavailable(cause) from error
        except sqlite3.Error as error:
            if (unavailable := self._outage_of(error, reads=False)) is None:
                raise
            raise unavailable from error
        finally:
            too_late.cancel()

    def _outage_of(self, error: sqlite3.Error, *, reads: bool) -> StoreUnavailable | None:
        """What an error says of the database; None for a script's own, such as writing where it may only read."""
        cause = cause_of(error)
        impact = impact_of(cause)
        if impact is None or (reads and cause.code.startswith("SQLITE_READONLY")):
            return None
        if impact is not Impact.PASSING:
            self._breaker.open(cause, reads=reads)
        return StoreUnavailable(cause)

    async def _probe(self, *, recovering: bool) -> None:
        await self._write(partial(transactions.probe, os.urandom(8).hex(), b""))
        if recovering:
            self._run(self._reader, transactions.find_keys())

    # ------------------------------------------------------------------------------ the writer thread

    def _run_writer(self) -> None:
        end: _QueuedTransaction | None = None
        while end is None:
            group, end = self._take_group()
            self._deliver(self._commit_group(group))
        if self._writer is not None:
            self._writer.close()
        self._deliver([_TransactionResult(end)])

    def _take_group(self) -> tuple[list[_QueuedTransaction], _QueuedTransaction | None]:
        """Waits for a job; gives it and those that queued up behind it, and the end of the queue if it was there."""
        group: list[_QueuedTransaction] = []
        job = self._jobs.get()
        while job.transaction is not None:
            if not job.given_up:
                group.append(job)
            if len(group) == _GROUP:
                return group, None
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return group, None
        return group, job

    def _commit_group(self, group: list[_QueuedTransaction]) -> list[_TransactionResult]:
        """Runs the jobs in one transaction. When it fails as a whole nobody's work was kept, and all are told so."""
        if not group:
            return []
        begun = False
        try:
            self._file.check()
            writer = self._begin()
            begun = True
            count_transaction(writer)
            outcomes = [
                self._run_in_savepoint(writer, job, job.transaction) for job in group if job.transaction
            ]
            writer.execute("COMMIT")
            self._file.check()  # what went into a file that is gone is not in the journal
        except BaseException as error:  # noqa: BLE001 - whatever it is, the callers are told, and the thread goes on
            self._abandon()
            # What another program holds, those behind would wait for as long.
            behind = [] if begun else self._take_queued()
            return [_TransactionResult(job, error=error) for job in (*group, *behind)]
        return outcomes

    def _begin(self) -> _Connection:
        """Begins a transaction; the writer's connection."""
        if self._writer is None:
            self._writer = self._connect(self._answer_seconds * _BUSY_SHARE)
        self._writer.execute("BEGIN IMMEDIATE")
        return self._writer

    def _take_queued(self) -> list[_QueuedTransaction]:
        """Takes all jobs that have queued up, but for the end of the queue."""
        jobs = []
        with suppress(queue.Empty):
            while (job := self._jobs.get_nowait()).transaction is not None:
                jobs.append(job)
            self._jobs.put(job)
        return jobs

    def _abandon(self) -> None:
        """Lets go of a connection that cannot be trusted any more; closing it undoes what it had not committed."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _run_in_savepoint(
        self, writer: _Connection, job: _QueuedTransaction, transaction: Callable[[], Transaction[Any]]
    ) -> _TransactionResult:
        writer.execute("SAVEPOINT job")
        try:
            value = self._run(writer, transaction())
        except BaseException as error:
            if not writer.in_transaction:
                raise  # SQLite has undone everything: the disk is full, the file is gone
            writer.execute("ROLLBACK TO job")
            writer.execute("RELEASE job")
            return _TransactionResult(job, error=error)
        writer.execute("RELEASE job")
        return _TransactionResult(job, value)

    def _deliver(self, outcomes: Iterable[_TransactionResult]) -> None:
        """Tells the waiting coroutines, with one call into each event loop."""
        by_loop = defaultdict(list)
        for outcome in outcomes:
            by_loop[outcome.job.loop].append(outcome)
        for loop, those in by_loop.items():
            with suppress(RuntimeError):  # the loop was closed, and with it ended all who waited there
                loop.call_soon_threadsafe(self._set_results, those)

    def _set_results(self, outcomes: Iterable[_TransactionResult]) -> None:
        for outcome in outcomes:
            done, error = outcome.job.done, outcome.error
            if done.done():
                if isinstance(error, sqlite3.Error):  # nobody waits for it any more, and all want to know
                    self._outage_of(error, reads=False)
            elif error is None:
                done.set_result(outcome.value)
            elif isinstance(error, StopIteration):  # a future takes any error but this
                done.set_exception(RuntimeError("a script ended before it began"))
            else:
                done.set_exception(error)

    # ---------------------------------------------------------------------------------------- scripts

    def _run(self, connection: _Connection, transaction: Transaction[T]) -> T:
        connection.until = time.monotonic() + self._answer_seconds
        try:
            command = next(transaction)
            while True:
                command = transaction.send(self._execute(connection, command))
        except StopIteration as end:
            value: T = end.value
            return value

    def _execute(self, connection: sqlite3.Connection, command: Command) -> list[Any] | None:
        if isinstance(command, Batch):
            answers = [self._execute(connection, each) for each in command.commands]
            return [rows for rows in answers if rows is not None]
        statement = self._statements[command.name]
        if isinstance(command, Query):
            return connection.execute(statement, self._bind(command.params)).fetchall()
        for params in command.params:
            connection.execute(statement, self._bind(params))
        return None

    def _bind(self, params: Params) -> Params:
        if "ids" in params:
            params = {**params, "ids": json.dumps(list(params["ids"]))}
        return params if self._clock is None else {**params, "now": self._clock()}


def _time_out(done: asyncio.Future[Any]) -> None:
    if not done.done():
        done.set_exception(TimeoutError())


def version_of(path: Path) -> str | None:
    """The schema's version in a file, None where there is none."""
    with holding(path), closing(sqlite3.connect(path, timeout=_VERSION_SECONDS)) as connection:
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
    return None if row is None else str(row[0])
