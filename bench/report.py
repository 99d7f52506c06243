"""The measurements, as tables that can be pasted into a Markdown page."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table

from bench.scenarios import SCENARIOS
from bench.servers import MENDED, OURS, PEER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.run import Measurement

Case = tuple[str, int]
"""A scenario, and the number of rows that were filled in."""

_MILLI: Final = 1000


class Results:
    """All measurements, by scenario and server."""

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        self._by_case: dict[Case, dict[str, list[Measurement]]] = {}
        self.servers: list[str] = []
        for each in measurements:
            case = self._by_case.setdefault((each.scenario, each.rows), defaultdict(list))
            case[each.server].append(each)
            if each.server not in self.servers:
                self.servers.append(each.server)

    def tables(self) -> Iterable[Table]:
        """All tables."""
        yield self._rates()
        if PEER in self.servers:
            yield self._ratios()
        yield self._of(
            "processor time of the server, ms a request", lambda m: _MILLI * m.processor / _requests(m)
        )
        yield self._of(
            "processor time of PostgreSQL, ms a request", lambda m: _MILLI * m.database / _requests(m)
        )
        yield self._of("time of an answer, median, ms", lambda m: _MILLI * m.result.median)
        yield self._of(
            "time of an answer, slowest hundredth, ms", lambda m: _MILLI * m.result.slowest_hundredth
        )
        yield self._of("resident memory, MB", lambda m: m.memory, digits=0)

    def _rates(self) -> Table:
        """Return requests a second, with their spread."""
        table = _table("requests/s: median (least to most)", self.servers)
        for case, found in self._by_case.items():
            table.add_row(_title(case), *(_spread(_rates(found[name])) for name in self.servers))
        return table

    def _ratios(self) -> Table:
        """Return our requests a second as multiples of the peer's."""
        rivals = [name for name in (PEER, MENDED) if name in self.servers]
        ours = [name for name in self.servers if name.startswith(OURS)]
        pairs = [(our, rival) for our in ours for rival in rivals]
        table = _table("requests/s, ours to theirs", [f"{our} / {rival}" for our, rival in pairs])
        for case, found in self._by_case.items():
            ratios = (_ratio(_rates(found[our]), _rates(found[rival])) for our, rival in pairs)
            table.add_row(_title(case), *ratios)
        return table

    def _of(self, title: str, value: Callable[[Measurement], float], *, digits: int = 2) -> Table:
        table = _table(title, self.servers)
        for case, found in self._by_case.items():
            medians = [_median([value(each) for each in found[name]]) for name in self.servers]
            cells = ["" if median is None else f"{median:,.{digits}f}" for median in medians]
            table.add_row(_title(case), *cells)
        return table


def line(measurement: Measurement) -> str:
    """Return a line for one run, while others are still to come."""
    rows = f" ({measurement.rows:,} rows)" if measurement.rows else ""
    verdict = "; ".join(measurement.faults) or "each message once"
    return (
        f"{measurement.scenario}{rows}, {measurement.server}: {measurement.rate:,.0f} requests/s, {verdict}"
    )


def others(measurements: Sequence[Measurement]) -> str:
    """Return how much of the machine other programs used: the worth of a figure depends on it."""
    shares = [each.disturbance for each in measurements] or [0.0]
    return f"Processors used by other processes during a run: {statistics.median(shares):.2f} (most {max(shares):.2f})."


def _rates(measurements: Iterable[Measurement]) -> list[float]:
    return [each.rate for each in measurements]


def _requests(measurement: Measurement) -> int:
    return max(measurement.result.requests, 1)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(box=box.MARKDOWN)
    table.add_column(title, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _title(case: Case) -> str:
    scenario, rows = case
    title = SCENARIOS[scenario].title
    return f"{title}, {rows:,} rows" if rows else title


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})" if values else ""


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    if not ours or not theirs or not statistics.median(theirs):
        return ""
    return f"{statistics.median(ours) / statistics.median(theirs):.1f}"
