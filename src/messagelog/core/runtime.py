"""The runtime: takes requests, works on conversation logs, and takes up what was left behind.

The work belongs to the application. A request waits for it, for twelve seconds at most; the end of the wait, a lost
client and a shutdown end the waiting, never a call to a CRM.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
import uuid
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from msgspec.structs import replace
from structlog.contextvars import bind_contextvars

from messagelog.compose import zone_of
from messagelog.connectors import ConnectorError, Unavailable
from messagelog.core.contacts.resolve import ChosenContact, contact_from_request, resolve_contact
from messagelog.core.delivery.fair_share import BacklogLimiter
from messagelog.core.delivery.faults import error_summary
from messagelog.core.delivery.next_step import next_step
from messagelog.core.delivery.notifier import OutcomeNotifier, Subscription
from messagelog.core.delivery.outcomes import Capabilities
from messagelog.core.delivery.steps import StepRunner
from messagelog.core.delivery.worker import Worker
from messagelog.core.errors import NoContact, Stopping, UnknownPlatform
from messagelog.core.intake.answer import (
    Answer,
    nothing_to_do,
    nothing_to_log,
    refusal_answer,
    uncertain,
    with_links,
    with_warnings,
)
from messagelog.core.intake.days import window_of, with_log_of_day
from messagelog.core.intake.plan import day_in, plan_request
from messagelog.core.intake.plugins import LEFT_BY_PLUGINS
from messagelog.core.intake.submission import Submission
from messagelog.core.rate_limits import call_context
from messagelog.core.users.settings import Locale, UserSettings
from messagelog.messages import CREATE_NEW_CONTACT
from messagelog.plugins import RequestContext
from messagelog.storage import StoreUnavailable, is_transient, transactions
from messagelog.storage.records.journal import LeasePolicy, LogKey, RowState, RowStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence

    from messagelog.connectors import Connector
    from messagelog.core.delivery.calls import ConnectorCaller
    from messagelog.core.delivery.payload import Item
    from messagelog.core.intake.plugins import Plugins
    from messagelog.core.users.directory import User, UserDirectory
    from messagelog.messages import LogRequest, MessageIds
    from messagelog.storage import AcceptResult, Claim, JournalLookup, Sealer, Store
    from messagelog.storage.records.journal import ActivityLink, Planner

_BATCH: Final = 200
_RUN: Final = 20
_DUE_OF_EACH: Final = 16
_TENANTS: Final = 64
_SOON: Final = 30.0
"""What is due within so many seconds is rung for to the millisecond; the rest is left to the sweep."""
_SHORTEST_POLL: Final = 0.1
_LONGEST_POLL: Final = 1.0
_TO_JOURNAL: Final = 10.0
"""The least time for the database, where an answer is wanted sooner than that: without it there is none to give."""
_LAST_MOMENT: Final = 0.1
_SWEEP_SECONDS: Final = 10.0
"""A sweep that takes longer hangs: it is ended, and begins again."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Times:
    """How long things take, in seconds.

    `lease` must outlast a call and all that is read before it, which never takes longer than a call either. What it
    has beyond that is the margin for a slow machine, and for the calls of a run, of which none begins after `run`.
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
        """After which time without a sweep something is wrong: one that hung, and three that came late."""
        return _SWEEP_SECONDS + 3 * self.sweep

    @property
    def run_within_lease(self) -> float:
        """`run`, or half of the margin where that is less."""
        return min(self.run, (self.lease - 2 * self.call) / 2)


@dataclass(frozen=True, slots=True)
class _ConnectorPlan:
    """How the logs of a connector are worked on."""

    capabilities: Capabilities
    planner: Planner
    policy: LeasePolicy


class Runtime:
    """Everything that one process does with conversation logs. Make one, `start` it, `stop` it.

    `journal` is the id of the journal in the `store`.
    """

    def __init__(
        self,
        *,
        store: Store,
        sealer: Sealer,
        connectors: Mapping[str, Connector],
        users: UserDirectory,
        caller: ConnectorCaller,
        journal: str,
        settings: UserSettings | None = None,
        times: Times | None = None,
        plugins: Plugins | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.store = store
        self.users = users
        self.connectors = connectors
        self.times = times or Times()
        self._grace = max(0.0, _TO_JOURNAL - self.times.answer)
        self._settings = settings or UserSettings(store, Locale())
        self._limiters = users.pacer
        self._plugins = plugins
        self._metrics = caller.metrics
        self._sealer = sealer
        self._clock = clock
        self._sleep = sleep
        self._owner = uuid.uuid4().hex
        self._journal = journal
        self._notifier = OutcomeNotifier()
        self._accepting: set[asyncio.Task[AcceptResult]] = set()
        self._working: dict[LogKey, asyncio.Task[None]] = {}
        self._timers: dict[LogKey, asyncio.TimerHandle] = {}
        self._live_until: dict[LogKey, float] = {}
        self._submissions: defaultdict[LogKey, list[Submission]] = defaultdict(list)
        self._connector_plans: dict[Connector, _ConnectorPlan] = {}
        self._longest_settle = max((each.settle_seconds for each in connectors.values()), default=0.0)
        self._sweep_cursor = ""
        self._sweeper: asyncio.Task[None] | None = None
        self._swept_at: float | None = None
        self._sweep_failed = ""
        self._stops_by: float | None = None
        self._stopping = False
        self._backlog_limiter = BacklogLimiter()
        self._has_backlog = False
        self._sweep_requested = asyncio.Event()
        steps = StepRunner(store, users, caller, run_seconds=self.times.run_within_lease, clock=clock)
        self._worker = Worker(store, sealer, users, caller, self._notifier, jitter, steps)

    # ------------------------------------------------------------------------------------- requests

    def connector(self, platform: str) -> Connector:
        """The connector of a platform; `UnknownPlatform` when there is none."""
        try:
            return self.connectors[platform]
        except KeyError:
            raise UnknownPlatform(platform) from None

    async def answer_if_logged(self, user: User, ids: MessageIds) -> Answer | None:
        """The answer to a request of which all is logged, for the contact that it names; None for any other."""
        if self._stopping:
            raise Stopping
        if ids.contact_id == CREATE_NEW_CONTACT:
            return None
        key = LogKey(user.tenant, user.platform, ids.conversation_log_id)
        known = await self.store.read(lambda: transactions.look_up_plain(key, ids.message_ids))
        return None if known.unlogged or known.contact_id != ids.contact_id else nothing_to_do()

    async def submit(self, user: User, request: LogRequest) -> Answer:
        """Logs what a request holds, or accepts it and says so when the time to answer is over.

        Raises `Stopping` during a shutdown, `UnknownPlatform` for a user of a connector that is gone, and
        `PluginBlocked` when a plugin keeps it from being logged: then nothing of it was written down.
        """
        if self._stopping:
            raise Stopping
        connector = self.connector(user.platform)
        if request.info.is_empty:
            return nothing_to_log()
        until = asyncio.get_running_loop().time() + self.times.answer
        try:
            async with asyncio.timeout_at(until + self._grace):
                return await self._filter_and_submit(connector, user, request, until)
        except TimeoutError:
            return uncertain()

    async def _filter_and_submit(
        self, connector: Connector, user: User, request: LogRequest, until: float
    ) -> Answer:
        if self._plugins is None:
            return await self._plan_and_log(connector, user, request, until)
        crm = connector.display_name or connector.name
        context = RequestContext(user.tenant, user.platform, crm, user.id)
        seen = await self._plugins.apply(context, request, until - LEFT_BY_PLUGINS * self.times.answer)
        answer = await self._plan_and_log(connector, user, seen.request, until)
        return replace(answer, return_message=with_warnings(answer.return_message, seen.warnings))

    async def _plan_and_log(
        self, connector: Connector, user: User, request: LogRequest, until: float
    ) -> Answer:
        try:
            contact = contact_from_request(request) or await self._resolve_contact(
                connector, user, request, until
            )
        except NoContact as problem:
            return refusal_answer(str(problem))
        plan = plan_request(
            request,
            tenant=user.tenant,
            platform=user.platform,
            contact_id=contact.id,
            kinds=connector.message_kinds,
            day_of=day_in(user.tzinfo),
            arrived_at=int(self._clock() * 1000),
        )
        bind_contextvars(log=plan.key.conversation_log_id)  # ties the request's id to its activity
        locale = await self._settings.locale(user)
        submission = Submission(connector, user, request, contact, plan, self._sealer, locale)
        if not request.selected_ids:
            return await self._accept_and_wait(submission, until)
        if request.is_shared:
            return refusal_answer("Messages of a shared conversation are logged together, not one by one.")
        if not plan.items and not plan.refused:
            return nothing_to_log()
        answer = await self._accept_and_wait(submission, until)
        return with_links(answer, await self._find_links(submission))

    async def _find_links(self, submission: Submission) -> dict[str, str]:
        """The CRM's ids of the records that hold a request's messages, by message id, oldest first."""
        key, ids = submission.plan.key, submission.ids
        found = await self.store.read(lambda: transactions.find_links(key.tenant, key.platform, ids))
        links = {
            link.message_id: link.third_party_log_id
            for link in found
            if link.group_contact_id == key.group_contact_id
        }
        return {id_: links[id_] for id_ in ids if id_ in links}

    async def match(self, user: User, ids: Sequence[str]) -> dict[str, ActivityLink]:
        """Which of these messages are logged, by anybody of the user's tenant: the record and contact of each.

        A group's may be logged for several contacts: then it is one of them.
        """
        found = await self.store.read(lambda: transactions.find_links(user.tenant, user.platform, ids))
        return {link.message_id: link for link in reversed(found)}

    async def _resolve_contact(
        self, connector: Connector, user: User, request: LogRequest, until: float
    ) -> ChosenContact:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(until - 1.0):
                session = await self.users.session(connector, user.tenant, user.id)
        except ConnectorError as error:
            raise NoContact(error.meaning) from error
        except TimeoutError as error:
            raise NoContact(Unavailable.meaning) from error
        return await resolve_contact(
            connector,
            session,
            request,
            seconds_left=lambda: until - loop.time() - 1.0,
            sleep=self._sleep,
        )

    async def _accept_and_wait(self, submission: Submission, until: float) -> Answer:
        """Journals what is not logged yet, and waits for its outcome."""
        submission, known = await self._look_up(submission)
        key = submission.plan.key
        holder = submission.conflicting_contact(known)
        if holder is not None:
            return submission.conflict_answer(holder)
        wanted, changed = submission.items_to_log(known), submission.changes(known)
        here = changed.pop(key.client_log_id, [])
        if self._stopping and (wanted or here or changed):
            raise Stopping
        for client_log_id, items in changed.items():
            elsewhere = replace(submission.plan, key=key._replace(client_log_id=client_log_id))
            await self._shield(self._accept_changes(replace(submission, plan=elsewhere), items))
        if not wanted and not here:
            if known.contact_id is None and (other := await self._find_other_holder(submission)):
                return submission.conflict_answer(other)
            return submission.nothing_wanted()
        versions = {item.id: item.version for item in wanted}
        loop = asyncio.get_running_loop()
        watching = self._notifier.subscribe(key, versions, lambda: until - loop.time())
        with self._register_waiting(submission), watching as subscription:
            acceptance = await self._shield(self._accept(submission, [*wanted, *here], subscription))
            if acceptance.held_by is not None:
                return submission.conflict_answer(acceptance.held_by)
            for id_ in acceptance.twins:  # somebody was faster, in the contact's other kind of log
                subscription.deliver(RowStatus(id_, RowState.LOGGED, None, 0))
            last = until + self._grace - _LAST_MOMENT
            if acceptance.claim is None:  # others work on it, or nobody will for a while
                await self._poll_outcomes(key, subscription.pending_ids, last)
            await self._wait_for_outcomes(key, subscription, until, last)
            calling = key in self._working and not self._worker.is_saving(key) and not self._stopping
        return submission.answer(wanted, acceptance.changes, subscription.reports, known, calling=calling)

    async def _shield(self, accepting: Coroutine[Any, Any, AcceptResult]) -> AcceptResult:
        """Accept to the end, whatever becomes of the client: a claim that was won must be worked on."""
        task = asyncio.create_task(accepting)
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)
        task.add_done_callback(_log_accept_failure)
        return await asyncio.shield(task)

    async def _accept_changes(self, submission: Submission, items: Sequence[Item]) -> AcceptResult:
        """Accept changes of messages that are in another log than the request names; no request waits for those."""
        with self._notifier.subscribe(submission.plan.key, {}) as subscription:
            return await self._accept(submission, items, subscription)

    async def _look_up(self, submission: Submission) -> tuple[Submission, JournalLookup]:
        """What the journal knows of a request, and the request as that of the log that its day has already."""
        plan, ids = submission.plan, submission.ids
        window = window_of(plan)
        with_facts = submission.has_facts
        known = await self.store.read(
            lambda: transactions.look_up_everywhere(
                plan.key, ids, plan.contact_id, window, with_facts=with_facts
            )
        )
        day, known = with_log_of_day(plan, known, day_in(zone_of(submission.locale.zone)))
        if day is plan:
            return submission, known
        bind_contextvars(log=day.key.conversation_log_id)
        return replace(submission, plan=day), known

    async def _find_other_holder(self, submission: Submission) -> tuple[str, str] | None:
        """Another contact (id, name) that all of a request is logged for, in a log that it does not name."""
        key, ids = submission.plan.key, submission.ids
        found = await self.store.read(lambda: transactions.find_holders(key, ids))
        others = [contact for contact in found if contact[0] != submission.contact.id]
        return others[0] if others and len(others) == len(found) else None

    @contextmanager
    def _register_waiting(self, submission: Submission) -> Iterator[None]:
        """Keeps a request at hand while it waits: a deleted activity is made anew from all that it holds."""
        held = self._submissions[submission.plan.key]
        held.append(submission)
        try:
            yield
        finally:
            held.remove(submission)
            if not held:
                self._submissions.pop(submission.plan.key, None)

    async def _accept(
        self, submission: Submission, wanted: Sequence[Item], subscription: Subscription
    ) -> AcceptResult:
        work = submission.work(wanted)
        connector_plan = self._plan_of(submission.connector)
        self._live_until[work.key] = asyncio.get_running_loop().time() + self.times.answer
        acceptance = await self.store.write(
            lambda: transactions.accept_request(work, connector_plan.planner, connector_plan.policy),
            locks=work.locks,
        )
        self._notifier.extend_subscription(subscription, work.key, acceptance.changes)
        if acceptance.claim is not None:
            self._start(work.key, acceptance.claim)
        elif acceptance.due_ms is not None:
            self._schedule_later(work.key, acceptance.due_ms / 1000)
        return acceptance

    async def _wait_for_outcomes(
        self, key: LogKey, subscription: Subscription, until: float, last: float
    ) -> None:
        """Waits until every row has an outcome or the time is over. Rows that others work on are asked for."""
        loop = asyncio.get_running_loop()
        poll = _SHORTEST_POLL
        while (pending_ids := subscription.pending_ids) and not self._stopping:
            left = min(until, last) - loop.time()
            if left <= 0:
                return
            await subscription.wait_for_change(min(left, poll))
            if key not in self._working and subscription.pending_ids:
                await self._poll_outcomes(key, pending_ids, last)
                if self._limiters.seconds_held(key.tenant, key.platform) > until - loop.time():
                    return  # nothing will happen before that
            poll = min(poll * 1.5, _LONGEST_POLL)

    async def _poll_outcomes(self, key: LogKey, ids: list[str], last: float) -> None:
        """Asks the database for the outcomes, until the `last` moment: without them there is an answer as well."""
        try:
            async with asyncio.timeout_at(last):
                reports = await self.store.read(lambda: transactions.report_rows(key, ids))
                self._notifier.publish(key, reports)
        except Exception as error:
            if not is_transient(error):  # what was accepted stays so, while the database is away
                raise

    # ----------------------------------------------------------------------------------------- work

    def schedule(self, key: LogKey) -> bool:
        """Takes up a conversation log, if it is due and nobody works on it. A ring too many does no harm.

        False when somebody does, or when there is no room: the next sweep finds it then.
        """
        if key in self._working or self._stopping:
            return False
        if self._is_live(key):
            self._start(key, None)
            return True
        share = self._limiters.backlog_share(self.connector(key.platform), key.tenant)
        if not self._backlog_limiter.try_acquire(key, share):
            self._has_backlog |= share > 0
            return False
        self._start(key, None).add_done_callback(lambda _: self._on_backlog_done(key))
        return True

    def _is_live(self, key: LogKey) -> bool:
        """Whether somebody waits for a log, or did so until a moment ago and was told that logging goes on."""
        return self._live_until.get(key, 0.0) > asyncio.get_running_loop().time()

    def _on_backlog_done(self, key: LogKey) -> None:
        self._backlog_limiter.release(key)
        if self._has_backlog:
            self._sweep_requested.set()

    def request_sweep(self) -> None:
        """Sweeps at once: something has become due, such as what waited for a user to sign in."""
        self._sweep_requested.set()

    def _start(self, key: LogKey, claim: Claim | None) -> asyncio.Task[None]:
        before = self._working.get(key)
        task = asyncio.create_task(self._work(key, claim, before))
        self._working[key] = task
        task.add_done_callback(lambda done: self._on_work_done(key, done))
        return task

    def _on_work_done(self, key: LogKey, task: asyncio.Task[None]) -> None:
        if self._working.get(key) is task:
            del self._working[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            # The claim's lease runs out, and whoever sweeps next finds out what was done.
            _log.error("work_failed", log=key.conversation_log_id, error=error_summary(error))

    async def _work(self, key: LogKey, claim: Claim | None, before: asyncio.Task[None] | None) -> None:
        if before is not None:  # its claim ended in the database a moment ago; its task is about to
            await asyncio.wait([before])
        # Whoever has brought it waits for as long as an answer may take; what was left behind nobody waits for.
        with call_context.for_work(key, live_until=self._live_until.get(key, 0.0)):
            await self._process_log(key, claim)

    async def _process_log(self, key: LogKey, claim: Claim | None) -> None:
        connector = self.connector(key.platform)
        connector_plan = self._plan_of(connector)
        planner, policy = connector_plan.planner, connector_plan.policy
        if claim is None:
            claim = await self.store.write(lambda: transactions.claim_log(key, planner, policy), locks=(key,))
        recreated = False
        while claim is not None:
            done = await self._worker.run(
                connector,
                connector_plan.capabilities,
                claim,
                planner=lambda: None if self._stopping else planner,
                policy=policy,
                held=lambda: [row for each in self._submissions.get(key, ()) for row in each.rows()],
                may_recreate=not recreated,
            )
            recreated = recreated or done.recreated
            if done.wait_ms is not None:
                self._schedule_later(key, done.wait_ms / 1000)
            claim = done.claim

    def _schedule_later(self, key: LogKey, seconds: float) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if seconds > _SOON:
            return
        loop = asyncio.get_running_loop()

        def due() -> None:
            self._timers.pop(key, None)
            self.schedule(key)

        # A little late rather than early: a ring before the time finds nothing due.
        self._timers[key] = loop.call_later(seconds + 0.005, due)

    def _plan_of(self, connector: Connector) -> _ConnectorPlan:
        """How a connector is worked with, found out once."""
        connector_plan = self._connector_plans.get(connector)
        if connector_plan is None:
            capabilities = Capabilities.of(connector)
            batch = _BATCH if connector.takes_batches else _RUN if capabilities.in_runs else 1
            lease_ms, settle_ms = int(self.times.lease * 1000), int(connector.settle_seconds * 1000)
            planner = next_step(takes_batches=connector.takes_batches, in_runs=capabilities.in_runs)
            connector_plan = _ConnectorPlan(
                capabilities, planner, LeasePolicy(self._owner, lease_ms, settle_ms, batch, self._journal)
            )
            self._connector_plans[connector] = connector_plan
        return connector_plan

    # ------------------------------------------------------------------------------------ life cycle

    async def start(self) -> None:
        """Begins to take up what is due: at once what was left behind, then whatever comes due."""
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Takes no new work, ends all waits, and lets the calls under way come to their end, within the drain time.

        What is not done then is cut off; it stays in the journal, for the next start.
        """
        self._stopping = True
        self._notifier.wake_all()
        for timer in self._timers.values():
            timer.cancel()
        loop = asyncio.get_running_loop()
        if self._stops_by is None:
            self._stops_by = loop.time() + self.times.drain
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper], timeout=_LAST_MOMENT)
        # What is being accepted begins its work in a moment.
        while (busy := {*self._accepting, *self._working.values()}) and (
            left := self._stops_by - loop.time()
        ) > 0:
            await asyncio.wait(busy, timeout=left)
        for key, task in self._working.items():
            if not task.cancelling() and task.cancel():
                _log.error("shutdown_hung", what="call", platform=key.platform, log=key.conversation_log_id)

    @property
    def stops_by(self) -> float:
        """When the drain time of a shutdown is over, by the event loop's clock; endless while there is none."""
        return math.inf if self._stops_by is None else self._stops_by

    async def idle(self) -> None:
        """Waits until this process works on nothing (for tests and a shutdown that is watched)."""
        while self._working:
            await asyncio.wait(list(self._working.values()))

    async def _sweep(self) -> None:
        while True:
            self._sweep_requested.clear()
            try:
                async with asyncio.timeout(_SWEEP_SECONDS):
                    await self.sweep()
            except Exception as error:  # noqa: BLE001 - a database that is away now may be back in a second
                self._log_failed_sweep(error)
            else:
                self._swept_at, self._sweep_failed = asyncio.get_running_loop().time(), ""
                self._metrics.note_sweep()
            await self._sleep_until_sweep()

    def _log_failed_sweep(self, error: Exception) -> None:
        """Writes a line, unless the sweep before failed for the same cause: an outage needs no line every second."""
        cause = str(error.cause) if isinstance(error, StoreUnavailable) else type(error).__name__
        if cause != self._sweep_failed:
            _log.error("sweep_failed", error=type(error).__name__, cause=cause)
            self._sweep_failed = cause

    async def _sleep_until_sweep(self) -> None:
        """Waits for the next sweep: until its time, or until somebody wakes it."""
        both = [
            asyncio.ensure_future(self._sleep(self.times.sweep)),
            asyncio.create_task(self._sweep_requested.wait()),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()

    @property
    def takes_work(self) -> bool:
        """Whether requests are taken, and what is due is taken up."""
        running = self._sweeper is not None and not self._sweeper.done()
        return running and self._swept_at is not None and not self._stopping

    @property
    def seconds_since_sweep(self) -> float:
        """How long ago a sweep has ended; endless before the first one has."""
        return math.inf if self._swept_at is None else asyncio.get_running_loop().time() - self._swept_at

    async def sweep(self) -> int:
        """Takes up conversation logs that are due, as many as there is room for; how many that were.

        Of each tenant whose CRM may be called there are some, and those with the fewest under way come first.
        """
        await self._limiters.refresh()
        await self._redate()
        now = asyncio.get_running_loop().time()
        self._live_until = {key: until for key, until in self._live_until.items() if until > now}
        platforms, after = list(self.connectors), self._sweep_cursor
        keys = await self.store.read(
            lambda: transactions.find_due_logs(platforms, each=_DUE_OF_EACH, tenants=_TENANTS, after=after)
        )
        places = Counter((key.tenant, key.platform) for key in keys)
        self._has_backlog = any(count == _DUE_OF_EACH for count in places.values())
        self._sweep_cursor = keys[-1].tenant if len(places) >= _TENANTS else ""
        return sum(map(self.schedule, self._backlog_limiter.fair_order(keys)))

    async def _redate(self) -> None:
        """Makes due what a clock that was wrong has put off for longer than anything of ours waits."""
        lease_ms = int(1000 * (self.times.lease + self._longest_settle))
        longest_ms = transactions.LONGEST_DELAY_MS + lease_ms
        keys = await self.store.read(lambda: transactions.find_misdated_logs(longest_ms))
        if keys:
            _log.warning("clock_was_wrong", logs=len(keys))
            await self.store.write(
                lambda: transactions.redate_logs(keys, longest_ms=longest_ms, lease_ms=lease_ms)
            )


def _log_accept_failure(accepting: asyncio.Task[AcceptResult]) -> None:
    """Tells of a failure whose request has gone away: nobody else would."""
    if not accepting.cancelled() and (error := accepting.exception()) is not None:
        _log.error("accept_failed", error=type(error).__name__)
