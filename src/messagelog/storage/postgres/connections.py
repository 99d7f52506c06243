"""The pool of connections to PostgreSQL. When one is found dead, all that were made before are replaced."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from messagelog.storage.postgres.pipeline import Connection
from messagelog.storage.store import ANSWER_SECONDS, StoreClosed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg

WAIT_SECONDS: Final = 5.0
"""How long a connection may be waited for: to be made, or to be given back by another."""

_CLOSE_SECONDS: Final = 1.0

_DEFAULTS: Final = {
    "application_name": "messagelog",
    "client_encoding": "utf8",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}

# A process that hangs within a transaction loses its locks before others give up waiting for them. All else that takes
# long is ended by the server itself, while the wait for it still goes on.
_LIMITS: Final = """
SET idle_in_transaction_session_timeout = '5s';
SET lock_timeout = '{lock_ms}ms';
SET statement_timeout = '{statement_ms}ms';
"""

SETTINGS: Final = """
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


def missing_options(url: str) -> dict[str, Any]:
    """Return options that a URL leaves out, so that a cut cable is noticed in seconds."""
    said = conninfo_to_dict(url)
    return {name: value for name, value in _DEFAULTS.items() if name not in said}


def _cancel_count() -> int:
    """Return how often the current task was cancelled."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


class Connections:
    """Up to `most` connections to the database of a URL; `answer_seconds` is how long an exchange may take."""

    def __init__(self, url: str, *, most: int, answer_seconds: float = ANSWER_SECONDS) -> None:
        # The pool would log every attempt; we log the first, and the end.
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
        limits = _LIMITS.format(lock_ms=int(answer_seconds * 800), statement_ms=int(answer_seconds * 900))
        self._settings = limits + SETTINGS
        self._last_failure: psycopg.Error | None = None
        self._renewed_at = time.monotonic()
        self._pool = AsyncConnectionPool(
            connection_class=Connection,
            kwargs={
                **conninfo_to_dict(url),
                **missing_options(url),
                "autocommit": True,
                "answer_seconds": answer_seconds,
                "connected": self._remember_failure,
            },
            configure=self._configure,
            min_size=1,
            max_size=most,
            open=False,
            timeout=WAIT_SECONDS,
            # Each request for a connection starts an attempt. The pool's own come at ever longer intervals.
            reconnect_timeout=WAIT_SECONDS,
        )

    async def open(self) -> None:
        """Open the pool, and make a first connection; raises as `acquire` does."""
        try:
            await self._pool.open(wait=True, timeout=self._pool.timeout)
        except PoolTimeout as error:
            raise (self._last_failure or error) from None

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """Hold a connection.

        Raises `StoreClosed`, and the driver's error if none can be made or none is free within `WAIT_SECONDS`.
        """
        cancelled = _cancel_count()
        try:
            connection = await self._pool.getconn()
        except PoolClosed as error:
            raise StoreClosed("the store is closed") from error
        except PoolTimeout as error:
            raise (self._last_failure or error) from None
        try:
            if (
                _cancel_count() > cancelled
            ):  # Python 3.11 forgets it when a connection comes at the same moment
                raise asyncio.CancelledError
            yield connection
        finally:
            await self._pool.putconn(connection)
            # If one is lost, so are the others, except those that were made since.
            if connection.lost and connection.made_at >= self._renewed_at:
                await self.renew()

    async def renew(self) -> None:
        """Replace all connections, those in use when they are given back."""
        self._renewed_at = time.monotonic()
        await self._pool.drain()

    async def close(self) -> None:
        """Close the connections; those in use when they are given back."""
        await self._pool.close(timeout=_CLOSE_SECONDS)

    async def _configure(self, connection: Connection) -> None:
        await connection.execute(self._settings)

    def _remember_failure(self, error: psycopg.Error | None) -> None:
        """Remember why the last connection could not be made, None if it could."""
        self._last_failure = error
