"""PostgreSQL behind the port: scripts that come at the same time share exchanges and a commit.

Most of what a short transaction costs, in both processes, is going there and back, and waiting for the disk. So
scripts that lock different things are run side by side in one transaction: what each asks next goes out in one
exchange with what the others ask. When anything goes wrong all of it is undone, and each is run again by itself.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import DeadlockDetected, SerializationFailure, UndefinedTable, UniqueViolation
from psycopg_pool import AsyncConnectionPool, PoolClosed

from messagelog.storage.exchange import Connection, Exchange, Rows
from messagelog.storage.gathering import Gathering, Job
from messagelog.storage.port import StoreClosed
from messagelog.storage.scripts.asking import Do, Fetch, Together
from messagelog.storage.statements import Statement, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from messagelog.storage.port import Lock
    from messagelog.storage.scripts.asking import Ask, Params, Script

T = TypeVar("T")

_TRIES: Final = 5
_WAIT_SECONDS: Final = 10

# The scripts lock what they read and look again after a lock was waited for, whatever the database's default is.
_BEGIN: Final = Statement("begin", "BEGIN ISOLATION LEVEL READ COMMITTED", ())
_COMMIT: Final = Statement("commit", "COMMIT", ())
_ROLLBACK: Final = Statement("rollback", "ROLLBACK", ())

# What the URL does not say: a cut cable is noticed in seconds.
_DEFAULTS: Final = {
    "application_name": "messagelog",
    "client_encoding": "utf8",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}

SETTINGS: Final = """
-- A process that hangs in the middle of a transaction loses its locks before those who wait for them give up.
SET idle_in_transaction_session_timeout = '5s';
SET lock_timeout = '8s';
-- What is committed is on disk. (Stricter settings, for standbys, stay.)
SELECT set_config('synchronous_commit', 'local', false) WHERE current_setting('synchronous_commit') = 'off';
-- Plans are made once, since making one takes longer than most statements do. The tables may have been nearly empty
-- then, and nothing is known of the values: they must not read whole tables, nor sort what an index has in order.
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_sort = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET jit = off;
"""

# Undone because another transaction was faster. A row that somebody else inserted meanwhile is seen the next time.
_OVERTAKEN: Final = (DeadlockDetected, SerializationFailure, UniqueViolation)

_log = structlog.get_logger(__name__)


class _Again(Exception):
    """The transaction came to nothing through no fault of its own, and may be run again. `error` tells why."""

    def __init__(self, error: psycopg.Error) -> None:
        super().__init__(str(error))
        self.error = error


class _Unshared(Exception):
    """A shared transaction came to nothing, and each of its scripts is to be run by itself."""


class PostgresStore:
    """A journal in PostgreSQL, for any number of processes. `clock` stands in for the database's clock in tests."""

    def __init__(self, url: str, *, clock: Callable[[], int] | None = None, connections: int = 8) -> None:
        self._clock = clock
        self._statements = load("postgres", given_clock=clock is not None)
        self._pool = AsyncConnectionPool(
            connection_class=Connection,
            kwargs={**_DEFAULTS, **conninfo_to_dict(url), "autocommit": True},
            configure=_configured,
            min_size=1,
            max_size=connections,
            open=False,
            timeout=_WAIT_SECONDS,
            # Whoever asks starts a new attempt. One that went on by itself would wait longer and longer between.
            reconnect_timeout=_WAIT_SECONDS,
        )
        self._reads = Gathering(self._read_together, groups=1)
        self._writes = Gathering(self._write_together, groups=2)
        self._closing = False

    async def open(self) -> None:
        """Opens the pool; raises when the database does not answer within ten seconds."""
        await self._pool.open(wait=True, timeout=_WAIT_SECONDS)

    async def read(self, script: Callable[[], Script[T]]) -> T:
        """Runs outside a transaction: each statement sees what is committed."""
        self._refuse_when_closing()
        value: T = await self._reads.ended(script)
        return value

    async def write(self, script: Callable[[], Script[T]], *, locks: Sequence[Lock] = ()) -> T:
        """Runs in a transaction. One that was undone for another's sake, or lost before its commit, is run again."""
        self._refuse_when_closing()
        if not locks:
            return await self._write(script)
        value: T = await self._writes.ended(script, locks)
        return value

    async def close(self) -> None:
        """Closes the pool's connections; those in use when their transaction has ended."""
        self._closing = True
        await self._reads.close()
        await self._writes.close()
        await self._pool.close()

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise StoreClosed("the store is closed")

    # ------------------------------------------------------------------------------ scripts side by side

    async def _read_together(self, jobs: list[Job]) -> None:
        await self._done_together(jobs, self._read_all, lambda job: self._read(job.script))

    async def _write_together(self, jobs: list[Job]) -> None:
        await self._done_together(jobs, self._written_all, lambda job: self._write(job.script))

    async def _done_together(
        self,
        jobs: list[Job],
        run: Callable[[Connection, list[Job]], Awaitable[list[Any]]],
        alone: Callable[[Job], Awaitable[Any]],
    ) -> None:
        """Ends the jobs: in one go, or each by itself when there is one, or when they came to nothing."""
        if len(jobs) == 1:  # without a task of its own, which costs as much as a statement
            await _ended_alone(jobs[0], alone)
            return
        try:
            async with self._connection() as connection:
                values = await run(connection, jobs)
        except _Unshared:
            await asyncio.gather(*(_ended_alone(job, alone) for job in jobs))
        else:
            for job, value in zip(jobs, values, strict=True):
                job.ends(value)

    async def _read_all(self, connection: Connection, jobs: list[Job]) -> list[Any]:
        try:
            return await self._side_by_side(Exchange(connection), jobs)
        except Exception as error:
            raise _Unshared from error

    async def _written_all(self, connection: Connection, jobs: list[Job]) -> list[Any]:
        exchange = Exchange(connection)
        exchange.add(_BEGIN, {})
        committing = False
        try:
            values = await self._side_by_side(exchange, jobs)
            if not connection.in_transaction:  # they asked nothing: as with one by itself
                await exchange.send()
            committing = True
            exchange.add(_COMMIT, {})
            await exchange.send()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # Of a commit that was sent nobody knows whether it was made, unless the server is there to deny it.
            if committing and connection.closed:
                raise
            raise _Unshared from error
        finally:
            if connection.in_transaction:
                await _undone(connection)
        return values

    async def _side_by_side(self, exchange: Exchange, jobs: list[Job]) -> list[Any]:
        """Runs all scripts, a question of each at a time; their values."""
        values: list[Any] = [None] * len(jobs)
        running: list[tuple[int, Script[Any], Any]] = [
            (place, job.script(), None) for place, job in enumerate(jobs)
        ]
        while running:
            asked = []
            for place, script, answer in running:
                try:
                    ask = script.send(answer)
                except StopIteration as end:
                    values[place] = end.value
                else:
                    asked.append((place, script, ask, self._places(exchange, ask)))
            wanted = any(places for _, _, _, places in asked)
            answers = await exchange.send() if wanted else []
            running = [
                (place, script, _fitting(ask, places, answers)) for place, script, ask, places in asked
            ]
        return values

    # -------------------------------------------------------------------------------- one script by itself

    async def _read(self, script: Callable[[], Script[T]]) -> T:
        return await self._repeated(lambda connection: self._read_once(connection, script()))

    async def _write(self, script: Callable[[], Script[T]]) -> T:
        return await self._repeated(lambda connection: self._written(connection, script()))

    async def _repeated(self, run: Callable[[Connection], Awaitable[T]]) -> T:
        for attempt in range(1, _TRIES + 1):
            try:
                async with self._connection() as connection:
                    return await run(connection)
            except _Again as again:
                if attempt == _TRIES:
                    raise again.error from None
                _log.warning("transaction_repeated", attempt=attempt, error=type(again.error).__name__)
                if isinstance(again.error, psycopg.OperationalError):
                    await self._pool.check()  # where one connection is lost, the others are too
        raise AssertionError  # the loop returns or raises

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        try:
            connection = await self._pool.getconn()
        except PoolClosed as error:
            raise StoreClosed("the store is closed") from error
        try:
            yield connection
        finally:
            await self._pool.putconn(connection)

    async def _read_once(self, connection: Connection, script: Script[T]) -> T:
        try:
            return await self._run(Exchange(connection), script)
        except psycopg.OperationalError as error:
            if connection.closed:
                raise _Again(error) from error
            raise

    async def _written(self, connection: Connection, script: Script[T]) -> T:
        exchange = Exchange(connection)
        exchange.add(_BEGIN, {})
        committing = False
        try:
            value = await self._run(exchange, script)
            if (
                not connection.in_transaction
            ):  # it asked nothing: a stale connection is to be found out before
                await exchange.send()
            committing = True
            exchange.add(_COMMIT, {})
            await exchange.send()
        except _OVERTAKEN as error:
            raise _Again(error) from error
        except psycopg.OperationalError as error:
            if connection.closed and not committing:
                raise _Again(error) from error
            raise
        finally:
            if connection.in_transaction:
                await _undone(connection)
        return value

    async def _run(self, exchange: Exchange, script: Script[T]) -> T:
        try:
            ask = next(script)
            while True:
                ask = script.send(await self._answered(exchange, ask))
        except StopIteration as end:
            value: T = end.value
            return value

    async def _answered(self, exchange: Exchange, ask: Ask) -> Any:
        """Sends what was asked when there is something to be known; what is only to be done waits for that."""
        places = self._places(exchange, ask)
        return _fitting(ask, places, await exchange.send() if places else [])

    def _places(self, exchange: Exchange, ask: Ask) -> list[int]:
        """Adds what is asked; the places of what is fetched among the answers to come."""
        if isinstance(ask, Together):
            return [place for each in ask.asks for place in self._added(exchange, each)]
        return self._added(exchange, ask)

    def _added(self, exchange: Exchange, ask: Fetch | Do) -> list[int]:
        """The place of what is fetched among the answers to come; none for what is done."""
        statement = self._statements[ask.name]
        if isinstance(ask, Fetch):
            return [exchange.add(statement, self._timed(ask.params))]
        for params in ask.params:
            exchange.add(statement, self._timed(params))
        return []

    def _timed(self, params: Params) -> Params:
        return params if self._clock is None else {**params, "now": self._clock()}


def _fitting(ask: Ask, places: Sequence[int], answers: Sequence[Rows]) -> Any:
    """What a script is sent for what it asked."""
    if isinstance(ask, Together):
        return [answers[place] for place in places]
    return answers[places[0]] if places else None


async def _ended_alone(job: Job, alone: Callable[[Job], Awaitable[Any]]) -> None:
    try:
        value = await alone(job)
    except Exception as error:  # noqa: BLE001 - whoever waits for the job is told
        job.fails(error)
    else:
        job.ends(value)


async def _configured(connection: Connection) -> None:
    await connection.execute(SETTINGS)


async def _undone(connection: Connection) -> None:
    exchange = Exchange(connection)
    exchange.add(_ROLLBACK, {})
    with suppress(psycopg.OperationalError):  # the connection is lost, so the server undoes it by itself
        await exchange.send()


def version_of(url: str) -> str | None:
    """The schema's version in a database, None where there is none."""
    with psycopg.connect(url, connect_timeout=_WAIT_SECONDS) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except UndefinedTable:
            return None
    return None if row is None else str(row[0])
