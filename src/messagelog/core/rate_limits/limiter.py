"""The requests of one tenant to one CRM, in this process: who waits for a permit, and what those under way came to.

One task asks the stored row for all who wait, and tells it of all that has ended since: the more there is to do, the
more goes along with each exchange. It ends when there is nothing left to ask or to tell.
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
from messagelog.core.rate_limits import call_context
from messagelog.core.rate_limits.budget import (
    FIRST_WAIT_MS,
    LONGEST_WAIT_MS,
    Circuit,
    CompletedRequest,
    LimiterState,
    PermitGrant,
    PermitRequest,
    RequestEnd,
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
"""So many requests in a row without a good answer are a CRM's failure, ..."""
_DIFFERENT: Final = 2
"""... if they were for so many pieces of work: one conversation may hold what its CRM cannot digest."""
_NOT_THERE: Final = frozenset({502, 503, 504})
"""What is answered in the place of a CRM that is not there: no piece of work is to blame."""
_SCARCE: Final = 32
"""As many requests as may be under way at once: what is left is counted from here on."""
_SCARCE_SHARE: Final = 5
_SPENT_MS: Final = 60_000
_TELL_SECONDS: Final = 3600.0
"""How often a person is told that a day's budget is spent: it frees and is spent again all day long."""
_TOO_MANY: Final = 429
_SERVER_ERRORS: Final = 500

_log = structlog.get_logger(__name__)
_decoder = msgspec.json.Decoder(LimiterState)


@dataclass(frozen=True, slots=True)
class LimiterSnapshot:
    """What this process knows of a pace, by the event loop's clock: until when to wait (live, and catching up), until
    when every request has to ask, since when the circuit is open, and when this was learned.
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
        """When requests of this urgency make sense again; those that must go on ask for themselves."""
        return {Urgency.LIVE: self.live_at, Urgency.BACKLOG: self.catch_up_at}.get(urgency, 0.0)


@dataclass(slots=True, eq=False)
class _Waiter:
    id: str
    urgency: Urgency
    patience_ends: float
    granted: asyncio.Future[None]


class RateLimiter:
    """Lets one tenant's requests to one CRM pass. `known` is shared by all lanes of the process.

    `patience` is how long (seconds) a live request waits for its permit; one that catches up waits half as long.
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
        """Waits until a request may be sent; raises `Paced` when that would take longer than its patience."""
        context = call_context.current()
        id_ = await self._wait_for_permit(context) if self._needs_permit() else ""
        permit = LimiterPermit(self, id_, context.work, goes_on=context.wrote)
        self._uncounted_now += not permit.id
        context.asked = True
        context.wrote = context.wrote or writes
        return permit

    def count_requests(self, requests: int) -> None:
        """Counts requests that were answered before anybody could know whose they were: those of a sign-in."""
        if requests and self._rules.limits:
            self._uncounted += requests
            self._wake()
        if requests and self._is_down():
            self.end(CompletedRequest("", RequestEnd.OVER, RequestVerdict.GOOD))

    def _is_down(self) -> bool:
        known = self._known.get(self._place)
        return known is not None and known.down

    def _needs_permit(self) -> bool:
        if self._rules.limits:
            return True
        known = self._known.get(self._place)
        return known is not None and known.active_until > asyncio.get_running_loop().time()

    async def _wait_for_permit(self, context: CallContext) -> str:
        loop = asyncio.get_running_loop()
        urgency = (
            Urgency.FOLLOW_UP
            if context.wrote
            else Urgency.LIVE
            if loop.time() < context.live_until
            else Urgency.BACKLOG
        )
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
            self.end(CompletedRequest(waiter.id, RequestEnd.UNSENT, RequestVerdict.NOTHING))

    def _refusal(self, urgency: Urgency) -> Throttled:
        known = self._known.get(self._place)
        wait = 0.0 if known is None else known.resume_at(urgency) - asyncio.get_running_loop().time()
        down = known is not None and known.down
        return Throttled(retry_after=max(wait, _RETRY_SECONDS), down=down)

    # -------------------------------------------------------------------------- what requests came to

    def record_result(
        self,
        permit: LimiterPermit,
        end: RequestEnd,
        verdict: RequestVerdict,
        quota: Quota | None = None,
        status: int | None = None,
    ) -> None:
        """Notes how a request ended, what its answer told, and whether the CRM fails steadily."""
        if verdict is RequestVerdict.GOOD:
            self._failing.clear()
            self._tripped = False
        elif verdict is RequestVerdict.FAILED:
            # What never arrived, and what belongs to no conversation, is nobody's content.
            nobodys = end is RequestEnd.UNSENT or status in _NOT_THERE or permit.work is None
            self._failing.append(object() if nobodys else permit.work)
            if len(self._failing) >= _STEADY and len({*self._failing}) >= _DIFFERENT:
                self._failing.clear()
                self._tripped = True
                self._wake()
        if permit.id or quota is not None or (verdict is RequestVerdict.GOOD and self._is_down()):
            self.end(CompletedRequest(permit.id, end, verdict, left=quota))

    def record_answer(self, permit: LimiterPermit, status: int, headers: Mapping[str, str]) -> None:
        """Notes an answer: what it says of the CRM, and of its limits."""
        quota = self._quota_in(headers)
        if status == _TOO_MANY:
            self._record_refusal(permit.id, retry_after_seconds(headers.get("Retry-After")), quota)
        else:
            verdict = RequestVerdict.FAILED if status >= _SERVER_ERRORS else RequestVerdict.GOOD
            self.record_result(permit, RequestEnd.OVER, verdict, quota, status)

    def over(self, permit: LimiterPermit) -> None:
        """A request is not under way any more, however it ended."""
        self._uncounted_now -= not permit.id

    def _quota_in(self, headers: Mapping[str, str]) -> Quota | None:
        """What an answer says is left, where that is little."""
        try:
            left = self._connector.rate_headers(headers)
            if left is None or left.requests > max(_SCARCE, (left.limit or 0) // _SCARCE_SHARE):
                return None
            # Those without a permit may not have been seen by the CRM yet, and nobody else counts them.
            return max(0, left.requests - self._uncounted_now), int(left.seconds * 1000), left.limit
        except Exception as error:  # noqa: BLE001 - a connector's mistake in reading headers must not lose an answer
            _log.error("connector_failed", connector=self._connector.name, error=type(error).__name__)
            return None

    def _hold_back(self, wait_ms: int) -> None:
        """Holds back what comes from now on, without asking the row what it makes of the refusal."""
        now = asyncio.get_running_loop().time()
        until = now + wait_ms / 1000
        self._known[self._place] = LimiterSnapshot(
            until, until, until + _RETRY_SECONDS, down_since=None, at=now
        )

    def refused(self, retry_after: float | None) -> None:
        """The connector has understood an answer as a request for patience, whatever its status was."""
        known = self._known.get(self._place)
        if known is None or known.live_at <= asyncio.get_running_loop().time():
            self._record_refusal("", retry_after, None)

    def _record_refusal(self, permit: str, retry_after: float | None, quota: Quota | None) -> None:
        longest = LONGEST_WAIT_MS / 1000
        asked = retry_after if retry_after is not None and retry_after > 0 else 0.0  # not a number is nothing
        retry_ms = None if retry_after is None else int(min(asked, longest) * 1000)
        self._hold_back(FIRST_WAIT_MS if retry_ms is None else retry_ms)
        self.end(CompletedRequest(permit, RequestEnd.OVER, RequestVerdict.LIMITED, retry_ms, quota))

    def end(self, ended: CompletedRequest) -> None:
        """Has the row told of a request that has ended."""
        self._ended.append(ended)
        self._wake()

    # ----------------------------------------------------------------------------------------- the row

    def _wake(self) -> None:
        self._woken.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def close(self, seconds: float) -> None:
        """Tells the row of what has ended; nobody may wait any more."""
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
        """Asks and tells the row once; the seconds after which to ask again, 0 when there is nothing to wait for."""
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
        # Where a circuit opens or closes, logs are locked as well: then it is alone in its transaction.
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
                    self.end(CompletedRequest(waiter.id, RequestEnd.UNSENT, RequestVerdict.NOTHING))
                self._decide(waiter, None if in_time else self._refusal(waiter.urgency))
            elif started + answer.wait_ms[waiter.urgency] / 1000 > waiter.patience_ends:
                self._decide(waiter, self._refusal(waiter.urgency))
        waits = [answer.wait_ms[waiter.urgency] / 1000 for waiter in self._waiters]
        return max(min(waits), _SHORTEST_WAIT) if waits and not self._ended else 0.0

    def _decide(self, waiter: _Waiter, refusal: Throttled | None) -> None:
        if refusal is not None and waiter.urgency is Urgency.FOLLOW_UP and not waiter.granted.done():
            waiter.id = next(
                self._ids
            )  # its call has written already: it is asked for again, while the call has time
            return
        self._waiters = [each for each in self._waiters if each is not waiter]
        if waiter.granted.done():
            return
        if refusal is None:
            waiter.granted.set_result(None)
        else:
            waiter.granted.set_exception(refusal)

    def _on_store_failure(self, waiters: list[_Waiter], asked: PermitRequest, error: Exception) -> float:
        """The row cannot be asked: nobody passes, and what was to be told is told later."""
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
    """The right to send one request; without an id nobody has counted it. `work` is what it is sent for.

    `goes_on` says that its call has written before. What is said of its end first counts.
    """

    __slots__ = ("_limiter", "_over", "goes_on", "id", "work")

    def __init__(self, limiter: RateLimiter, id_: str, work: Hashable, *, goes_on: bool) -> None:
        self._limiter = limiter
        self._over = False
        self.id = id_
        self.goes_on = goes_on
        self.work = work

    def report_answer(self, status: int, headers: Mapping[str, str]) -> None:
        """The CRM has answered."""
        if self._end_once():
            self._limiter.record_answer(self, status, headers)

    def report_unsent(self) -> None:
        """There was no connection to send it over."""
        if self._end_once():
            self._limiter.record_result(self, RequestEnd.UNSENT, RequestVerdict.FAILED)

    def report_unused(self) -> None:
        """It was not sent after all, for reasons of our own."""
        if self._end_once():
            self._limiter.record_result(self, RequestEnd.UNSENT, RequestVerdict.NOTHING)

    def report_broken(self) -> None:
        """The connection ended before there was an answer."""
        if self._end_once():
            self._limiter.record_result(self, RequestEnd.OVER, RequestVerdict.FAILED)

    def report_lost(self) -> None:
        """Nobody knows: it may be under way still."""
        if self._end_once():
            self._limiter.record_result(self, RequestEnd.LOST, RequestVerdict.FAILED)

    def _end_once(self) -> bool:
        first, self._over = not self._over, True
        if first:
            self._limiter.over(self)
        return first


class CountingGate:
    """A gate that lets everything pass and counts it: for requests of which nobody knows yet whose they are."""

    goes_on = False

    def __init__(self) -> None:
        self.requests = 0

    async def permit(self, *, writes: bool) -> CountingGate:  # noqa: ARG002 - a request is a request
        """Lets a request pass."""
        self.requests += 1
        return self

    def refused(self, retry_after: float | None) -> None:
        """Nobody knows yet who is to wait."""

    def report_answer(self, status: int, headers: Mapping[str, str]) -> None:
        """It was counted when it was sent."""

    def report_unsent(self) -> None:
        """It did not reach the CRM."""
        self.requests -= 1

    def report_unused(self) -> None:
        """It was not sent."""
        self.requests -= 1

    def report_broken(self) -> None:
        """It was counted when it was sent."""

    def report_lost(self) -> None:
        """It was counted when it was sent."""


def _update_state(
    rules: Rules, asked: PermitRequest, text: str, now: int
) -> tuple[LimiterChange, PermitGrant]:
    """What is stored after a process has asked, and the answer to it."""
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
