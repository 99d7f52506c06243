"""What a server counts, for Prometheus: outcomes of messages, calls to CRMs and how long they took.

No name here holds a tenant, a user or a conversation: whoever may read the metrics learns nothing of the CRM's data.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily

from messagelog.connectors import ConnectorError
from messagelog.storage.rows import RowState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

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

    def settled(self, platform: str, changes: Iterable[RowChange]) -> None:
        """Counts what became of the messages of a call, once it is in the journal."""
        for change in changes:
            outcome = "retried" if change.state is RowState.PLANNED else str(change.state)
            self._messages.labels(platform, outcome).inc()

    @contextmanager
    def called(self, platform: str, call: str) -> Iterator[None]:
        """Times a call, whatever it ends with."""
        began, outcome = self._monotonic(), "ok"
        try:
            yield
        except ConnectorError as error:
            outcome = type(error).__name__
            raise
        except BaseException:
            outcome = "cut_off"
            raise
        finally:
            self._calls.labels(platform, call, outcome).observe(self._monotonic() - began)


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
