"""Schedules of mishaps: what is sent, which CRM it goes to, where the process dies or meets an error of its own, and
what must hold afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

from messagelog.connectors import (
    ConnectorError,
    Credentials,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from messagelog.connectors.http import error_for_status
from messagelog.core import DeliveryContext, Runtime, Times, UserDirectory
from messagelog.core.admin.inbox import DecisionRefused, Inbox
from messagelog.core.delivery.media import MediaFetcher
from messagelog.core.operators.accounts import local_operator
from messagelog.storage import LogKey, LogState, Sealer, Store, transactions
from messagelog.storage.transactions import Batch, Query, Transaction
from messagelog.storage.transactions.mapping import key_params, row_from
from support.crash_points import CrashingStore, Fault, Fuse, Mishap, inject_faults
from support.memory_crm import Appending, Crm, Finding, Plain, ReadingBack, Upserting
from support.own_faults import DatabaseAway, FaultyCaller, FaultyPreparer, OwnFault
from support.requests import (
    LATER,
    MAYA,
    OMAR,
    START,
    body,
    failed,
    message,
    sent,
    thread,
    to_log_request,
    voicemail,
)
from support.run_until_idle import run_until_idle
from support.runtime_fixture import SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence

    from support.memory_crm import Call

    Operating = Callable[[Runtime, dict[str, Any]], Coroutine[Any, Any, None]]

    from messagelog.core import User
    from messagelog.storage import MessageRow
    from support.virtual_clock import VirtualClock

MISHAPS = (OwnFault, DatabaseAway)
"""Errors of our own that a process may meet."""

TIMES = Times(answer=0.2, call=2.0, lease=60.0)


class Clock:
    """The database's clock, in a test's hands."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


# --------------------------------------------------------------------------------------- kinds of CRM


class ExternalIds(Upserting):
    """External ids; activities can be changed."""


class Search(Finding):
    """Our key can be searched for, and the search lags by four seconds."""

    settle_seconds = 5.0


class ReadBackOnly(ReadingBack):
    """No key and no search: a contact's activities can be read."""


class AppendOnlyReadBack(ReadingBack):
    """Activities can only be added to, and read."""

    append_only = True

    update_message_log = Appending.update_message_log


class AppendOnly(Appending):
    """Activities can only be added to, and not be found or read again."""


class Nothing(Plain):
    """Activities can be changed in place; a lost create cannot be found."""


KINDS: tuple[type[Plain], ...] = (ExternalIds, Search, ReadBackOnly, AppendOnlyReadBack, AppendOnly, Nothing)
FAILING_KINDS = frozenset({ExternalIds, Search, AppendOnlyReadBack, AppendOnly})
"""Those that go through a scenario with faults: one for each way of finding out."""
RUNNING = (ExternalIds, ReadBackOnly, AppendOnlyReadBack, Nothing)
"""Those whose updates are made in runs, one for each way of finding out."""
RESOLVABLE = frozenset({ExternalIds, Search, ReadBackOnly, AppendOnlyReadBack})
"""With these nothing is ever parked."""
TELLING = (ExternalIds, Search, AppendOnlyReadBack)
"""Those that can tell whether a write was done that was refused, one for each way of finding out."""


# ---------------------------------------------------------------------------------------- scenarios


@dataclass(frozen=True)
class Scenario:
    """What a client sends, in order, and the texts that the CRM must hold in the end, each once.

    The process may crash during the last request; those before are the past. From then on the next writes end with
    `faults` (None: one that does not). With `signs_in` the user signs in again after the request. In the end the
    client sends `later`, or the last request again.

    `then` is sent right after the last request, before the time passes; `beside` is sent at the same time, by another
    process. Before the last request people write `edits` (what stands there, what they make of it), or delete the
    activity where it `is_deleted`.

    With `links` the CRM refuses the contact that it was sent for, and an operator gives the log to this one (id, name)
    and tries it again; the operator's session ends with the process, and the rest is done in the next one.
    """

    name: str
    requests: tuple[dict[str, Any], ...]
    texts: tuple[str, ...]
    batches: bool = False
    limit: int | None = None
    activities: int = 1
    later: dict[str, Any] | None = None
    faults: tuple[Fault | None, ...] = ()
    signs_in: bool = False
    links: tuple[str, str] | None = None
    then: dict[str, Any] | None = None
    beside: dict[str, Any] | None = None
    edits: tuple[tuple[str, str], ...] = ()
    is_deleted: bool = False
    kinds: tuple[type[Plain], ...] = KINDS

    def key(self, tenant: str, contact: str = "c-1") -> LogKey:
        """The log that the last request is about, or a group's for another contact."""
        info = self.requests[-1]["logInfo"]
        shared = "owner" in info
        group = contact if len(info["correspondents"]) > 1 and not shared else ""
        return LogKey(tenant, "memory", info["conversationLogId"], shared, group)

    @property
    def logged_before(self) -> frozenset[str]:
        """The ids of the messages that are logged, in activities that stay, before anything happens."""
        if self.is_deleted and self.activities:
            return frozenset()
        messages = [each for request in self.requests[:-1] for each in request["logInfo"]["messages"]]
        return frozenset(str(each["id"]) for each in messages)

    @property
    def goes_to(self) -> list[type[Plain]]:
        """The kinds of CRM that it is sent to: with faults one for each way of finding out, of `kinds`."""
        return [kind for kind in self.kinds if not self.faults or kind in FAILING_KINDS]


ONE, TWO, THREE, FOUR = (message(n, f"text-{n:02}.") for n in (1, 2, 3, 4))
LONG = [message(n, f"text-{n:02}. " + "x" * 200) for n in (1, 2, 3)]
SAME = message(2, "text-01.", at=ONE["creationTime"] + 1000)
TWICE = message(3, "text-02.", at=TWO["creationTime"] + 1000)

AWAY = Fault(Unavailable("no connection"))
PATIENCE = Fault(RateLimited("HTTP 429", retry_after=7, status=429))
SIGN_IN = Fault(error_for_status(401, reads=False))
LATE_SIGN_IN = Fault(error_for_status(401, reads=False), done=True)
FORBIDDEN = Fault(error_for_status(403, reads=False))
LATE_FORBIDDEN = Fault(error_for_status(403, reads=False), done=True)
REDIRECTED = Fault(error_for_status(302, reads=False), done=True)
TIMED_OUT = Fault(error_for_status(408, reads=False), done=True)

LOST = Fault(OutcomeUnknown("no answer"), done=True)
NEVER_SENT = Fault(OutcomeUnknown("no answer"))

NOT_DELIVERED = "Not delivered"
OPTED_OUT = "opted out"
QUEUED, FAILED = sent(1, "text-01."), failed(1, "text-01.")
OPTED = failed(1, "text-01.", after=2 * LATER, deliveryErrorCode="SMS-CAR-413")
AT_ONCE = START + 61_000
TWINS = (QUEUED, sent(2, "text-01.", at=AT_ONCE)), (FAILED, failed(2, "text-01.", at=AT_ONCE))
LONG_QUEUED, LONG_FAILED = sent(1, LONG[0]["subject"]), failed(1, LONG[0]["subject"])

CHANGES = (
    Scenario("a text fails later", (body(QUEUED), body(FAILED)), ("text-01.", NOT_DELIVERED)),
    Scenario(
        "a text fails, and there is a new one",
        (body(QUEUED), body(FAILED, TWO)),
        ("text-01.", NOT_DELIVERED, "text-02."),
    ),
    Scenario(
        "a transcript comes later",
        (body(voicemail(), type="VoiceMail"), body(voicemail("Call me.", "Completed"), type="VoiceMail")),
        ("Call me.",),
    ),
    Scenario(
        "a text in a full activity fails",
        (body(LONG_QUEUED, LONG[1]), body(LONG_FAILED)),
        ("text-01.", "text-02.", NOT_DELIVERED),
        limit=450,
        activities=2,
    ),
    Scenario(
        "two equal texts fail",
        (body(*TWINS[0]), body(*TWINS[1])),
        ("text-01.", "text-01.", NOT_DELIVERED, NOT_DELIVERED),
    ),
    Scenario(
        "an edited text fails",
        (body(QUEUED, TWO), body(FAILED, TWO)),
        ("text-01", NOT_DELIVERED, "text-02."),
        edits=(("text-01.", "text-01 (their own words)."),),
    ),
    Scenario(
        "a text of a deleted activity fails",
        (body(QUEUED), body(FAILED)),
        (),
        activities=0,
        is_deleted=True,
    ),
    Scenario(
        "a text of a deleted activity fails, and there is a new one",
        (body(QUEUED), body(FAILED, TWO)),
        ("text-01.", NOT_DELIVERED, "text-02."),
        is_deleted=True,
    ),
    Scenario(
        "a text fails while its own call is lost",
        (body(QUEUED),),
        ("text-01.", NOT_DELIVERED),
        then=body(FAILED),
        faults=(LOST,),
    ),
    Scenario(
        "a text fails, and its change is lost",
        (body(QUEUED), body(FAILED, TWO)),
        ("text-01.", NOT_DELIVERED, "text-02."),
        faults=(LOST, NEVER_SENT),
    ),
    Scenario(
        "two processes bring one change",
        (body(QUEUED), body(FAILED)),
        ("text-01.", NOT_DELIVERED),
        beside=body(FAILED, TWO),
        later=body(FAILED),
    ),
    Scenario(
        "an older record comes after a newer one",
        (body(QUEUED), body(OPTED)),
        ("text-01.", OPTED_OUT),
        then=body(FAILED),
        later=body(OPTED),
    ),
    Scenario(
        "a newer record comes after an older one",
        (body(QUEUED), body(FAILED)),
        ("text-01.", OPTED_OUT),
        then=body(OPTED),
    ),
)

SCENARIOS = (
    Scenario("create", (body(ONE),), ("text-01.",)),
    Scenario("create and update", (body(ONE, TWO),), ("text-01.", "text-02.")),
    Scenario("update", (body(ONE), body(ONE, TWO)), ("text-01.", "text-02.")),
    Scenario("equal texts", (body(ONE), body(ONE, SAME)), ("text-01.", "text-01.")),
    Scenario("batch", (body(ONE), body(ONE, TWO, THREE)), ("text-01.", "text-02.", "text-03."), batches=True),
    Scenario("shared create", (thread("text-01.", "text-02."),), ("text-01.", "text-02.")),
    Scenario("shared update", (thread("text-01."), thread("text-01.", "text-02.")), ("text-01.", "text-02.")),
    Scenario(
        "a newer snapshot",
        (thread("text-01."), thread("text-01.", "text-02.")),
        ("text-01.", "text-02.", "text-03."),
        later=thread("text-01.", "text-02.", "text-03."),
    ),
    Scenario(
        "a later message",
        (body(ONE, TWO),),
        ("text-01.", "text-02.", "text-03."),
        later=body(ONE, TWO, THREE),
    ),
    Scenario(
        "goes on",
        (body(LONG[0]), body(*LONG[:2])),
        ("text-01.", "text-02."),
        limit=450,
        activities=2,
    ),
    Scenario(
        "batch goes on",
        (body(*LONG),),
        ("text-01.", "text-02.", "text-03."),
        batches=True,
        limit=700,
        activities=2,
    ),
    Scenario(
        "shared goes on",
        (thread("text-01."), thread("text-01.", "text-02.", "text-03.")),
        ("text-01.", "text-02.", "text-03."),
        limit=420,
        activities=2,
    ),
    Scenario("away", (body(ONE, TWO),), ("text-01.", "text-02."), faults=(AWAY, PATIENCE)),
    Scenario("a sign-in", (body(ONE, TWO),), ("text-01.", "text-02."), faults=(SIGN_IN,), signs_in=True),
    Scenario(
        "a sign-in at an update",
        (body(ONE), body(ONE, TWO)),
        ("text-01.", "text-02."),
        faults=(SIGN_IN,),
        signs_in=True,
    ),
    Scenario(
        "run",
        (body(ONE), body(ONE, TWO, THREE, FOUR)),
        ("text-01.", "text-02.", "text-03.", "text-04."),
        kinds=RUNNING,
    ),
    Scenario(
        "run with equal texts",
        (body(ONE), body(ONE, TWO, TWICE, FOUR)),
        ("text-01.", "text-02.", "text-02.", "text-04."),
        kinds=RUNNING,
    ),
    Scenario(
        "run goes on",
        (body(LONG[0]), body(*LONG)),
        ("text-01.", "text-02.", "text-03."),
        limit=700,
        activities=2,
        kinds=RUNNING,
    ),
    Scenario(
        "run away",
        (body(ONE), body(ONE, TWO, THREE)),
        ("text-01.", "text-02.", "text-03."),
        faults=(None, AWAY),
        kinds=RUNNING,
    ),
    Scenario(
        "run with a sign-in",
        (body(ONE), body(ONE, TWO, THREE)),
        ("text-01.", "text-02.", "text-03."),
        faults=(None, SIGN_IN),
        signs_in=True,
        kinds=RUNNING,
    ),
    Scenario("group", (body(ONE, TWO, correspondents=(MAYA, OMAR)),), ("text-01.", "text-02.")),
    Scenario(
        "a group goes to another contact",
        (body(ONE, TWO, correspondents=(MAYA, OMAR)),),
        ("text-01.", "text-02."),
        later=body(ONE, TWO, correspondents=(MAYA, OMAR), contact="c-2", name="Omar Reyes"),
        links=("c-2", "Omar Reyes"),
    ),
    Scenario(
        "a group goes to another contact, and on",
        (body(ONE, correspondents=(MAYA, OMAR)),),
        ("text-01.", "text-02."),
        later=body(ONE, TWO, correspondents=(MAYA, OMAR), contact="c-2", name="Omar Reyes"),
        links=("c-2", "Omar Reyes"),
    ),
    Scenario("redirected", (body(ONE, TWO),), ("text-01.", "text-02."), faults=(REDIRECTED, TIMED_OUT)),
    Scenario(
        "a thread is redirected",
        (thread("text-01."), thread("text-01.", "text-02.")),
        ("text-01.", "text-02."),
        faults=(REDIRECTED,),
    ),
    Scenario(
        "a late 401",
        (body(ONE, TWO),),
        ("text-01.", "text-02."),
        faults=(LATE_SIGN_IN,),
        signs_in=True,
        kinds=TELLING,
    ),
    Scenario(
        "a late 401 at an update",
        (body(ONE), body(ONE, TWO)),
        ("text-01.", "text-02."),
        faults=(LATE_SIGN_IN,),
        signs_in=True,
        kinds=TELLING,
    ),
    Scenario(
        "a late 401 with equal texts",
        (body(ONE), body(ONE, SAME)),
        ("text-01.", "text-01."),
        faults=(LATE_SIGN_IN,),
        signs_in=True,
        kinds=(Search, AppendOnlyReadBack),
    ),
    Scenario(
        "a late 401 of a batch",
        (body(ONE, TWO),),
        ("text-01.", "text-02.", "text-03."),
        batches=True,
        later=body(ONE, TWO, THREE),
        faults=(LATE_SIGN_IN,),
        signs_in=True,
        kinds=TELLING,
    ),
    Scenario(
        "a late 401 of a thread",
        (thread("text-01."),),
        ("text-01.", "text-02."),
        later=thread("text-01.", "text-02."),
        faults=(LATE_SIGN_IN,),
        signs_in=True,
        kinds=TELLING,
    ),
    Scenario(
        "run with a late 401",
        (body(ONE), body(ONE, TWO, THREE)),
        ("text-01.", "text-02.", "text-03."),
        faults=(None, LATE_SIGN_IN),
        signs_in=True,
        kinds=(ExternalIds, AppendOnlyReadBack),
    ),
    Scenario(
        "refused, and done",
        (body(ONE, TWO),),
        ("text-01.", "text-02."),
        faults=(LATE_FORBIDDEN,),
        kinds=TELLING,
    ),
    Scenario(
        "an update refused, and done",
        (body(ONE), body(ONE, TWO, THREE)),
        ("text-01.", "text-02.", "text-03."),
        faults=(LATE_FORBIDDEN,),
        kinds=TELLING,
    ),
    Scenario(
        "refused, and not done",
        (body(ONE, TWO),),
        ("text-01.", "text-02."),
        faults=(FORBIDDEN,),
        kinds=TELLING,
    ),
    *CHANGES,
)


# ----------------------------------------------------------------------------------------- schedules


@dataclass
class Result:
    """How a schedule ended."""

    passed: list[str]
    met_at: list[str]
    activities: int = 0
    texts: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


@dataclass
class Campaign:
    """Runs schedules on one database; every schedule has a tenant of its own."""

    store: Store
    clock: Clock | VirtualClock
    client: aiohttp.ClientSession
    times: Times = TIMES
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def run(self, scenario: Scenario, kind: type[Plain], mishaps: Sequence[Mishap | None]) -> Result:
        """Sends the scenario; each incarnation meets its one of `mishaps`, the last one lives undisturbed."""
        tenant = f"t{next(self._numbers)}"
        crm = Crm()
        crm.now = self.clock
        crm.search_from = lambda activity: self.clock.now - activity.made_at >= 4_000
        connector = _batching(kind, scenario)(crm)
        fuse = Fuse()
        for request in scenario.requests[:-1]:
            await self._live(tenant, connector, fuse, request)
        _edited(crm, scenario)
        faults = list(scenario.faults)
        again = scenario.signs_in
        linking = scenario.links is not None
        passed: list[str] = []
        met_at: list[str] = []
        for mishap in mishaps:
            fuse = Fuse(mishap)
            operator = self._operator(tenant, scenario) if linking else None
            await self._live(
                *(tenant, connector, fuse, scenario.requests[-1]),
                then=scenario.then,
                beside=scenario.beside,
                faults=faults,
                signs_in=again,
                operator=operator,
            )
            passed = passed or fuse.passed
            met_at += [fuse.met_at] if fuse.met_at else []
        last = scenario.later or scenario.then or scenario.requests[-1]
        if linking:  # the operator finishes the decision before the client sends it for the other contact
            operator = self._operator(tenant, scenario)
            await self._live(tenant, connector, Fuse(), scenario.requests[-1], operator=operator)
        await self._live(tenant, connector, Fuse(), last, faults=faults, settle=True, signs_in=again)
        rows = await self.store.read(lambda: _rows(tenant, scenario))
        return judge(scenario, kind, crm, rows, Result(passed=passed, met_at=met_at))

    async def _live(
        self,
        tenant: str,
        connector: Plain,
        fuse: Fuse,
        request: dict[str, Any],
        *,
        then: dict[str, Any] | None = None,
        beside: dict[str, Any] | None = None,
        faults: list[Fault | None] | None = None,
        settle: bool = False,
        signs_in: bool = False,
        operator: Operating | None = None,
    ) -> None:
        """One process: it starts, takes up what is due, is sent the request, and lives until it is idle or dead."""
        inject_faults(connector.crm, fuse, [] if faults is None else faults)
        runtime = self.runtime(connector, fuse)
        runtimes = [runtime]
        if operator is None:
            requests = [request] if then is None else [request, then]
            living = self._run_life(runtime, tenant, requests, settle=settle, signs_in=signs_in)
            if beside is not None:
                runtimes.append(self.runtime(connector, fuse))
                other = self._run_life(runtimes[1], tenant, [beside], settle=False, signs_in=False)
                living = _both(living, other)
        else:
            _refuse_contact(connector.crm, "c-1")
            living = _operate(operator, runtime, request)
        life = asyncio.create_task(living)
        death = asyncio.create_task(fuse.died.wait())
        await asyncio.wait([life, death], return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        if fuse.dead:
            life.cancel()
            await asyncio.wait([life])
            for each in runtimes:
                await kill_runtime(each)
        else:
            await life

    async def _run_life(
        self, runtime: Runtime, tenant: str, requests: list[dict[str, Any]], *, settle: bool, signs_in: bool
    ) -> None:
        user = await self._sign_in(runtime, tenant)
        await self._run_until_idle(runtime)
        for _ in range(2 if settle else 1):
            for request in requests:
                with suppress(*MISHAPS):  # the client is told that the server failed, and sends it again
                    await runtime.submit(user, to_log_request(request))
            await self._run_until_idle(runtime)
            if signs_in:
                await self._sign_in(runtime, tenant)
                await self._run_until_idle(runtime)

    async def _sign_in(self, runtime: Runtime, tenant: str) -> User:
        credentials = Credentials(api_key=f"{tenant}/ada")
        try:
            return await runtime.context.users.sign_in(runtime.connector("memory"), credentials, "")
        except MISHAPS:  # the user tries again
            return await runtime.context.users.sign_in(runtime.connector("memory"), credentials, "")

    def _operator(self, tenant: str, scenario: Scenario) -> Operating:
        """What the client and an operator do in one process: it is sent, linked to another contact, and tried again.

        Of a log that is the other contact's already nothing is sent again: that would be another log's beginning.
        """
        assert scenario.links is not None
        contact, name = scenario.links
        before, after = scenario.key(tenant), scenario.key(tenant, contact)

        async def operate(runtime: Runtime, request: dict[str, Any]) -> None:
            user = await self._sign_in(runtime, tenant)
            await self._run_until_idle(runtime)
            inbox = Inbox(runtime.context.store, local_operator("grace"), Sealer(SECRET))
            moved = {key for key in await self._keys(contact, tenant) if key == after}
            if not moved:
                await runtime.submit(user, to_log_request(request))
                await self._run_until_idle(runtime)
                for _ in range(4):  # each mishap may leave it in doubt once more
                    with suppress(DecisionRefused):  # nothing is in doubt
                        # The operator has looked: a contact that is refused has nothing.
                        await inbox.retry(before, not_in_crm=True)
                        await self._run_until_idle(runtime)
                    if not await self._is_parked(before):
                        break
                await inbox.link(before, contact, name)
            with suppress(DecisionRefused):  # all of it is logged by now
                await inbox.retry(after)
            await self._run_until_idle(runtime)

        return operate

    async def _is_parked(self, key: LogKey) -> bool:
        logs = await self.store.read(lambda: transactions.show_logs(key.conversation_log_id))
        return any(log.key == key and log.state is LogState.PARKED for log, _ in logs)

    async def _keys(self, contact: str, tenant: str) -> list[LogKey]:
        logs = await self.store.read(lambda: transactions.find_logs_of_contact(tenant, "memory", contact))
        return [log.key for log, _ in logs]

    async def _run_until_idle(self, runtime: Runtime) -> None:
        """Lets time pass until nothing is due any more: leases end, searches settle, retries come."""
        await run_until_idle(runtime, self.store, self.clock, runtime.sweep)

    def runtime(self, connector: Plain, fuse: Fuse) -> Runtime:
        store = CrashingStore(self.store, fuse)
        sealer = Sealer(SECRET)
        users = UserDirectory(store, sealer, self.client, call_timeout=2)
        context = DeliveryContext(
            store=store,
            sealer=sealer,
            users=users,
            preparer=FaultyPreparer(fuse.point, store, sealer, MediaFetcher(self.client), call_timeout=2),
            caller=FaultyCaller(fuse.point, sealer, call_timeout=2),
            times=self.times,
            jitter=lambda: 1.0,  # the first wait is longer than a request's, which is answered at once
        )
        return Runtime(context, {connector.name: connector}, journal="5eed0002", sleep=_moment)


async def _moment(_seconds: float) -> None:
    await asyncio.sleep(0)


async def _both(*lives: Coroutine[Any, Any, None]) -> None:
    for ended in await asyncio.gather(*lives, return_exceptions=True):
        if isinstance(ended, BaseException):
            raise ended


def _edited(crm: Crm, scenario: Scenario) -> None:
    """What people do to the activities."""
    if scenario.is_deleted:
        crm.activities.clear()
    for activity in crm.activities.values():
        for there, theirs in scenario.edits:
            activity.body = activity.body.replace(there, theirs)


def judge(
    scenario: Scenario, kind: type[Plain], crm: Crm, rows: Sequence[MessageRow], result: Result
) -> Result:
    """Whether a schedule's end keeps the promises, whatever happened on the way."""
    states: Counter[str] = Counter(row.state for row in rows)
    text = "\n".join(activity.body for activity in crm.activities.values())
    expected = Counter(scenario.texts)
    texts = Counter({each: text.count(each) for each in expected})
    result.activities, result.texts, result.states = len(crm.activities), texts, states
    if len(crm.activities) > scenario.activities:
        result.problems.append(f"{len(crm.activities)} activities, not {scenario.activities}")
    if any(texts[each] > expected[each] for each in expected):
        result.problems.append(f"doubled: {texts}")
    if set(states) - {"logged", "parked", "failed"}:
        result.problems.append(f"unsettled: {states}")
    if set(states) == {"logged"} and len(crm.activities) != scenario.activities:
        result.problems.append(f"only {len(crm.activities)} activities, not {scenario.activities}")
    limit = scenario.limit
    if limit and any(len(each.body) > limit for each in crm.activities.values()):
        result.problems.append("an activity is longer than the limit")
    if set(states) == {"logged"} and texts != expected:
        result.problems.append(f"lost, though all is logged: {texts}")
    result.problems += _kept(scenario, rows, text)
    if scenario.links is not None and {each.contact_id for each in crm.activities.values()} - {
        scenario.links[0]
    }:
        result.problems.append("something is with the contact that it was taken from")
    if kind in RESOLVABLE and set(states) != {"logged"}:
        result.problems.append(f"not logged: {states}")
    lost = any(fault is not None and isinstance(fault.error, OutcomeUnknown) for fault in scenario.faults)
    alone = scenario.beside is None  # else the other process may be in the middle of a call
    if "parked" in states and alone and not lost and not any(map(_during_a_call, result.met_at)):
        result.problems.append(f"parked without a mishap during a call: {result.met_at}")
    return result


def _kept(scenario: Scenario, rows: Sequence[MessageRow], text: str) -> list[str]:
    """What is wrong with what was there before: messages, and people's text; and with what is not logged."""
    problems = []
    if any(row.id in scenario.logged_before and row.state != "logged" for row in rows):
        problems.append("a message is not logged any more")
    if any(row.state in {"parked", "failed"} and not row.reason for row in rows):
        problems.append("nobody is told why it is not logged")
    if not all(theirs in text for _, theirs in scenario.edits):
        problems.append("what people wrote is gone")
    return problems


def _during_a_call(point: str) -> bool:
    return point.startswith(("crm:", "record_intent:", "update_limiter:", "ours:")) or point in _CALLING


_CALLING = frozenset(
    {
        "accept_request:done",
        "claim_log:done",
        "save_outcome:lock_user",
        "save_outcome:pause_user",
        "save_outcome:lock_claim",
        "save_outcome:find_rows",
        "save_outcome:change_row",
        "save_outcome:rows_in_state",
        "save_outcome:save_log",
        "save_outcome:commit",
        "save_outcome:done",
    }
)
"""Points at which a call is journalled as being made and its outcome is not: other than at the CRM itself."""


def _rows(tenant: str, scenario: Scenario) -> Transaction[list[MessageRow]]:
    """The scenario's rows, those that are left behind by a link too."""
    contacts = ["c-1", *(scenario.links or ())[:1]]
    keys = dict.fromkeys(scenario.key(tenant, contact) for contact in contacts)
    found = yield Batch(*(Query("rows_of_log", key_params(key)) for key in keys))
    return [row_from(row) for rows in found for row in rows]


async def _operate(operator: Operating, runtime: Runtime, request: dict[str, Any]) -> None:
    try:
        await operator(runtime, request)
    except MISHAPS:  # the operator gets an error of the server, and does it again
        await operator(runtime, request)


def _refuse_contact(crm: Crm, contact: str) -> None:
    """The CRM has no such contact any more: it takes nothing for it."""
    before = crm.before

    def refusing(call: Call) -> ConnectorError | None:
        error = before(call) if before is not None else None
        if (
            error is None
            and call.kind == "create"
            and call.log is not None
            and call.log.contact.id == contact
        ):
            return Rejected("HTTP 422", status=422)
        return error

    crm.before = refusing


def _batching(kind: type[Plain], scenario: Scenario) -> type[Plain]:
    abilities = {"takes_batches": scenario.batches, "body_limit": scenario.limit}
    return type(kind.__name__, (kind,), abilities)


async def kill_runtime(runtime: Runtime) -> None:
    """Ends what a dead process had under way, as kill -9 does."""
    # A transaction that was sent ends in the database, dead or not: no time passes meanwhile.
    dispatcher = runtime._dispatcher
    await asyncio.gather(*dispatcher._accepting, return_exceptions=True)
    tasks = list(dispatcher._working.values())
    for timer in dispatcher._timers.values():
        timer.cancel()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def campaign(store: Store, clock: Clock) -> AsyncIterator[Campaign]:
    """A campaign on an opened store whose clock is `clock`."""
    async with aiohttp.ClientSession() as client:
        yield Campaign(store, clock, client)
