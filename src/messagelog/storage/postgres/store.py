"""PostgreSQL behind the port: transactions that come at the same time share exchanges and a commit.

Most of the cost of a short transaction is the round trip and the wait for the disk. So transactions that lock different
things run side by side as one of the database: their next commands go out in one exchange. If one fails, all of it is
undone, and each runs again by itself.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
import structlog
from psycopg import waiting
from psycopg.errors import DeadlockDetected, SerializationFailure, UndefinedTable, UniqueViolation

from messagelog.errors import MessagelogError
from messagelog.storage import transactions
from messagelog.storage.breaker import CircuitBreaker
from messagelog.storage.causes import Impact, cause_of, impact_of, timeout_fault
from messagelog.storage.postgres.connections import Connections, missing_options
from messagelog.storage.postgres.group_commit import GroupCommitter
from messagelog.storage.postgres.pipeline import (
    LOOK_SECONDS,
    Connection,
    NoAnswer,
    PipelineBatch,
    Rows,
    within,
)
from messagelog.storage.sql import Statement, load
from messagelog.storage.store import ANSWER_SECONDS, StoreClosed, StoreUnavailable
from messagelog.storage.transactions.commands import Batch, Execute, Query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from psycopg import abc

    from messagelog.storage.queued import QueuedWork
    from messagelog.storage.store import Lock
    from messagelog.storage.transactions.commands import Command, Params, Transaction

    _Begin = Callable[[], Transaction[Any]]
    _Run = Callable[[Connection, Sequence[_Begin]], Awaitable[list[Any]]]

T = TypeVar("T")

_TRIES: Final = 5

_LARGE_PROBE_BYTES: Final = 256 * 1024
"""A table with a free page takes a small row while the disk is full. This one needs new pages."""

# Transactions lock what they read, and read again after a wait for a lock, whatever the database's default is.
_BEGIN: Final = Statement("begin", "BEGIN ISOLATION LEVEL READ COMMITTED", ())
_COMMIT: Final = Statement("commit", "COMMIT", ())
_ROLLBACK: Final = Statement("rollback", "ROLLBACK", ())

# Undone because another transaction was faster. A row that was inserted meanwhile is seen the next time.
_CONFLICTS: Final = (DeadlockDetected, SerializationFailure, UniqueViolation)

_log = structlog.get_logger(__name__)


class _Repeatable(MessagelogError):
    """The transaction was undone through no fault of its own, and may be run again. `error` tells why."""

    def __init__(self, error: psycopg.Error) -> None:
        super().__init__(str(error))
        self.error = error


class _GroupFailed(MessagelogError):
    """A group has failed, and each of its transactions has to run by itself."""


class _CommitLost(psycopg.OperationalError):
    """The connection was lost during a commit, which was made or not. That says nothing about the database."""


class PostgresStore:
    """A journal in PostgreSQL, for any number of processes. `clock` stands in for the database's clock in tests.

    `answer_seconds` is how long the database may take for one exchange; a whole transaction may take twice as long.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], int] | None = None,
        connections: int = 8,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._clock = clock
        self._statements = load("postgres", given_clock=clock is not None)
        self._connections = Connections(url, most=connections, answer_seconds=answer_seconds)
        self._longest = 2 * answer_seconds
        self._reads = GroupCommitter(self._read_group, groups=1, longest=self._longest)
        self._writes = GroupCommitter(self._write_group, groups=2, longest=self._longest)
        self._breaker = CircuitBreaker(self._probe)
        self._closing = False

    async def open(self) -> None:
        """Open the pool; raise `StoreUnavailable` if no connection can be made."""
        try:
            await self._connections.open()
        except BaseException as error:
            await self._connections.close()
            if isinstance(error, psycopg.Error):
                raise StoreUnavailable(cause_of(error)) from error
            raise

    async def read(self, transaction: Callable[[], Transaction[T]]) -> T:
        """Run a transaction that only reads: each statement sees what is committed."""
        self._refuse_when_closing()
        self._breaker.raise_if_open(writes=False)
        value: T = await self._translate_errors(self._reads.submit(transaction))
        return value

    async def write(self, transaction: Callable[[], Transaction[T]], *, locks: Sequence[Lock] = ()) -> T:
        """Run a transaction; repeat it if it was undone for another one, or lost before its commit."""
        self._refuse_when_closing()
        self._breaker.raise_if_open(writes=True)
        if not locks:
            return await self._translate_errors(self._write(transaction))
        value: T = await self._translate_errors(self._writes.submit(transaction, locks))
        return value

    async def check(self) -> None:
        """Raise `StoreUnavailable` unless a probe was committed just now, or can be."""
        self._refuse_when_closing()
        await self._breaker.check()

    async def close(self) -> None:
        """Close the pool's connections, those in use after their transaction has ended."""
        self._closing = True
        await self._breaker.close()
        await self._reads.close()
        await self._writes.close()
        await self._connections.close()

    async def _translate_errors(self, ending: Awaitable[T]) -> T:
        """Await a transaction; raise `StoreUnavailable` for errors of the database."""
        try:
            return await ending
        except TimeoutError as error:
            raise StoreUnavailable(timeout_fault(self._longest)) from error
        except _CommitLost as error:
            raise StoreUnavailable(cause_of(error.__cause__ or error)) from error
        except psycopg.Error as error:
            cause = cause_of(error)
            impact = impact_of(cause)
            if impact is None:
                raise
            if impact is not Impact.PASSING:
                self._breaker.open(cause, reads=impact is Impact.AWAY)
            raise StoreUnavailable(cause) from error

    async def _probe(self, *, recovering: bool) -> None:
        if recovering:
            await self._connections.renew()
        id_, payload = os.urandom(8).hex(), os.urandom(_LARGE_PROBE_BYTES if recovering else 0)
        await self._translate_errors(self._write(lambda: transactions.probe(id_, payload)))

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise StoreClosed("the store is closed")

    # ------------------------------------------------------------------------------------ transactions

    async def _read_group(self, jobs: list[QueuedWork]) -> None:
        await self._run_group(jobs, self._query, writes=False)

    async def _write_group(self, jobs: list[QueuedWork]) -> None:
        await self._run_group(jobs, self._commit, writes=True)

    async def _write(self, transaction: Callable[[], Transaction[T]]) -> T:
        value: T = await self._retry(self._commit, transaction, writes=True)
        return value

    async def _run_group(self, jobs: list[QueuedWork], run: _Run, *, writes: bool) -> None:
        """Run the jobs together; each by itself if there is only one, or if that has failed."""

        async def run_alone(job: QueuedWork) -> None:
            try:
                value = await self._retry(run, job.work, writes=writes)
            except Exception as error:  # noqa: BLE001 - who waits for the job is told
                job.reject(error)
            else:
                job.resolve(value)

        if len(jobs) == 1:  # without a task of its own, which costs as much as a statement
            await run_alone(jobs[0])
            return
        try:
            async with asyncio.timeout(self._longest), self._connections.acquire() as connection:
                try:
                    values = await run(connection, [job.work for job in jobs])
                except (NoAnswer, _CommitLost):  # to ask once more would be to wait, or to write, once more
                    raise
                except Exception as error:
                    raise _GroupFailed from error
        except _GroupFailed:
            await asyncio.gather(*map(run_alone, jobs))
        else:
            for job, value in zip(jobs, values, strict=True):
                job.resolve(value)

    async def _retry(self, run: _Run, begin: _Begin, *, writes: bool) -> Any:
        """Run a transaction again while that does no harm, unless the database is found to be away meanwhile."""
        async with asyncio.timeout(self._longest):
            for _ in range(1, _TRIES):
                try:
                    async with self._connections.acquire() as connection:
                        return (await run(connection, [begin]))[0]
                except _Repeatable as again:
                    _log.warning("transaction_repeated", error=type(again.error).__name__)
                self._breaker.raise_if_open(writes=writes)
            try:
                async with self._connections.acquire() as connection:
                    return (await run(connection, [begin]))[0]
            except _Repeatable as again:
                raise again.error from None

    async def _query(self, connection: Connection, group: Sequence[_Begin]) -> list[Any]:
        """Run transactions that only read; return their values. Raises `_Repeatable` when the connection is lost."""
        try:
            return await self._run(PipelineBatch(connection), group)
        except psycopg.OperationalError as error:
            if connection.closed and not isinstance(error, NoAnswer):
                raise _Repeatable(error) from error
            raise

    async def _commit(self, connection: Connection, group: Sequence[_Begin]) -> list[Any]:
        """Run transactions as one; return their values once they are committed.

        Raises `_Repeatable` when they were undone through no fault of their own, and `_CommitLost`.
        """
        pipeline = PipelineBatch(connection)
        pipeline.add(_BEGIN, {})
        committing = False
        try:
            values = await self._run(pipeline, group)
            if not connection.in_transaction:  # they asked nothing: find out first if the connection is stale
                await pipeline.send()
            committing = True
            pipeline.add(_COMMIT, {})
            await pipeline.send()
        except (asyncio.CancelledError, NoAnswer):
            raise
        except _CONFLICTS as error:
            raise _Repeatable(error) from error
        except BaseException as error:
            # Only the server can tell whether a commit that was sent was made, and it cannot be asked any more.
            if committing and connection.closed:
                raise _CommitLost(str(error)) from error
            if isinstance(error, psycopg.OperationalError) and connection.closed:
                raise _Repeatable(error) from error
            raise
        finally:
            if connection.in_transaction:
                await _rollback(connection)
        return values

    async def _run(self, pipeline: PipelineBatch, group: Sequence[_Begin]) -> list[Any]:
        """Run transactions side by side, a command of each at a time; return their values.

        What is only to be done waits until something is asked, and goes out with it.
        """
        values: list[Any] = [None] * len(group)
        running: list[tuple[int, Transaction[Any], Any]] = [
            (number, begin(), None) for number, begin in enumerate(group)
        ]
        while running:
            asked = []
            wanted = False
            for number, transaction, result in running:
                try:
                    command = transaction.send(result)
                except StopIteration as end:
                    values[number] = end.value
                else:
                    places = self._add_command(pipeline, command)
                    wanted = wanted or bool(places)
                    asked.append((number, transaction, command, places))
            answers = await pipeline.send() if wanted else []
            running = [
                (number, transaction, _result_of(command, places, answers))
                for number, transaction, command, places in asked
            ]
        return values

    def _add_command(self, pipeline: PipelineBatch, command: Command) -> list[int]:
        """Add a command; return the places of its rows among the answers to come."""
        if isinstance(command, Batch):
            return [place for each in command.commands for place in self._add_statements(pipeline, each)]
        return self._add_statements(pipeline, command)

    def _add_statements(self, pipeline: PipelineBatch, command: Query | Execute) -> list[int]:
        """Add the statements of a command; return the place of a query's rows among the answers to come."""
        statement = self._statements[command.name]
        if isinstance(command, Query):
            return [pipeline.add(statement, self._with_clock(command.params))]
        for params in command.params:
            pipeline.add(statement, self._with_clock(params))
        return []

    def _with_clock(self, params: Params) -> Params:
        return params if self._clock is None else {**params, "now": self._clock()}


def _result_of(command: Command, places: Sequence[int], answers: Sequence[Rows]) -> Any:
    """Return the answer to a command, which is sent to its transaction."""
    if isinstance(command, Batch):
        return [answers[place] for place in places]
    return answers[places[0]] if places else None


async def _rollback(connection: Connection) -> None:
    pipeline = PipelineBatch(connection)
    pipeline.add(_ROLLBACK, {})
    with suppress(psycopg.OperationalError):  # the connection is lost, so the server undoes it by itself
        await pipeline.send()


def version_of(url: str) -> str | None:
    """Return the schema's version in a database, None if there is none."""
    connection = _TimedConnection.connect(url, autocommit=True, **missing_options(url))
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except UndefinedTable:
        return None
    finally:
        connection.close()
    return None if row is None else str(row[0])


class _TimedConnection(psycopg.Connection[Any]):
    """A connection for one query, with a limit to the wait for the answer."""

    def wait(self, gen: abc.PQGen[Any], *_args: Any, **_kwargs: Any) -> Any:
        """Wait as psycopg does."""
        return waiting.wait(within(ANSWER_SECONDS, gen), self.pgconn.socket, interval=LOOK_SECONDS)
