"""Tells the waiting requests of this process the outcomes of their rows, without asking the database."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from messagelog.storage.records.journal import RowState, RowStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from messagelog.storage.records.journal import LogKey

_FINAL = frozenset({RowState.LOGGED, RowState.FAILED, RowState.PARKED, RowState.WAITING})
"""States that only a person, a sign-in, or the same message sent again can change."""


class Subscription:
    """The outcomes that one request waits for. `versions` are the snapshots that it needs in the CRM, by row id.

    `patience` returns the seconds that it will still wait: a row that no process works on until then ends the wait.
    """

    def __init__(self, versions: Mapping[str, int], patience: Callable[[], float] | None = None) -> None:
        self._versions = dict(versions)
        self._patience = patience or (lambda: math.inf)
        self._open = dict.fromkeys(versions)
        self._changed = asyncio.Event()
        self.reports: dict[str, RowStatus] = {}

    @property
    def pending_ids(self) -> list[str]:
        """The ids whose outcome is still to come."""
        return list(self._open)

    @property
    def ids(self) -> list[str]:
        """All ids that it waits for, or has waited for."""
        return list(self._versions)

    def deliver(self, report: RowStatus) -> None:
        """Take a report. One of too old a snapshot does not end the wait, nor does one that may soon change."""
        if report.state is RowState.LOGGED and report.version < self._versions[report.id]:
            return
        self.reports[report.id] = report
        later = report.wait_ms is not None and report.wait_ms > self._patience() * 1000
        if report.state in _FINAL or later:
            self._open.pop(report.id, None)
            if not self._open:
                self._changed.set()

    def add(self, ids: Iterable[str]) -> None:
        """Wait for these ids too, in any version."""
        for id_ in ids:
            self._versions[id_] = 0
            self._open[id_] = None

    async def wait_for_change(self, seconds: float) -> None:
        """Wait until no outcome is missing, until `wake`, or for so many seconds."""
        in_time = asyncio.get_running_loop().call_later(seconds, self.wake)
        try:
            await self._changed.wait()
        finally:
            in_time.cancel()
            self._changed.clear()

    def wake(self) -> None:
        """End a wait without a report."""
        self._changed.set()


class OutcomeNotifier:
    """Delivers the outcomes of rows to the subscriptions of this process; other processes poll the database."""

    def __init__(self) -> None:
        self._by_row: defaultdict[tuple[str, str, str], set[Subscription]] = defaultdict(set)
        self._by_log: defaultdict[LogKey, set[Subscription]] = defaultdict(set)

    @contextmanager
    def subscribe(
        self, key: LogKey, versions: Mapping[str, int], patience: Callable[[], float] | None = None
    ) -> Iterator[Subscription]:
        """Subscribe to these ids. Do so before the rows are written, so that no outcome is missed."""
        subscription = Subscription(versions, patience)
        self._register(subscription, key, versions)
        self._by_log[key].add(subscription)
        try:
            yield subscription
        finally:
            for id_ in subscription.ids:
                place = (key.tenant, key.platform, id_)
                subscriptions = self._by_row[place]
                subscriptions.discard(subscription)
                if not subscriptions:
                    del self._by_row[place]
            self._by_log[key].discard(subscription)
            if not self._by_log[key]:
                del self._by_log[key]

    def extend_subscription(self, subscription: Subscription, key: LogKey, ids: Sequence[str]) -> None:
        """Add ids that were made a moment ago to a subscription, unless its request is gone."""
        if subscription in self._by_log.get(key, ()):
            subscription.add(ids)
            self._register(subscription, key, ids)

    def _register(self, subscription: Subscription, key: LogKey, ids: Iterable[str]) -> None:
        for id_ in ids:
            self._by_row[key.tenant, key.platform, id_].add(subscription)

    def publish(self, key: LogKey, reports: Iterable[RowStatus]) -> None:
        """Deliver these reports to the subscriptions that wait for their rows."""
        for report in reports:
            for subscription in tuple(self._by_row.get((key.tenant, key.platform, report.id), ())):
                subscription.deliver(report)

    def pending_ids(self, key: LogKey) -> set[str]:
        """Return the ids that requests for this conversation log still wait for."""
        return {id_ for subscription in self._by_log.get(key, ()) for id_ in subscription.pending_ids}

    def wake_all(self) -> None:
        """End all waits, so that a shutdown does not wait for the requests."""
        for subscriptions in tuple(self._by_log.values()):
            for subscription in tuple(subscriptions):
                subscription.wake()
