"""SQLite behind the port: a thread that writes and groups commits, and one connection that reads.

WAL lets reading go on while the writer waits for the disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from messagelog.storage import transactions
from messagelog.storage.breaker import CircuitBreaker
from messagelog.storage.causes import Impact, cause_of, impact_of, timeout_fault
from messagelog.storage.sql import load
from messagelog.storage.sqlite.file import hold, holding
from messagelog.storage.sqlite.wal import count_transaction
from messagelog.storage.sqlite.writer import SqliteWriter
from messagelog.storage.store import ANSWER_SECONDS, StoreClosed, StoreUnavailable
from messagelog.storage.transactions.commands import Batch, Query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from messagelog.storage.store import Lock
    from messagelog.storage.transactions.commands import Command, Params, Transaction

T = TypeVar("T")

_BUSY_SHARE: Final = 0.8  # of that time: what waits for another program's lock says so itself
_READER_BUSY_SECONDS: Final = 1  # it waits on the event loop's thread, and only for the repair after a crash
_STEPS: Final = 100_000  # of SQLite's machine, between two looks at the clock
_VERSION_SECONDS: Final = 10
_WAL_BYTES: Final = 64 * 1024 * 1024
_CACHED_STATEMENTS: Final = 512
"""All of ours, with room for those that differ from one transaction to the next."""


class _Connection(sqlite3.Connection):
    """A connection whose statements are interrupted after `until`, by the monotonic clock."""

    until = float("inf")

    def is_late(self) -> bool:
        """Return whether a statement has to end."""
        return time.monotonic() > self.until


class SqliteStore:
    """A journal in one file. `clock` (epoch milliseconds) stands in for the database's clock in tests.

    `answer_seconds` is how long a transaction may take, and the wait for another program's lock before it. All methods
    raise `FileReplaced` once the file is no longer in its place.
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
        self._breaker = CircuitBreaker(self._probe)
        self._closing = False
        self._writer = SqliteWriter(
            "messagelog-writer",
            lambda: self._connect(answer_seconds * _BUSY_SHARE),
            begun=count_transaction,
            check=self._file.check,
            missed=self._open_breaker,
            longest=2 * answer_seconds,
        )

    async def read(self, transaction: Callable[[], Transaction[T]]) -> T:
        """Run a transaction on the event loop's thread: reading takes microseconds, less than a change of threads."""
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
        """Hand the transaction to the writer thread; return its value once its commit is on disk."""
        self._breaker.raise_if_open(writes=True)
        return await self._write(transaction)

    async def check(self) -> None:
        """Raise `StoreUnavailable` unless a probe was committed just now, or can be."""
        await self._breaker.check()

    async def close(self) -> None:
        """Write what is queued, then close the file."""
        await self._breaker.close()
        self._closing = True
        await asyncio.shield(asyncio.wrap_future(self._writer.close()))
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
        try:
            return await self._writer.submit(lambda connection: self._run(connection, transaction()))
        except TimeoutError as error:  # the writer hangs: no other transaction need wait to find that out
            cause = timeout_fault(2 * self._answer_seconds)
            self._breaker.open(cause, reads=False)
            raise StoreUnavailable(cause) from error
        except sqlite3.Error as error:
            if (unavailable := self._outage_of(error, reads=False)) is None:
                raise
            raise unavailable from error

    def _outage_of(self, error: sqlite3.Error, *, reads: bool) -> StoreUnavailable | None:
        """Return the outage that an error tells of; None for a transaction's own, such as a write among reads."""
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

    def _open_breaker(self, error: BaseException) -> None:
        """Open the circuit breaker for an error whose transaction has been given up."""
        if isinstance(error, sqlite3.Error):
            self._outage_of(error, reads=False)

    # ----------------------------------------------------------------------------------- transactions

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


def version_of(path: Path) -> str | None:
    """Return the schema's version in a file, None if there is none."""
    with holding(path), closing(sqlite3.connect(path, timeout=_VERSION_SECONDS)) as connection:
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
    return None if row is None else str(row[0])
