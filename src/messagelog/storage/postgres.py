"""PostgreSQL behind the port: a pool of connections, each held only while a script runs."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import DeadlockDetected, SerializationFailure, UniqueViolation
from psycopg_pool import AsyncConnectionPool, PoolClosed

from messagelog.storage.exchange import Connection, Exchange
from messagelog.storage.port import StoreClosed
from messagelog.storage.scripts.asking import Do, Fetch, Together
from messagelog.storage.statements import Statement, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

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
-- Plans are made once, perhaps while the tables were nearly empty: they must not read whole tables when those grow.
SET enable_seqscan = off;
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

    async def open(self) -> None:
        """Opens the pool; raises when the database does not answer within ten seconds."""
        await self._pool.open(wait=True, timeout=_WAIT_SECONDS)

    async def read(self, script: Callable[[], Script[T]]) -> T:
        """Runs outside a transaction: each statement sees what is committed."""
        return await self._repeated(lambda connection: self._read(connection, script()))

    async def write(self, script: Callable[[], Script[T]]) -> T:
        """Runs in a transaction. One that was undone for another's sake, or lost before its commit, is run again."""
        return await self._repeated(lambda connection: self._written(connection, script()))

    async def close(self) -> None:
        """Closes the pool's connections; those in use when their transaction has ended."""
        await self._pool.close()

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

    async def _read(self, connection: Connection, script: Script[T]) -> T:
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
        if isinstance(ask, Together):
            places = [place for each in ask.asks for place in self._added(exchange, each)]
            answers = await exchange.send() if places else []
            return [answers[place] for place in places]
        places = self._added(exchange, ask)
        return (await exchange.send())[places[0]] if places else None

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


async def _configured(connection: Connection) -> None:
    await connection.execute(SETTINGS)


async def _undone(connection: Connection) -> None:
    exchange = Exchange(connection)
    exchange.add(_ROLLBACK, {})
    with suppress(psycopg.OperationalError):  # the connection is lost, so the server undoes it by itself
        await exchange.send()
