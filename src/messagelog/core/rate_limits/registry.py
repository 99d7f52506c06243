"""The paces of all tenants, as one process keeps to them: the stored rows count, this knows when to ask them.

While a connector declares no limit and no CRM has asked for patience, a request costs one look-up in a dictionary, and
nothing is stored. What another process has learned is known here after the next `refresh`, which the sweep does once a
second.
"""

from __future__ import annotations

import asyncio
import math
import random
import uuid
from typing import TYPE_CHECKING, Final

from messagelog.connectors.limits import DAY, MINUTE, check_limits
from messagelog.core.rate_limits.budget import Circuit, Rules, Urgency, ceiling
from messagelog.core.rate_limits.limiter import LimiterSnapshot, RateLimiter
from messagelog.storage import transactions

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.connectors import Connector
    from messagelog.core.rate_limits.limiter import LimiterKey
    from messagelog.storage import Store
    from messagelog.storage.records.limits import LimiterRow

_MARGIN_SECONDS: Final = 10.0
_PATIENCE_SECONDS: Final = 4.0
_MOST_ACTIVE: Final = 10_000
_MOST_AT_ONCE: Final = 16
_HELD_SECONDS: Final = 1.0
_OUTAGE_SECONDS: Final = 3 * DAY
"""After so long, a failed probe counts as a try of its conversation log again, so that the log fails in the end."""


class LimiterRegistry:
    """The rate limiters of one process. `call_seconds` is the longest a request takes; `jitter` is in [0, 1)."""

    def __init__(
        self, store: Store, *, call_seconds: float = 20.0, jitter: Callable[[], float] = random.random
    ) -> None:
        self._store = store
        # A request may wait for half the time of a call for its place among those under way.
        self._longest_ms = int((1.5 * call_seconds + _MARGIN_SECONDS) * 1000)
        self._patience = min(_PATIENCE_SECONDS, call_seconds / 4)
        self._jitter = jitter
        self._owner = uuid.uuid4().hex[:12]
        self._limiters: dict[LimiterKey, RateLimiter] = {}
        self._known: dict[LimiterKey, LimiterSnapshot] = {}

    def gate(self, connector: Connector, tenant: str) -> RateLimiter:
        """Return the gate of a tenant's requests. Raise `ValueError` for limits that make no sense."""
        place = (tenant, connector.name)
        limiter = self._limiters.get(place)
        if limiter is None:
            check_limits(connector.rate_limits)
            limits = tuple(
                (limit.requests, math.ceil(limit.seconds * 1000)) for limit in connector.rate_limits
            )
            limiter = self._limiters[place] = RateLimiter(
                place,
                connector,
                self._store,
                rules=Rules(limits, self._longest_ms),
                known=self._known,
                patience=self._patience,
                owner=self._owner,
                jitter=self._jitter,
            )
        return limiter

    def seconds_held(self, tenant: str, platform: str) -> float:
        """Return for how many seconds a tenant's CRM must not be called, as this process knows; 0 if it may be.

        It is infinite while the CRM does not answer.
        """
        known = self._known.get((tenant, platform))
        if known is None:
            return 0.0
        now = asyncio.get_running_loop().time()
        return math.inf if known.down and known.active_until > now else max(0.0, known.live_at - now)

    def next_probe(self, tenant: str, platform: str) -> float | None:
        """Return in how many seconds the backlog of this tenant may probe its CRM, which is down; None if it is not.

        It is also None if the CRM has been down for longer than an outage lasts.
        """
        known = self._known.get((tenant, platform))
        now = asyncio.get_running_loop().time()
        if known is None or known.down_since is None or known.active_until <= now:
            return None
        if now - known.down_since > _OUTAGE_SECONDS:
            return None
        return max(0.0, known.catch_up_at - now)

    def backlog_share(self, connector: Connector, tenant: str) -> int:
        """Return how many logs of a tenant's backlog may run at a time: none while its CRM must not be called.

        They are no more than may be sent at once, so that few are claimed and released again.
        """
        known = self._known.get((tenant, connector.name))
        if known is not None:
            if known.catch_up_at - asyncio.get_running_loop().time() > _HELD_SECONDS:
                return 0
            if known.down:
                return 1
        short = (limit.requests for limit in connector.rate_limits if limit.seconds <= MINUTE)
        return min([_MOST_AT_ONCE, *(ceiling(requests, 0, Urgency.BACKLOG) for requests in short)])

    async def refresh(self) -> None:
        """Learn what other processes know; newer knowledge of this process stays."""
        started = asyncio.get_running_loop().time()
        rows = await self._store.read(lambda: transactions.find_active_limiters(_MOST_ACTIVE))
        found = {(row.tenant, row.platform): row for row in rows}
        for place in [place for place, known in self._known.items() if known.at < started]:
            if place not in found:
                del self._known[place]
        for place, row in found.items():
            if place not in self._known or self._known[place].at < started:
                self._known[place] = _to_snapshot(row, started)

    async def close(self) -> None:
        """Report what has ended to the rows. Nothing may be sent any more."""
        limiters, self._limiters = [*self._limiters.values()], {}
        await asyncio.gather(*(limiter.close(_MARGIN_SECONDS / 4) for limiter in limiters))


def _to_snapshot(row: LimiterRow, at: float) -> LimiterSnapshot:
    """Return what a stored pace says. A time that is too far away is a wrong clock's: then the row is asked."""

    def when(time: int | None) -> float:
        ahead = 0 if time is None else time - row.now
        return at + (ahead / 1000 if ahead <= transactions.LONGEST_DELAY_MS else 0)

    down_since = None if row.circuit == Circuit.CLOSED else when(row.open_since)
    active_until = at + min((row.active_until or row.now) - row.now, transactions.LONGEST_DELAY_MS) / 1000
    return LimiterSnapshot(
        when(row.not_before), when(row.catch_up_at), active_until, down_since=down_since, at=at
    )
