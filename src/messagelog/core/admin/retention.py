"""Forgets in time: the text of what was not logged, the calls that failed, and, where it is wanted, what is done.

Every process does it, a small batch at a time, each conversation log in a transaction of its own that looks again
whether the time has come: two that meet do no harm, and no request waits for more than one of them.
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
_PAUSE_SECONDS: Final = 600.0  # nobody waits for it, and a few minutes more are nothing against days
_NEXT_SECONDS: Final = 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """For how many days what is kept; 0 for ever.

    `text_days` is for the sealed text of messages that failed, are parked or wait for a sign-in, and for what is known
    of failed calls. `row_days` is for conversation logs of which all is logged: what is forgotten is logged once more
    when it is sent once more.
    """

    text_days: float = 30.0
    row_days: float = 0.0


class Retention:
    """Keeps to `RetentionPolicy` while a server runs. `luck` (from 0 to 1) spreads the processes, so that few meet."""

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
        """Begins, after a pause: a start has more urgent things to do."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends it. What was begun is done or not; the next start goes on."""
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
        """Forgets one batch of each kind; whether there may be more."""
        counts = []
        if self._text_ms:
            counts += [await self._erase_texts(), await self._drop_attempts()]
        if self._row_ms:
            counts.append(await self._drop_logs())
        return any(count >= _BATCH for count in counts)

    async def _erase_texts(self) -> int:
        keys = await self._store.read(lambda: transactions.find_logs_to_erase(self._text_ms, _BATCH))
        for key in sorted(set(keys)):
            await self._store.write(partial(transactions.erase_texts, key, self._text_ms), locks=(key,))
        return len(keys)

    async def _drop_attempts(self) -> int:
        return await self._store.write(lambda: transactions.drop_old_attempts(self._text_ms, _BATCH))

    async def _drop_logs(self) -> int:
        keys = await self._store.read(lambda: transactions.find_logs_to_drop(self._row_ms, _BATCH))
        for key in keys:
            await self._store.write(partial(transactions.drop_log, key, self._row_ms), locks=(key,))
        return len(keys)
