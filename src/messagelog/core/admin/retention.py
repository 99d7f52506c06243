"""Deletes data whose retention has ended: texts that were not logged, failed calls and, if set, what is logged.

Every process does it, a small batch at a time. Each conversation log has a transaction of its own that checks again
whether its time has come: two processes do no harm, and no request waits for more than one transaction.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from messagelog.storage import transactions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from messagelog.storage import Store

_DAY_MS: Final = 24 * 3600 * 1000
_BATCH: Final = 50
_PAUSE_SECONDS: Final = 600.0  # no request waits for it, and minutes are nothing against days
_NEXT_SECONDS: Final = 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """For how many days data is kept; 0 for ever.

    `text_days` is for the sealed texts of messages that failed, are parked or wait for a sign-in, and for records of
    failed calls. `row_days` is for conversation logs that are fully logged: a deleted one is logged again if it is sent
    again.
    """

    text_days: float = 30.0
    row_days: float = 0.0


class Retention:
    """Applies `RetentionPolicy` while a server runs. `jitter` (0 to 1) spreads the processes, so that few meet."""

    def __init__(
        self,
        store: Store,
        policy: RetentionPolicy,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._text_ms = int(policy.text_days * _DAY_MS)
        self._row_ms = int(policy.row_days * _DAY_MS)
        self._sleep = sleep
        self._jitter = jitter
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start, after a pause: a starting server has more urgent work."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop. An unfinished batch is finished after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        more = False
        while True:
            seconds = _NEXT_SECONDS if more else _PAUSE_SECONDS
            await self._sleep(seconds * (0.5 + self._jitter()))
            try:
                more = await self.purge_batch()
            except Exception as error:  # noqa: BLE001 - a database that is away now may be back in ten minutes
                more = False
                _log.error("retention_failed", error=type(error).__name__)

    async def purge_batch(self) -> bool:
        """Delete one batch of each kind; return whether there may be more."""
        counts = []
        if self._text_ms:
            keys = await self._store.read(lambda: transactions.find_logs_to_erase(self._text_ms, _BATCH))
            for key in sorted(set(keys)):
                await self._store.write(partial(transactions.erase_texts, key, self._text_ms), locks=(key,))
            dropped = await self._store.write(lambda: transactions.drop_old_attempts(self._text_ms, _BATCH))
            counts += [len(keys), dropped]
        if self._row_ms:
            keys = await self._store.read(lambda: transactions.find_logs_to_drop(self._row_ms, _BATCH))
            for key in keys:
                await self._store.write(partial(transactions.drop_log, key, self._row_ms), locks=(key,))
            counts.append(len(keys))
        return any(count >= _BATCH for count in counts)
