"""PostgreSQL behind the port: a pool of psycopg connections, held only while a script runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog
from psycopg.errors import DeadlockDetected, SerializationFailure
from psycopg_pool import AsyncConnectionPool

from messagelog.storage.scripts import Fetch, Script
from messagelog.storage.statements import load

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

T = TypeVar("T")

_TRIES: Final = 5

_log = structlog.get_logger(__name__)


class PostgresStore:
    """A journal in PostgreSQL, for any number of processes. `clock` stands in for the database's clock in tests."""

    def __init__(self, url: str, *, clock: Callable[[], int] | None = None, connections: int = 8) -> None:
        self._clock = clock
        self._statements = {
            name: text.encode() for name, text in load("postgres", given_clock=clock is not None).items()
        }
        self._pool = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=connections,
            kwargs={"autocommit": True, "application_name": "messagelog"},
            open=False,
            timeout=10,
        )

    async def open(self) -> None:
        """Opens the pool; raises when the database does not answer within ten seconds."""
        await self._pool.open(wait=True, timeout=10)

    async def read(self, script: Callable[[], Script[T]]) -> T:
        """Runs outside a transaction: each statement sees what is committed."""
        async with self._pool.connection() as connection:
            return await self._run(connection, script())

    async def write(self, script: Callable[[], Script[T]]) -> T:
        """Runs in a transaction; one that PostgreSQL chose to abort for another's sake is run again."""
        for attempt in range(1, _TRIES + 1):
            try:
                async with self._pool.connection() as connection, connection.transaction():
                    return await self._run(connection, script())
            except (DeadlockDetected, SerializationFailure) as error:
                if attempt == _TRIES:
                    raise
                _log.warning("transaction_repeated", attempt=attempt, error=type(error).__name__)
        raise AssertionError  # the loop returns or raises

    async def close(self) -> None:
        """Closes the pool's connections."""
        await self._pool.close()

    async def _run(self, connection: psycopg.AsyncConnection[Any], script: Script[T]) -> T:
        try:
            ask = next(script)
            while True:
                statement = self._statements[ask.name]
                if isinstance(ask, Fetch):
                    cursor = await connection.execute(statement, self._bound(ask.params))
                    result: Any = await cursor.fetchall()
                elif len(ask.params) == 1:
                    result = (await connection.execute(statement, self._bound(ask.params[0]))).rowcount
                else:
                    cursor = connection.cursor()
                    await cursor.executemany(statement, [self._bound(params) for params in ask.params])
                    result = cursor.rowcount
                ask = script.send(result)
        except StopIteration as end:
            value: T = end.value
            return value

    def _bound(self, params: dict[str, Any]) -> dict[str, Any]:
        if "ids" in params:
            params = {**params, "ids": list(params["ids"])}
        return params if self._clock is None else {**params, "now": self._clock()}
