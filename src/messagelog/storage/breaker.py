"""A circuit breaker in front of a database: once a transaction has waited in vain, others are refused at once.

While it is open it probes the database with a small commit from time to time. The first that succeeds closes it.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from messagelog.storage.causes import DatabaseFault, cause_of
from messagelog.storage.store import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

PROBE_SECONDS: Final = 2.0
"""How long a probe may take: less than monitoring commonly waits for the answer of a server."""

_NO_COMMIT: Final = "NO_COMMIT"
_FRESH_SECONDS: Final = 1.0
_PAUSES: Final = (0.1, 0.2, 0.5, 1.0)  # in seconds, between the probes; the last one again and again

_log = structlog.get_logger(__name__)


class Probe(Protocol):
    """Commits a small write, or raises `StoreUnavailable`.

    While `recovering` it is the kind of write that has failed, and uses nothing left over from before the failure.
    """

    async def __call__(self, *, recovering: bool) -> None:
        """Commit it."""


class CircuitBreaker:
    """Open while the database cannot be used: for all, or for writes only. `monotonic` is a clock in seconds."""

    def __init__(self, probe: Probe, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._probe = probe
        self._monotonic = monotonic
        self._cause: DatabaseFault | None = None
        self._refuses_reads = False
        self._committed_at = -math.inf
        self._recovering: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None

    def raise_if_open(self, *, writes: bool) -> None:
        """Raise `StoreUnavailable` while it is open."""
        if self._cause is not None and (writes or self._refuses_reads):
            raise StoreUnavailable(self._cause)

    def open(self, cause: DatabaseFault, *, reads: bool) -> None:
        """Refuse writes, and reads too where they fail as well, until a probe succeeds."""
        self._refuses_reads |= reads
        if self._recovering is None:
            self._cause = cause
            self._recovering = asyncio.get_running_loop().create_task(self._probe_until_available(cause))

    async def check(self) -> None:
        """Raise `StoreUnavailable` unless a probe was committed within a second, or is now. Callers share it.

        Other transactions do not count: one that had nothing to write commits on a full disk as well.
        """
        self.raise_if_open(writes=True)
        if self._monotonic() - self._committed_at < _FRESH_SECONDS:
            return
        if self._checking is None or self._checking.done():
            self._checking = asyncio.get_running_loop().create_task(self._commit(recovering=False))
            self._checking.add_done_callback(_retrieve_error)
        await asyncio.shield(self._checking)

    async def close(self) -> None:
        """End the probes."""
        for task in (self._recovering, self._checking):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, StoreUnavailable):
                    await task

    async def _probe_until_available(self, cause: DatabaseFault) -> None:
        began, logged = self._monotonic(), ""
        for pause in itertools.chain(_PAUSES, itertools.repeat(_PAUSES[-1])):
            await asyncio.sleep(pause)
            try:
                await self._commit(recovering=True)
            except StoreUnavailable as error:
                if error.cause.code != _NO_COMMIT:  # which says less than what is known
                    cause = self._cause = error.cause
                if cause.code != logged:
                    _log.error("database_unavailable", cause=str(cause))
                    logged = cause.code
            else:
                break
        self._cause, self._refuses_reads, self._recovering = None, False, None
        seconds = round(self._monotonic() - began, 1)
        _log.warning("database_available", seconds=seconds, cause=str(cause))

    async def _commit(self, *, recovering: bool) -> None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._probe(recovering=recovering)
        except StoreUnavailable:
            raise
        except TimeoutError as error:
            raise StoreUnavailable(
                DatabaseFault(_NO_COMMIT, f"no commit within {PROBE_SECONDS:g} s")
            ) from error
        except Exception as error:  # whatever it is: nothing was committed, and the probes go on
            raise StoreUnavailable(cause_of(error)) from error
        self._committed_at = self._monotonic()


def _retrieve_error(checking: asyncio.Task[None]) -> None:
    """Retrieve the error of a check for which no caller waits, so that it is not logged as never retrieved."""
    if not checking.cancelled():
        checking.exception()
