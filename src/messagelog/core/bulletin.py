"""Where those who wait for a row's outcome are told of it, without asking the database."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from messagelog.storage.rows import RowReport, RowState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from messagelog.storage.rows import LogKey

_ENOUGH = frozenset({RowState.LOGGED, RowState.FAILED, RowState.PARKED, RowState.WAITING})
"""States that nothing changes but a person, a sign-in, or the same message sent again."""


class Watch:
    """The outcomes that one request waits for. `versions` are the snapshots that it needs in the CRM, by row id.

    `patience` tells for how many seconds it will wait yet: what nobody works on until then is answered at once.
    """

    def __init__(self, versions: Mapping[str, int], patience: Callable[[], float] | None = None) -> None:
        self._versions = dict(versions)
        self._patience = patience or _for_ever
        self._open = dict.fromkeys(versions)
        self._changed = asyncio.Event()
        self.reports: dict[str, RowReport] = {}

    @property
    def open_ids(self) -> list[str]:
        """The ids whose outcome is still awaited."""
        return list(self._open)

    @property
    def ids(self) -> list[str]:
        """All ids that it awaits, or has awaited."""
        return list(self._versions)

    def tell(self, report: RowReport) -> None:
        """Takes a report. One of an older snapshot than the awaited one ends no wait, nor one that may soon change."""
        if report.state is RowState.LOGGED and report.version < self._versions[report.id]:
            return
        self.reports[report.id] = report
        later = report.wait_ms is not None and report.wait_ms > self._patience() * 1000
        if report.state in _ENOUGH or later:
            self._open.pop(report.id, None)
            if not self._open:
                self._changed.set()

    def add(self, ids: Iterable[str]) -> None:
        """Await these ids too, in whatever version."""
        for id_ in ids:
            self._versions[id_] = 0
            self._open[id_] = None

    async def changed(self, seconds: float) -> None:
        """Waits until nothing is open any more, or somebody wakes it, for so many seconds at most."""
        in_time = asyncio.get_running_loop().call_later(seconds, self.wake)
        try:
            await self._changed.wait()
        finally:
            in_time.cancel()
            self._changed.clear()

    def wake(self) -> None:
        """Ends a wait without a report."""
        self._changed.set()


class Bulletin:
    """Tells watches of this process what becomes of rows; other processes ask the database."""

    def __init__(self) -> None:
        self._watches: defaultdict[tuple[str, str, str], set[Watch]] = defaultdict(set)
        self._by_log: defaultdict[LogKey, set[Watch]] = defaultdict(set)

    @contextmanager
    def watching(
        self, key: LogKey, versions: Mapping[str, int], patience: Callable[[], float] | None = None
    ) -> Iterator[Watch]:
        """Watches these ids; open it before the rows are written, so that no outcome is missed."""
        watch = Watch(versions, patience)
        self._register(watch, key, versions)
        self._by_log[key].add(watch)
        try:
            yield watch
        finally:
            for id_ in watch.ids:
                place = (key.tenant, key.platform, id_)
                watches = self._watches[place]
                watches.discard(watch)
                if not watches:
                    del self._watches[place]
            self._by_log[key].discard(watch)
            if not self._by_log[key]:
                del self._by_log[key]

    def watch_also(self, watch: Watch, key: LogKey, ids: Sequence[str]) -> None:
        """Let a watch await these ids too, which were made a moment ago."""
        watch.add(ids)
        self._register(watch, key, ids)

    def _register(self, watch: Watch, key: LogKey, ids: Iterable[str]) -> None:
        for id_ in ids:
            self._watches[key.tenant, key.platform, id_].add(watch)

    def post(self, key: LogKey, reports: Iterable[RowReport]) -> None:
        """Tells everybody who watches one of these rows."""
        for report in reports:
            for watch in tuple(self._watches.get((key.tenant, key.platform, report.id), ())):
                watch.tell(report)

    def awaited(self, key: LogKey) -> set[str]:
        """The ids that requests for this conversation log still wait for."""
        return {id_ for watch in self._by_log.get(key, ()) for id_ in watch.open_ids}

    def wake_all(self) -> None:
        """Ends all waits, so that a shutdown need not wait for the requests."""
        for watches in tuple(self._by_log.values()):
            for watch in tuple(watches):
                watch.wake()


def _for_ever() -> float:
    return math.inf
