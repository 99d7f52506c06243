"""What a server counts, for Prometheus: outcomes of messages, calls to CRMs and how long they took.

No name here holds a tenant, a user or a conversation: whoever may read the metrics learns nothing of the CRM's data.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily

from messagelog.connectors import ConnectorError
from messagelog.storage.rows import RowState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from messagelog.storage.rows import OpenCount, RowChange

_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)


class Metrics:
    """The counters of one server process. `monotonic` is a clock in seconds that never goes back."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        self._monotonic = monotonic
        self._messages = Counter(
            "messagelog_messages",
            "What calls came to, by message: logged, failed, parked, unknown, retried, or waiting for a sign-in.",
            ("platform", "outcome"),
            registry=self.registry,
        )
        self._calls = Histogram(
            "messagelog_crm_call_seconds",
            "Calls of a connector, by what they ended with: ok, or the type of the error.",
            ("platform", "call", "outcome"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        # There are a handful of each: what the library does to find one anew takes longer than the counting.
        self._message = functools.cache(self._messages.labels)
        self._call = functools.cache(self._calls.labels)

    def settled(self, platform: str, changes: Iterable[RowChange]) -> None:
        """Counts what became of the messages of a call, once it is in the journal."""
        for change in changes:
            outcome = "retried" if change.state is RowState.PLANNED else str(change.state)
            self._message(platform, outcome).inc()

    def called(self, platform: str, call: str) -> AbstractContextManager[None]:
        """Times a call, whatever it ends with."""
        return _Timed(self._monotonic, functools.partial(self._call, platform, call))


class _Timed:
    """Times what happens within, by its outcome."""

    __slots__ = ("_began", "_monotonic", "_outcomes")

    def __init__(self, monotonic: Callable[[], float], outcomes: Callable[[str], Histogram]) -> None:
        self._monotonic = monotonic
        self._outcomes = outcomes

    def __enter__(self) -> None:
        self._began = self._monotonic()

    def __exit__(self, _: object, error: BaseException | None, _traceback: object) -> None:
        outcome = "ok"
        if error is not None:
            outcome = type(error).__name__ if isinstance(error, ConnectorError) else "cut_off"
        self._outcomes(outcome).observe(self._monotonic() - self._began)


class OpenLogs:
    """What the journal says is not done, as gauges; a fresh one is made of each look at it."""

    def __init__(self, counts: Sequence[OpenCount]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges, as Prometheus' registries ask for them."""
        messages = GaugeMetricFamily(
            "messagelog_messages_open",
            "Messages whose logging met with trouble and is not done: to be tried again, waiting, failed or parked.",
            labels=("platform", "state"),
        )
        for count in self._counts:
            messages.add_metric((count.platform, count.state), count.messages)
        yield messages
