"""Starts work on conversation logs when it is due: for the request that claimed it, at a time, or by the sweep.

The work belongs to the application. The end of a request's wait, a lost client and a shutdown end the waiting, never a
call to a CRM.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections import Counter, defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog

from messagelog.core.delivery.context import SWEEP_SECONDS, ConnectorPlan
from messagelog.core.delivery.fair_share import BacklogLimiter
from messagelog.core.delivery.faults import error_summary
from messagelog.core.delivery.worker import Worker
from messagelog.core.errors import UnknownPlatform
from messagelog.core.rate_limits import call_context
from messagelog.storage import StoreUnavailable, transactions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence

    from messagelog.connectors import Connector
    from messagelog.core.delivery.context import DeliveryContext
    from messagelog.storage import AcceptResult, Claim, NewRow
    from messagelog.storage.records.journal import LogKey, Planner

_DUE_OF_EACH: Final = 16
"""How many due logs of one tenant a sweep reads."""
_TENANTS: Final = 64
"""How many tenants a sweep reads."""
_SOON: Final = 30.0
"""What is due within so many seconds has a timer, to the millisecond; the rest is left to the sweep."""
_TIMER_DELAY: Final = 0.005
"""A timer fires a little late rather than early: before its time a log is not due."""
_LAST_MOMENT: Final = 0.1

_log = structlog.get_logger(__name__)


class Dispatcher:
    """Starts the work of one process, and ends it. Make one, `start` it, `stop` it.

    `journal` is the id of the journal in the context's store. `sleep` waits between two sweeps.
    """

    def __init__(
        self,
        context: DeliveryContext,
        connectors: Mapping[str, Connector],
        *,
        journal: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._context = context
        self._connectors = connectors
        self._journal = journal
        self._sleep = sleep
        self._owner = uuid.uuid4().hex
        self._limiters = context.users.limiters
        self._worker = Worker(context)
        self._plans: dict[Connector, ConnectorPlan] = {}
        self._longest_settle = max((each.settle_seconds for each in connectors.values()), default=0.0)
        self._accepting: set[asyncio.Task[Any]] = set()
        self._working: dict[LogKey, asyncio.Task[None]] = {}
        self._timers: dict[LogKey, asyncio.TimerHandle] = {}
        self._live_until: dict[LogKey, float] = {}
        self._held: defaultdict[LogKey, list[Callable[[], Sequence[NewRow]]]] = defaultdict(list)
        self._backlog_limiter = BacklogLimiter()
        self._has_backlog = False
        self._sweep_cursor = ""
        self._sweeper: asyncio.Task[None] | None = None
        self._sweep_requested = asyncio.Event()
        self._swept_at: float | None = None
        self._stops_by: float | None = None
        self.stopping = False

    def connector(self, platform: str) -> Connector:
        """Return the connector of a platform; raise `UnknownPlatform` if there is none."""
        try:
            return self._connectors[platform]
        except KeyError:
            raise UnknownPlatform(platform) from None

    def plan_of(self, connector: Connector) -> ConnectorPlan:
        """Return how a connector's logs are worked on."""
        plan = self._plans.get(connector)
        if plan is None:
            plan = ConnectorPlan.of(
                connector, owner=self._owner, lease=self._context.times.lease, journal=self._journal
            )
            self._plans[connector] = plan
        return plan

    # ------------------------------------------------------------------------------- for requests

    @contextmanager
    def hold(self, key: LogKey, rows: Callable[[], Sequence[NewRow]]) -> Iterator[None]:
        """Keep a request's rows at hand while it waits: a deleted activity is created again from all of them."""
        held = self._held[key]
        held.append(rows)
        try:
            yield
        finally:
            held.remove(rows)
            if not held:
                self._held.pop(key, None)

    async def shield(self, accepting: Coroutine[Any, Any, AcceptResult]) -> AcceptResult:
        """Run an accept to its end, even if its client is gone: a claim that was won must be worked on."""

        def log_failure(task: asyncio.Task[AcceptResult]) -> None:
            # If its request is gone, no other place tells of the failure.
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("accept_failed", error=type(error).__name__)

        task = asyncio.create_task(accepting)
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)
        task.add_done_callback(log_failure)
        return await asyncio.shield(task)

    def expect(self, key: LogKey) -> None:
        """Note that a request is about to wait for this log: for the time of an answer its work is live."""
        self._live_until[key] = asyncio.get_running_loop().time() + self._context.times.answer

    def take_up(self, key: LogKey, acceptance: AcceptResult) -> None:
        """Start the work that a request has claimed, or schedule it for when it is due."""
        if acceptance.claim is not None:
            self._start(key, acceptance.claim)
        elif acceptance.due_ms is not None:
            self._schedule_later(key, acceptance.due_ms / 1000)

    def is_working(self, key: LogKey) -> bool:
        """Return True if this process works on a log now."""
        return key in self._working

    def is_calling(self, key: LogKey) -> bool:
        """Return True if this process works on a log now, and is not yet saving the outcome."""
        return key in self._working and key not in self._worker.saving and not self.stopping

    # ------------------------------------------------------------------------------------ scheduling

    def schedule(self, key: LogKey) -> bool:
        """Start work on a conversation log, if it is due. To schedule it too often does no harm.

        Return False if there is work on it already, or no room: then the next sweep finds it.
        """
        if key in self._working or self.stopping:
            return False
        if self._live_until.get(key, 0.0) > asyncio.get_running_loop().time():
            # A request waits for it, or did so until a moment ago and was told that logging goes on.
            self._start(key, None)
            return True
        share = self._limiters.backlog_share(self.connector(key.platform), key.tenant)
        if not self._backlog_limiter.try_acquire(key, share):
            self._has_backlog |= share > 0
            return False

        def release(_task: asyncio.Task[None]) -> None:
            self._backlog_limiter.release(key)
            if self._has_backlog:
                self._sweep_requested.set()

        self._start(key, None).add_done_callback(release)
        return True

    def _schedule_later(self, key: LogKey, seconds: float) -> None:
        """Schedule a log after so many seconds, unless the sweep will find it in time."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if seconds > _SOON:
            return

        def fire() -> None:
            self._timers.pop(key, None)
            self.schedule(key)

        self._timers[key] = asyncio.get_running_loop().call_later(seconds + _TIMER_DELAY, fire)

    def _start(self, key: LogKey, claim: Claim | None) -> asyncio.Task[None]:
        def end(task: asyncio.Task[None]) -> None:
            if self._working.get(key) is task:
                del self._working[key]
            if not task.cancelled() and (error := task.exception()) is not None:
                # The lease of the claim runs out, and the next sweep reconciles its call.
                _log.error("work_failed", log=key.conversation_log_id, error=error_summary(error))

        task = asyncio.create_task(self._work(key, claim, self._working.get(key)))
        self._working[key] = task
        task.add_done_callback(end)
        return task

    async def _work(self, key: LogKey, claim: Claim | None, before: asyncio.Task[None] | None) -> None:
        """Claim a log, unless a request has, and do its steps for as long as there is one."""
        if before is not None:  # its claim ended in the database a moment ago; its task is about to
            await asyncio.wait([before])
        plan = self.plan_of(self.connector(key.platform))

        def planner() -> Planner | None:
            return None if self.stopping else plan.planner

        def waiting_rows() -> list[NewRow]:
            return [row for rows in self._held.get(key, ()) for row in rows()]

        # A request waits for its own claim as long as an answer may take; no request waits for swept work.
        with call_context.for_work(key, live_until=self._live_until.get(key, 0.0)):
            if claim is None:
                claim = await self._context.store.write(
                    lambda: transactions.claim_log(key, plan.planner, plan.policy), locks=(key,)
                )
            recreated = False
            while claim is not None:
                result = await self._worker.run(
                    plan, claim, planner=planner, held=waiting_rows, may_recreate=not recreated
                )
                recreated = recreated or result.recreated
                if result.wait_ms is not None:
                    self._schedule_later(key, result.wait_ms / 1000)
                claim = result.claim

    # ----------------------------------------------------------------------------------------- sweeps

    async def sweep(self) -> int:
        """Start work on the conversation logs that are due, as far as there is room; return how many were started.

        Some logs are read of each tenant whose CRM may be called, and the tenants with the least work under way come
        first.
        """
        await self._limiters.refresh()
        await self._redate()
        now = asyncio.get_running_loop().time()
        self._live_until = {key: until for key, until in self._live_until.items() if until > now}
        platforms, after = list(self._connectors), self._sweep_cursor
        keys = await self._context.store.read(
            lambda: transactions.find_due_logs(platforms, each=_DUE_OF_EACH, tenants=_TENANTS, after=after)
        )
        places = Counter((key.tenant, key.platform) for key in keys)
        self._has_backlog = any(count == _DUE_OF_EACH for count in places.values())
        self._sweep_cursor = keys[-1].tenant if len(places) >= _TENANTS else ""
        return sum(map(self.schedule, self._backlog_limiter.fair_order(keys)))

    async def _redate(self) -> None:
        """Make due what a wrong clock has put off for longer than any wait of ours."""
        store = self._context.store
        lease_ms = int(1000 * (self._context.times.lease + self._longest_settle))
        longest_ms = transactions.LONGEST_DELAY_MS + lease_ms
        keys = await store.read(lambda: transactions.find_misdated_logs(longest_ms))
        if keys:
            _log.warning("clock_was_wrong", logs=len(keys))
            await store.write(
                lambda: transactions.redate_logs(keys, longest_ms=longest_ms, lease_ms=lease_ms)
            )

    def request_sweep(self) -> None:
        """Sweep at once: something has become due, such as what waited for a user to sign in."""
        self._sweep_requested.set()

    async def _sweep_for_ever(self) -> None:
        last_failure = ""
        while True:
            self._sweep_requested.clear()
            try:
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self.sweep()
            except Exception as error:  # noqa: BLE001 - a database that is away now may be back in a second
                # An outage needs no line every second: one for each cause.
                cause = str(error.cause) if isinstance(error, StoreUnavailable) else type(error).__name__
                if cause != last_failure:
                    _log.error("sweep_failed", error=type(error).__name__, cause=cause)
                last_failure = cause
            else:
                self._swept_at, last_failure = asyncio.get_running_loop().time(), ""
                self._context.caller.metrics.note_sweep()
            waits = [
                asyncio.ensure_future(self._sleep(self._context.times.sweep)),
                asyncio.create_task(self._sweep_requested.wait()),
            ]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    @property
    def takes_work(self) -> bool:
        """True if requests are taken, and due logs are worked on."""
        running = self._sweeper is not None and not self._sweeper.done()
        return running and self._swept_at is not None and not self.stopping

    @property
    def seconds_since_sweep(self) -> float:
        """The seconds since a sweep has ended; infinite before the first one has."""
        return math.inf if self._swept_at is None else asyncio.get_running_loop().time() - self._swept_at

    # ------------------------------------------------------------------------------------- life cycle

    async def start(self) -> None:
        """Begin to sweep: at once for the work that was left behind, then for whatever comes due."""
        self._sweeper = asyncio.create_task(self._sweep_for_ever())

    async def stop(self) -> None:
        """Take no new work, end all waits, and drain: let the calls under way end, within the drain time.

        A call that has not ended by then is cut off; its work stays in the journal, for the next start.
        """
        self.stopping = True
        self._context.notifier.wake_all()
        for timer in self._timers.values():
            timer.cancel()
        loop = asyncio.get_running_loop()
        if self._stops_by is None:
            self._stops_by = loop.time() + self._context.times.drain
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper], timeout=_LAST_MOMENT)
        # An accept starts its work when it ends.
        while (busy := {*self._accepting, *self._working.values()}) and (
            left := self._stops_by - loop.time()
        ) > 0:
            await asyncio.wait(busy, timeout=left)
        for key, task in self._working.items():
            if not task.cancelling() and task.cancel():
                _log.error("shutdown_hung", what="call", platform=key.platform, log=key.conversation_log_id)

    @property
    def stops_by(self) -> float:
        """The time on the event loop's clock at which a shutdown's drain time is over; infinite without a shutdown."""
        return math.inf if self._stops_by is None else self._stops_by

    async def idle(self) -> None:
        """Wait until this process works on nothing (for tests, and for watching a shutdown)."""
        while self._working:
            await asyncio.wait(list(self._working.values()))
