"""What the parts that deliver conversation logs share: one context for each process, one plan for each connector."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from messagelog.core.delivery import runs
from messagelog.core.delivery.capabilities import Capabilities
from messagelog.core.delivery.next_step import next_step
from messagelog.core.delivery.notifier import OutcomeNotifier
from messagelog.storage.records.journal import LeasePolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.connectors import Connector
    from messagelog.core.delivery.calls import ConnectorCaller
    from messagelog.core.delivery.prepare import CallPreparer
    from messagelog.core.users.directory import UserDirectory
    from messagelog.storage import Sealer, Store
    from messagelog.storage.records.journal import Planner

SWEEP_SECONDS: Final = 10.0
"""A sweep that takes longer hangs: it is ended, and begins again."""
_BATCH: Final = 200
"""How many messages one call brings at most, where the connector takes batches."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long things take, in seconds.

    `lease` must outlast a call and all reading before it, which never takes longer than a call either. The rest of
    the lease is the margin for a slow machine, and for the calls of a run; none begins after `run`.
    """

    answer: float = 12.0
    call: float = 20.0
    run: float = 1.0
    lease: float = 45.0
    sweep: float = 1.0
    drain: float = 25.0

    def __post_init__(self) -> None:
        if self.lease <= 2 * self.call:
            raise ValueError("the lease must outlast two calls")

    @property
    def longest_between_sweeps(self) -> float:
        """The time without a sweep after which something is wrong: one that hung, and three that came late."""
        return SWEEP_SECONDS + 3 * self.sweep

    @property
    def run_within_lease(self) -> float:
        """`run`, or half of the lease's margin where that is less."""
        return min(self.run, (self.lease - 2 * self.call) / 2)


@dataclass(slots=True)
class DeliveryContext:
    """The parts that everything here works with.

    `clock` gives epoch seconds. `jitter` draws a number from 0 up to 1 for each step: the random part of its next wait.
    """

    store: Store
    sealer: Sealer
    users: UserDirectory
    preparer: CallPreparer
    caller: ConnectorCaller
    times: Times = field(default_factory=Times)
    notifier: OutcomeNotifier = field(default_factory=OutcomeNotifier)
    clock: Callable[[], float] = time.time
    jitter: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class ConnectorPlan:
    """How the logs of one connector are worked on."""

    connector: Connector
    capabilities: Capabilities
    planner: Planner
    policy: LeasePolicy

    @classmethod
    def of(cls, connector: Connector, *, owner: str, lease: float, journal: str) -> ConnectorPlan:
        """Return the plan of a connector; `owner` is this process, `lease` is in seconds."""
        capabilities = Capabilities.of(connector)
        most_rows = _BATCH if connector.takes_batches else runs.MOST_ROWS if capabilities.in_runs else 1
        return cls(
            connector,
            capabilities,
            next_step(takes_batches=connector.takes_batches, in_runs=capabilities.in_runs),
            LeasePolicy(owner, int(lease * 1000), capabilities.settle_ms, most_rows, journal),
        )
