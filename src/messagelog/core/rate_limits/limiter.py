"""The requests of one tenant to one CRM, in this process: which of them wait for a permit, and how they ended.

One task asks the stored row for all permits that are wanted, and reports all requests that have ended since: the more
there is to do, the more goes along with each exchange. The task ends when there is nothing left to ask or to report.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from messagelog.connectors.errors import Throttled
from messagelog.connectors.http import retry_after_seconds
from messagelog.connectors.limits import RequestEnd
from messagelog.core.rate_limits import call_context
from messagelog.core.rate_limits.budget import (
    FIRST_WAIT_MS,
    LONGEST_WAIT_MS,
    Circuit,
    CompletedRequest,
    LimiterState,
    PermitGrant,
    PermitRequest,
    RequestVerdict,
    Urgency,
    grant_permits,
    resume_at,
)
from messagelog.storage import transactions
from messagelog.storage.records.limits import LimiterChange

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, MutableMapping

    from messagelog.connectors import Connector
    from messagelog.core.rate_limits.budget import Rules
    from messagelog.core.rate_limits.call_context import CallContext
    from messagelog.storage import Store

Quota = tuple[int, int, int | None]
"""What a CRM says is left: requests, for how many ms, of how many."""

LimiterKey = tuple[str, str]
"""A tenant and a platform."""

_MOST_WAITERS: Final = 64
_DELIVERY_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 1.0
_SHORTEST_WAIT: Final = 0.02
_STEADY: Final = 5
"""A CRM fails after this many requests in a row without a good answer, ..."""
_DIFFERENT: Final = 2
"""... if they were for this many pieces of work: one conversation may hold what its CRM cannot digest."""
_NOT_THERE: Final = frozenset({502, 503, 504})
"""Statuses of a gateway whose CRM is not there: no piece of work is to blame."""
_SCARCE: Final = 32
"""What is left is counted once it is no more than may be under way at once."""
_SCARCE_SHARE: Final = 5
_SPENT_MS: Final = 60_000
_TELL_SECONDS: Final = 3600.0
"""How often the log says that a day's budget is spent: it frees and is spent again all day long."""
_TOO_MANY: Final = 429
_SERVER_ERRORS: Final = 500

_log = structlog.get_logger(__name__)
_decoder = msgspec.json.Decoder(LimiterState)


@dataclass(frozen=True, slots=True)
class LimiterSnapshot:
    """What this process knows of a pace, by the event loop's clock (seconds).

    Live requests wait until `live_at`, the backlog until `catch_up_at`; until `active_until` every request needs a
    permit. The circuit is open since `down_since`, None if it is closed. This was learned `at`.
    """

    live_at: float
    catch_up_at: float
    active_until: float
    down_since: float | None
    at: float

    @property
    def down(self) -> bool:
        """Whether the CRM does not answer."""
        return self.down_since is not None

    def resume_at(self, urgency: Urgency) -> float:
        """Return when requests of this urgency make sense again; follow-ups always ask the row."""
        return {Urgency.LIVE: self.live_at, Urgency.BACKLOG: self.catch_up_at}.get(urgency, 0.0)


@dataclass(slots=True, eq=False)
class _Waiter:
    id: str
    urgency: Urgency
    patience_ends: float
    granted: asyncio.Future[None]


class RateLimiter:
    """Lets one tenant's requests to one CRM pass. `known` is shared by all limiters of the process.

    `patience` is how long (seconds) a live request waits for its permit; one of the backlog waits half as long.
    """

    def __init__(
        self,
        place: LimiterKey,
        connector: Connector,
        store: Store,
        *,
        rules: Rules,
        known: MutableMapping[LimiterKey, LimiterSnapshot],
        patience: float,
        owner: str,
        jitter: Callable[[], float],
    ) -> None:
        self._place = place
        self._connector = connector
        self._store = store
        self._rules = rules
        self._known = known
        self._patience = {Urgency.LIVE: patience, Urgency.BACKLOG: patience / 2}
        self._ids = (f"{owner}-{number}" for number in itertools.count(1))
        self._jitter = jitter
        self._waiters: list[_Waiter] = []
        self._ended: list[CompletedRequest] = []
        self._uncounted = 0
        self._uncounted_now = 0
        self._tripped = False
        self._slowdown_logged_at = -_TELL_SECONDS
        self._failing: list[Hashable] = []
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # ---------------------------------------------------------------------------------------- requests

    async def permit(self, *, writes: bool) -> LimiterPermit:
        """Wait until a request may be sent; raise `Throttled` if that would take longer than its patience."""
        context = call_context.current()
        known = self._known.get(self._place)
        active = known is not None and known.active_until > asyncio.get_running_loop().time()
        id_ = await self._wait_for_permit(context) if active or self._rules.limits else ""
        permit = LimiterPermit(self, id_, context.work, goes_on=context.wrote)
        self._uncounted_now += not permit.id
        context.asked = True
        context.wrote = context.wrote or writes
        return permit

    def count_requests(self, requests: int) -> None:
        """Count requests that were answered before their tenant was known: those of a sign-in."""
        if requests and self._rules.limits:
            self._uncounted += requests
            self._wake()
        if requests and self._is_down():
            self._report(CompletedRequest("", RequestEnd.ANSWERED, RequestVerdict.GOOD))

    def _is_down(self) -> bool:
        known = self._known.get(self._place)
        return known is not None and known.down

    async def _wait_for_permit(self, context: CallContext) -> str:
        loop = asyncio.get_running_loop()
        urgency = Urgency.LIVE if loop.time() < context.live_until else Urgency.BACKLOG
        if context.wrote:
            urgency = Urgency.FOLLOW_UP
        patience = self._patience.get(urgency)
        ends = loop.time() + patience if patience is not None else float("inf")
        known = self._known.get(self._place)
        if known is not None and known.resume_at(urgency) > ends:
            raise self._refusal(urgency)
        waiter = _Waiter(next(self._ids), urgency, ends, loop.create_future())
        self._waiters.append(waiter)
        self._wake()
        try:
            await asyncio.wait([waiter.granted], timeout=patience)
        except BaseException:
            self._withdraw(waiter)
            raise
        if not waiter.granted.done():
            self._withdraw(waiter)
            raise self._refusal(urgency)
        waiter.granted.result()  # raises the refusal, if it is one
        return waiter.id

    def _withdraw(self, waiter: _Waiter) -> None:
        if waiter.granted.cancel():
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        elif waiter.granted.exception() is None:
            self._report(CompletedRequest(waiter.id, RequestEnd.UNUSED, RequestVerdict.NOTHING))

    def _refusal(self, urgency: Urgency) -> Throttled:
        known = self._known.get(self._place)
        wait = 0.0 if known is None else known.resume_at(urgency) - asyncio.get_running_loop().time()
        down = known is not None and known.down
        return Throttled(retry_after=max(wait, _RETRY_SECONDS), down=down)

    # ------------------------------------------------------------------------------- ends of requests

    def finish(
        self, permit: LimiterPermit, end: RequestEnd, status: int | None, headers: Mapping[str, str]
    ) -> None:
        """Record how a request ended: what its answer says of the CRM's limits, and whether the CRM is failing."""
        self._uncounted_now -= not permit.id
        quota = None
        verdict = RequestVerdict.NOTHING if end is RequestEnd.UNUSED else RequestVerdict.FAILED
        if status is not None:
            quota = self._quota_in(headers)
            if status == _TOO_MANY:
                self._record_refusal(permit.id, retry_after_seconds(headers.get("Retry-After")), quota)
                return
            if status < _SERVER_ERRORS:
                verdict = RequestVerdict.GOOD
        if verdict is RequestVerdict.GOOD:
            self._failing.clear()
            self._tripped = False
        elif verdict is RequestVerdict.FAILED:
            # A request that never arrived, or belongs to no conversation, does not fail for what a conversation holds.
            blameless = end is RequestEnd.UNSENT or status in _NOT_THERE or permit.work is None
            self._failing.append(object() if blameless else permit.work)
            if len(self._failing) >= _STEADY and len({*self._failing}) >= _DIFFERENT:
                self._failing.clear()
                self._tripped = True
                self._wake()
        if permit.id or quota is not None or (verdict is RequestVerdict.GOOD and self._is_down()):
            self._report(CompletedRequest(permit.id, end, verdict, left=quota))

    def hold_back(self, retry_after: float | None) -> None:
        """Hold back requests for `retry_after` seconds, as a connector has understood an answer of any status."""
        known = self._known.get(self._place)
        if known is None or known.live_at <= asyncio.get_running_loop().time():
            self._record_refusal("", retry_after, None)

    def _quota_in(self, headers: Mapping[str, str]) -> Quota | None:
        """Return what an answer says is left, if that is little."""
        try:
            left = self._connector.rate_headers(headers)
            if left is None or left.requests > max(_SCARCE, (left.limit or 0) // _SCARCE_SHARE):
                return None
            # The CRM may not have seen those without a permit yet, and the row does not count them.
            return max(0, left.requests - self._uncounted_now), int(left.seconds * 1000), left.limit
        except Exception as error:  # noqa: BLE001 - a connector's mistake in reading headers must not lose an answer
            _log.error("connector_failed", connector=self._connector.name, error=type(error).__name__)
            return None

    def _record_refusal(self, permit: str, retry_after: float | None, quota: Quota | None) -> None:
        longest = LONGEST_WAIT_MS / 1000
        asked = retry_after if retry_after is not None and retry_after > 0 else 0.0  # a NaN asks for nothing
        retry_ms = None if retry_after is None else int(min(asked, longest) * 1000)
        # What comes from now on waits already, before the row says what it makes of the refusal.
        now = asyncio.get_running_loop().time()
        until = now + (FIRST_WAIT_MS if retry_ms is None else retry_ms) / 1000
        self._known[self._place] = LimiterSnapshot(
            until, until, until + _RETRY_SECONDS, down_since=None, at=now
        )
        self._report(CompletedRequest(permit, RequestEnd.ANSWERED, RequestVerdict.LIMITED, retry_ms, quota))

    def _report(self, ended: CompletedRequest) -> None:
        """Have the row told of a request that has ended."""
        self._ended.append(ended)
        self._wake()

    # ----------------------------------------------------------------------------------------- the row

    def _wake(self) -> None:
        self._woken.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def close(self, seconds: float) -> None:
        """Report what has ended to the row, for at most `seconds`. No permit may be wanted any more."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)
            self._task.cancel()

    async def _run(self) -> None:
        while self._waiters or self._ended or self._tripped or self._uncounted:
            self._woken.clear()
            wait = await self._sync()
            if wait > 0:
                waking = asyncio.ensure_future(self._woken.wait())
                await asyncio.wait([waking], timeout=wait)
                waking.cancel()

    async def _sync(self) -> float:
        """Exchange what is wanted and what has ended with the row, once.

        Return the seconds after which to ask again; 0 if there is nothing to wait for.
        """
        loop = asyncio.get_running_loop()
        waiters = sorted(self._waiters, key=lambda waiter: waiter.urgency)[:_MOST_WAITERS]
        asked = PermitRequest(
            [(waiter.id, waiter.urgency) for waiter in waiters],
            tuple(self._ended),
            self._tripped,
            self._uncounted,
            self._jitter(),
        )
        self._ended, self._tripped, self._uncounted = [], False, 0
        started = loop.time()
        settle_ms = int(self._connector.settle_seconds * 1000)
        # A transaction that opens or closes a circuit locks logs as well, so it must not be grouped with others.
        alone = asked.tripped or self._is_down()
        try:
            answer = await self._store.write(
                lambda: transactions.update_limiter(
                    *self._place, partial(_update_state, self._rules, asked), settle_ms
                ),
                locks=() if alone else ((*self._place, "pace"),),
            )
        except Exception as error:  # noqa: BLE001 - the database's errors, whatever they are: nothing was sent yet
            return self._on_store_failure(waiters, asked, error)
        self._learn(answer, started)
        in_time = loop.time() - started < _DELIVERY_SECONDS
        for waiter in waiters:
            if waiter.id in answer.granted:
                if waiter.granted.done() or not in_time:
                    self._report(CompletedRequest(waiter.id, RequestEnd.UNUSED, RequestVerdict.NOTHING))
                self._decide(waiter, None if in_time else self._refusal(waiter.urgency))
            elif started + answer.wait_ms[waiter.urgency] / 1000 > waiter.patience_ends:
                self._decide(waiter, self._refusal(waiter.urgency))
        waits = [answer.wait_ms[waiter.urgency] / 1000 for waiter in self._waiters]
        return max(min(waits), _SHORTEST_WAIT) if waits and not self._ended else 0.0

    def _decide(self, waiter: _Waiter, refusal: Throttled | None) -> None:
        if refusal is not None and waiter.urgency is Urgency.FOLLOW_UP and not waiter.granted.done():
            # Its call has written already: it is asked for again, for as long as the call has time.
            waiter.id = next(self._ids)
            return
        self._waiters = [each for each in self._waiters if each is not waiter]
        if waiter.granted.done():
            return
        if refusal is None:
            waiter.granted.set_result(None)
        else:
            waiter.granted.set_exception(refusal)

    def _on_store_failure(self, waiters: list[_Waiter], asked: PermitRequest, error: Exception) -> float:
        """Turn away those who wait, and keep what was to be reported for later: the row cannot be asked."""
        _log.error("pace_failed", platform=self._place[1], error=type(error).__name__)
        self._ended[:0] = asked.ended
        self._tripped = self._tripped or asked.tripped
        self._uncounted += asked.uncounted
        for waiter in waiters:
            self._decide(waiter, Throttled("the budget cannot be asked", retry_after=_RETRY_SECONDS))
        return _RETRY_SECONDS

    def _learn(self, answer: PermitGrant, asked_at: float) -> None:
        now = asyncio.get_running_loop().time()
        _, live, catch_up = (asked_at + wait / 1000 for wait in answer.wait_ms)
        self._known[self._place] = LimiterSnapshot(
            live,
            catch_up,
            asked_at + answer.active_ms / 1000,
            down_since=None if answer.down_ms is None else asked_at - answer.down_ms / 1000,
            at=now,
        )
        tenant, platform = self._place
        if answer.opened:
            _log.warning("circuit_opened", tenant=tenant, platform=platform)
        elif answer.closed:
            _log.warning("circuit_closed", tenant=tenant, platform=platform)
        spent = answer.wait_ms[Urgency.BACKLOG] > _SPENT_MS and answer.down_ms is None
        if answer.slowed or (spent and now > self._slowdown_logged_at + _TELL_SECONDS):
            self._slowdown_logged_at = now
            seconds = round(answer.wait_ms[Urgency.BACKLOG] / 1000, 1)
            _log.warning("tenant_slowed", tenant=tenant, platform=platform, seconds=seconds)


class LimiterPermit:
    """The right to send one request; one without an id was not counted. `work` is its purpose.

    `goes_on` says that its call has written before.
    """

    __slots__ = ("_finished", "_limiter", "goes_on", "id", "work")

    def __init__(self, limiter: RateLimiter, id_: str, work: Hashable, *, goes_on: bool) -> None:
        self._limiter = limiter
        self._finished = False
        self.id = id_
        self.goes_on = goes_on
        self.work = work

    def finish(
        self, end: RequestEnd, status: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """Report how the request ended, with the status and headers of an answer. Only the first report counts."""
        if not self._finished:
            self._finished = True
            self._limiter.finish(self, end, status, headers or {})


def _update_state(
    rules: Rules, asked: PermitRequest, text: str, now: int
) -> tuple[LimiterChange, PermitGrant]:
    """Return what is stored after a process has asked, and the answer to it."""
    pace, answer = grant_permits(_decoder.decode(text), now, rules, asked)
    live, catch_up = (resume_at(pace, now, rules, each) for each in (Urgency.LIVE, Urgency.BACKLOG))
    active = max(pace.active_until(), catch_up or 0)
    change = LimiterChange(
        pace=msgspec.json.encode(pace).decode(),
        circuit=pace.circuit,
        not_before=live,
        catch_up_at=catch_up,
        active_until=active if active > now else None,
        open_since=None if pace.circuit is Circuit.CLOSED else pace.since,
        wakes=answer.opened or answer.closed,
    )
    return change, answer
