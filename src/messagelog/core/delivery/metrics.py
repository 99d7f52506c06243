"""Counts for Prometheus: outcomes of messages, calls to CRMs and how long they took.

No name here holds a tenant, a user or a conversation: the metrics say nothing of the CRM's data.
"""

from __future__ import annotations

import functools
import time
from collections import Counter as Counts
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily

from messagelog.connectors import ConnectorError
from messagelog.core.rate_limits.budget import Circuit
from messagelog.storage.records.journal import RowState, is_change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from messagelog.storage.records.journal import OpenCount, RowChange
    from messagelog.storage.records.limits import LimiterRow

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
        self._logins = Counter(
            "messagelog_logins",
            "Sign-ins, by what the CRM said: ok, refused, or unavailable.",
            ("platform", "outcome"),
            registry=self.registry,
        )
        self._look_ups = Counter(
            "messagelog_contact_lookups",
            "Searches for contacts that users asked for: ok, or the type of the error.",
            ("platform", "outcome"),
            registry=self.registry,
        )
        self._swept_at = Gauge(
            "messagelog_last_sweep_timestamp_seconds",
            "When this process last looked for conversation logs that are due, in epoch seconds.",
            registry=self.registry,
        )
        # There are a handful of each: to find one in the library takes longer than to count.
        self._message = functools.cache(self._messages.labels)
        self._call = functools.cache(self._calls.labels)

    def count_outcomes(self, platform: str, changes: Iterable[RowChange]) -> None:
        """Count the outcomes of the messages of a call, once they are in the journal."""
        for change in changes:
            outcome = "retried" if change.state is RowState.PLANNED else str(change.state)
            if change.state is RowState.LOGGED and is_change(change.id):
                outcome = "changed"
            self._message(platform, outcome).inc()

    def count_login(self, platform: str, outcome: str) -> None:
        """Count a sign-in: `ok`, `refused` by the CRM, or `unavailable` if the CRM could not answer."""
        self._logins.labels(platform, outcome).inc()

    def count_look_up(self, platform: str, error: ConnectorError | None = None) -> None:
        """Count a search for contacts, with the error that it ended with."""
        self._look_ups.labels(platform, "ok" if error is None else type(error).__name__).inc()

    def note_sweep(self) -> None:
        """Note that a sweep has ended well."""
        self._swept_at.set_to_current_time()

    def time_call(self, platform: str, call: str) -> AbstractContextManager[None]:
        """Return a context that times a call, however it ends."""
        return _CallTimer(self._monotonic, functools.partial(self._call, platform, call))


class _CallTimer:
    """Times a call by its outcome."""

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


class JournalGauges:
    """The state of the journal at one time, as gauges; make a new one for each scrape.

    `counts` and `paces` are None if the database did not answer.
    """

    def __init__(self, counts: Sequence[OpenCount] | None, paces: Sequence[LimiterRow] | None) -> None:
        self._counts = counts
        self._paces = paces

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges, as Prometheus' registries ask for them."""
        messages = GaugeMetricFamily(
            "messagelog_messages_open",
            "Messages whose logging met with trouble and is not done: to be tried again, waiting, failed or parked.",
            labels=("platform", "state"),
        )
        oldest = GaugeMetricFamily(
            "messagelog_oldest_open_seconds",
            "How long ago the oldest of these messages was accepted.",
            labels=("platform", "state"),
        )
        for count in self._counts or ():
            messages.add_metric((count.platform, count.state), count.messages)
            oldest.add_metric((count.platform, count.state), count.oldest_ms / 1000)
        circuits = GaugeMetricFamily(
            "messagelog_circuits_open",
            "Tenants whose CRM does not answer, and is left alone but for a probe now and then.",
            labels=("platform",),
        )
        open_circuits = Counts(row.platform for row in self._paces or () if row.circuit != Circuit.CLOSED)
        for platform, tenants in sorted(open_circuits.items()):
            circuits.add_metric((platform,), tenants)
        answers = self._counts is not None and self._paces is not None
        database = GaugeMetricFamily("messagelog_database_up", "Whether the database answered this scrape.")
        database.add_metric((), float(answers))
        yield from (messages, oldest, circuits, database)
