"""The arithmetic of a tenant's pace at one CRM: budgets, waits, circuit. Pure; times are the database's, epoch ms.

A request takes a permit before it is sent. The permit keeps its place in a window from when it is granted until one
window after the request's end. The CRM sees the request at some moment in between. So of all requests that the CRM sees
within a window, the last one was granted while the others had their places: there are never more than the limit.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from messagelog.connectors.limits import RequestEnd

_SHARE: Final = 5
"""One in so many places of a window is for live requests alone."""
_LAST_SHARE: Final = 50
"""One in so many places of a long window is for calls that have written already, and have to go on."""
_LONG_MS: Final = 60_000
_DAY_MS: Final = 86_400_000
_GRAINS: Final = 64
_POLL_MS: Final = 250
_MOMENT_MS: Final = 1_000

FIRST_WAIT_MS: Final = 5_000
"""How long a tenant waits after a 429 that says nothing; twice as long when it comes again."""
LONGEST_GUESS_MS: Final = 60_000
"""The longest of these waits. It is a guess of ours, and the CRM may be ready for work long before an hour is over."""
LONGEST_WAIT_MS: Final = 60 * 60_000
"""The longest wait that a CRM may ask for; after it, it is asked again."""
LIVE_PAUSE_MS: Final = 5_000
"""How long after a probe the next live request is a probe, whatever the backlog's pause is."""
FIRST_PAUSE_MS: Final = 5_000
"""How long after a circuit has opened the backlog may probe; twice as long after each probe, give or take a fifth."""
LONGEST_PAUSE_MS: Final = 40_000
"""A probe finds a CRM that is back, and its backlog begins, within a minute."""
_PROBES_SHARE: Final = 4
"""One in so many requests of a long window may be a probe of the backlog."""
_SOON_MS: Final = 60_000
_RAMP_MS: Final = 15_000
_RAMP_DOUBLES_MS: Final = 3_000
_RAMP_BEGINS: Final = 2
_FORGOTTEN_MS: Final = 60 * 60_000
"""A circuit is forgotten if no request has asked for so long after its probe was due."""


class Urgency(enum.IntEnum):
    """Which request goes first."""

    FOLLOW_UP = 0  # of a call that has written already: it cannot start again
    LIVE = 1  # a request waits for it
    BACKLOG = 2


class Circuit(enum.StrEnum):
    """Whether a CRM is called for a tenant."""

    CLOSED = "closed"  # it is
    OPEN = "open"  # it does not answer -> half-open, when a request may probe
    HALF_OPEN = "half-open"  # a probe is under way -> closed, or open again


class RequestVerdict(enum.Enum):
    """What the end of a request says about the CRM."""

    GOOD = enum.auto()
    FAILED = enum.auto()
    LIMITED = enum.auto()
    NOTHING = enum.auto()


class Rules(msgspec.Struct, frozen=True):
    """The limits (requests, window in ms), and how long a request may be under way after it got its permit."""

    limits: tuple[tuple[int, int], ...]
    longest_ms: int


class CompletedRequest(msgspec.Struct, frozen=True):
    """A request that has ended; `permit` is empty for one that needed none.

    `retry_ms` is the wait that a refusal asked for; `left` (requests, ms, limit) the CRM's count of what is left.
    """

    permit: str
    end: RequestEnd
    verdict: RequestVerdict
    retry_ms: int | None = None
    left: tuple[int, int, int | None] | None = None


class PermitRequest(msgspec.Struct, frozen=True):
    """A process's question: which permits are wanted, most urgent first, and what has ended since the last question.

    `tripped` says that the CRM keeps failing. `uncounted` requests were sent without a permit. `jitter` is a random
    number in [0, 1).
    """

    wants: Sequence[tuple[str, Urgency]] = ()
    ended: Sequence[CompletedRequest] = ()
    tripped: bool = False
    uncounted: int = 0
    jitter: float = 0.5


class LimiterState(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tenant's pace at one CRM, as it is stored.

    `taken` are the permits of requests under way, each with the time after which its request cannot be under way.
    `sent` are the ends of finished requests, for each window (ms), as (time, count). The CRM has said that `left`
    requests of `left_of` remain until `left_until`. A circuit that is not closed was opened `since`; `probe` is its
    latest probe, sent at `probed_at`; the backlog may send the next one at `probe_at`.
    """

    taken: dict[str, int] = {}
    sent: dict[int, list[tuple[int, int]]] = {}
    not_before: int = 0
    wait_ms: int = 0
    left: int = 0
    left_of: int = 0
    left_until: int = 0
    circuit: Circuit = Circuit.CLOSED
    since: int = 0
    pause_ms: int = 0
    probe_at: int = 0
    probed_at: int = 0
    probe: str = ""
    ramp_from: int = 0

    def active_until(self) -> int:
        """Return until when every process needs permits, whatever limits its connector declares."""
        trying = self.probe_at + _FORGOTTEN_MS if self.circuit is not Circuit.CLOSED else 0
        ramp = self.ramp_from + _RAMP_MS if self.ramp_from else 0
        return max(self.not_before, self.left_until, trying, ramp)


class PermitGrant(msgspec.Struct, frozen=True):
    """The answer to a process: the permits that are granted, and per urgency the ms until it makes sense to ask again.

    `down_ms` is for how long the circuit has been open, None if it is closed. `slowed` says that the CRM has just asked
    for patience.
    """

    granted: frozenset[str]
    wait_ms: tuple[int, int, int]
    down_ms: int | None
    active_ms: int
    slowed: bool = False
    opened: bool = False
    closed: bool = False


def grant_permits(
    pace: LimiterState, now: int, rules: Rules, asked: PermitRequest
) -> tuple[LimiterState, PermitGrant]:
    """Return the pace after a process has asked, and the answer to it."""
    before = pace = _advance(pace, now, rules)
    for ended in asked.ended:
        pace = _complete(pace, now, rules, ended)
    if asked.uncounted:
        pace = replace(pace, sent=_add_requests(pace.sent, rules, now, asked.uncounted))
    if asked.tripped and pace.circuit is Circuit.CLOSED:
        pace = _open_circuit(pace, now, rules, asked.jitter)
    granted = set()
    for permit, urgency in asked.wants:
        if wait_ms(pace, now, rules, urgency) == 0:
            pace = _grant(pace, now, rules, permit, urgency, asked.jitter)
            granted.add(permit)
    waits = [wait_ms(pace, now, rules, urgency) for urgency in Urgency]
    return pace, PermitGrant(
        granted=frozenset(granted),
        wait_ms=(waits[0], waits[1], waits[2]),
        down_ms=None if pace.circuit is Circuit.CLOSED else max(0, now - pace.since),
        active_ms=max(0, pace.active_until() - now),
        slowed=pace.not_before > now >= before.not_before,
        opened=before.circuit is Circuit.CLOSED and pace.circuit is not Circuit.CLOSED,
        closed=before.circuit is not Circuit.CLOSED and pace.circuit is Circuit.CLOSED,
    )


def wait_ms(pace: LimiterState, now: int, rules: Rules, urgency: Urgency) -> int:
    """Return how long until it makes sense to ask (again) for a permit; 0 if one can be granted now.

    It is an estimate if requests under way have the places: these may end sooner.
    """
    waits = [pace.not_before - now, _quota_wait(pace, now, urgency)]
    if urgency is not Urgency.FOLLOW_UP:
        waits += [_circuit_wait(pace, now, rules, urgency), _ramp_wait(pace, now, rules, urgency)]
    waits += [_window_wait(pace, now, requests, window, urgency) for requests, window in rules.limits]
    return max(0, *waits)


def resume_at(pace: LimiterState, now: int, rules: Rules, urgency: Urgency) -> int | None:
    """Return until when no process need begin work of this urgency; None if it may begin now."""
    until = now + wait_ms(pace, now, rules, urgency)
    return until if until > now + _MOMENT_MS else None


# -------------------------------------------------------------------------------------------- the windows


def ceiling(requests: int, window: int, urgency: Urgency) -> int:
    """Return how many places of a window requests of this urgency, and less urgent ones, may take."""
    if urgency is Urgency.BACKLOG:
        return requests - max(1, requests // _SHARE) if requests > 1 else 1
    if urgency is Urgency.LIVE and window > _LONG_MS:
        return requests - requests // _LAST_SHARE
    return requests


def _window_wait(pace: LimiterState, now: int, requests: int, window: int, urgency: Urgency) -> int:
    entries = pace.sent.get(window, [])
    over = len(pace.taken) + sum(count for _, count in entries) + 1 - ceiling(requests, window, urgency)
    if over <= 0:
        return 0
    for at, count in entries:
        over -= count
        if over <= 0:
            return at + window - now
    return min(_POLL_MS, window)  # only those under way have the places


def _advance(pace: LimiterState, now: int, rules: Rules) -> LimiterState:
    """Return the pace at this time: without places that have become free, and permits whose requests are over by now.

    No wait is longer than the longest one, even if the clock was put back.
    """
    late = sorted(until for until in pace.taken.values() if until <= now)
    latest = now + rules.longest_ms
    taken = {permit: min(until, latest) for permit, until in pace.taken.items() if until > now}
    sent = pace.sent
    for until in late:
        sent = _add_requests(sent, rules, until, 1)
    windows = {window for _, window in rules.limits}
    sent = {window: _within(entries, window, now) for window, entries in sent.items() if window in windows}
    pace = replace(
        pace,
        taken=taken,
        sent=sent,
        not_before=min(pace.not_before, now + LONGEST_WAIT_MS),
        ramp_from=min(pace.ramp_from, now + LONGEST_WAIT_MS),
        left_until=min(pace.left_until, now + _DAY_MS),
        since=min(pace.since, now),
        probed_at=min(pace.probed_at, now),
        probe_at=min(pace.probe_at, now + 2 * _longest_pause(rules)),
    )
    if pace.circuit is not Circuit.CLOSED and pace.probe_at + _FORGOTTEN_MS <= now:
        pace = replace(pace, circuit=Circuit.CLOSED, probe="")  # otherwise nothing could open it again
    return pace


def _within(entries: list[tuple[int, int]], window: int, now: int) -> list[tuple[int, int]]:
    """Return the requests that still have their places in a window."""
    entries = [entry for entry in entries if entry[0] + window > now]
    latest = now + _grain(window)
    if not entries or entries[-1][0] <= latest:
        return entries
    counts = Counter[int]()
    for at, count in entries:
        counts[min(at, latest)] += count
    return sorted(counts.items())


def _grain(window: int) -> int:
    return max(1, window // _GRAINS)


def _add_requests(
    sent: dict[int, list[tuple[int, int]]], rules: Rules, at: int, count: int
) -> dict[int, list[tuple[int, int]]]:
    """Add requests that ended. Those of a short span become one entry at its end, a little later than they were."""
    noted = dict(sent)
    for _, window in rules.limits:
        grain = _grain(window)
        end = -(-at // grain) * grain
        entries = dict(noted.get(window, ()))
        entries[end] = entries.get(end, 0) + count
        noted[window] = sorted(entries.items())
    return noted


def _grant(  # noqa: PLR0917 - what it was asked, and when
    pace: LimiterState, now: int, rules: Rules, permit: str, urgency: Urgency, jitter: float
) -> LimiterState:
    pace = replace(
        pace,
        taken={**pace.taken, permit: now + rules.longest_ms},
        left=pace.left - 1 if now < pace.left_until else pace.left,
    )
    if pace.circuit is Circuit.CLOSED or urgency is Urgency.FOLLOW_UP:
        return pace
    # The next probe comes after this pause, whether this one is answered or not, and if its sender has died.
    pause = min(2 * pace.pause_ms, _longest_pause(rules))
    return replace(
        pace,
        circuit=Circuit.HALF_OPEN,
        probe=permit,
        probed_at=now,
        probe_at=now + _with_jitter(pause, jitter),
        pause_ms=pause,
    )


# ------------------------------------------------------------------------------------- what the CRM says


def _complete(pace: LimiterState, now: int, rules: Rules, ended: CompletedRequest) -> LimiterState:
    """Return the pace after a request has ended. A lost one keeps its place for as long as it may be under way."""
    if ended.permit in pace.taken and ended.end is not RequestEnd.LOST:
        taken = {permit: until for permit, until in pace.taken.items() if permit != ended.permit}
        was_sent = ended.end in {RequestEnd.ANSWERED, RequestEnd.BROKEN}
        sent = _add_requests(pace.sent, rules, now, 1) if was_sent else pace.sent
        pace = replace(pace, taken=taken, sent=sent)
    if ended.verdict is RequestVerdict.LIMITED:
        pace = _slow_down(pace, now, ended.retry_ms)
    if ended.left is not None:
        pace = _apply_quota(pace, now, *ended.left)
    if pace.circuit is Circuit.CLOSED:
        return pace
    if ended.verdict in {RequestVerdict.GOOD, RequestVerdict.LIMITED}:  # it answers, whatever it was asked
        return replace(pace, circuit=Circuit.CLOSED, since=now, probe="", ramp_from=max(now, pace.not_before))
    return _end_probe(pace, now, ended.verdict) if ended.permit == pace.probe != "" else pace


def _slow_down(pace: LimiterState, now: int, retry_ms: int | None) -> LimiterState:
    """Return the pace after the CRM has asked for patience; the longest of several waits counts."""
    wait = pace.wait_ms
    if pace.not_before <= now:  # not one of those that were under way when it was said before
        again = now < pace.not_before + max(_RAMP_MS, 2 * pace.wait_ms)
        wait = min(2 * wait, LONGEST_GUESS_MS) if again and wait else FIRST_WAIT_MS
    asked = wait if retry_ms is None else min(max(retry_ms, 100), LONGEST_WAIT_MS)
    not_before = max(pace.not_before, now + asked)
    return replace(pace, not_before=not_before, wait_ms=wait, ramp_from=not_before)


def _apply_quota(
    pace: LimiterState, now: int, requests: int, span_ms: int, limit: int | None
) -> LimiterState:
    """Take over what the CRM says is left. Answers may arrive out of order: the least of one window counts."""
    until = now + span_ms
    left = max(0, requests - len(pace.taken))  # those may not have been seen by the CRM yet
    if now < pace.left_until and until < pace.left_until + 2_000:
        return replace(pace, left=min(pace.left, left))
    return replace(pace, left=left, left_until=until, left_of=limit or requests)


def _quota_wait(pace: LimiterState, now: int, urgency: Urgency) -> int:
    if now >= pace.left_until:
        return 0
    reserve = max(1, pace.left_of // _SHARE // 2) if urgency is Urgency.BACKLOG and pace.left_of > 1 else 0
    return pace.left_until - now if pace.left <= reserve else 0


# -------------------------------------------------------------------------------------------- the circuit


def _open_circuit(pace: LimiterState, now: int, rules: Rules, jitter: float) -> LimiterState:
    """Open the circuit; for longer if it was closed only a moment ago."""
    soon = pace.pause_ms and now < pace.since + _SOON_MS
    pause = min(2 * pace.pause_ms, _longest_pause(rules)) if soon else FIRST_PAUSE_MS
    return replace(
        pace,
        circuit=Circuit.OPEN,
        since=now,
        probed_at=now,
        probe_at=now + _with_jitter(pause, jitter),
        pause_ms=pause,
        probe="",
        ramp_from=0,
    )


def _end_probe(pace: LimiterState, now: int, verdict: RequestVerdict) -> LimiterState:
    """End the latest probe, which had no answer. When the next may be sent was settled when this one was sent."""
    pace = replace(pace, circuit=Circuit.OPEN, probe="")
    never_sent = verdict is RequestVerdict.NOTHING
    return replace(pace, probed_at=0, probe_at=now) if never_sent else pace


def _circuit_wait(pace: LimiterState, now: int, rules: Rules, urgency: Urgency) -> int:
    """Return how long until a request may probe. A live request goes first, and waits for no other probe's end.

    Requests that a hanging CRM has not answered keep their places in a window: probes leave one of them free.
    """
    if pace.circuit is Circuit.CLOSED:
        return 0
    if urgency is Urgency.BACKLOG:
        return max(0, pace.probe_at - now)
    places = min((requests for requests, window in rules.limits if window <= _LONG_MS), default=None)
    pause = LIVE_PAUSE_MS if places is None else max(LIVE_PAUSE_MS, rules.longest_ms // max(1, places - 1))
    return max(0, min(pace.probed_at + pause, max(pace.probe_at, pace.probed_at + LIVE_PAUSE_MS)) - now)


def _longest_pause(rules: Rules) -> int:
    """Return the backlog's longest wait for its next probe, so that probes use few of a CRM's requests a day."""
    shares = (_PROBES_SHARE * window // requests for requests, window in rules.limits)
    return min(max([LONGEST_PAUSE_MS, *shares]), LONGEST_WAIT_MS)


def _ramp_wait(pace: LimiterState, now: int, rules: Rules, urgency: Urgency) -> int:
    """Return the wait of a ramp: a CRM that is back, or asked for patience, gets few requests at a time, then more.

    Live requests may be twice as many. Requests that were sent before and lost do not count.
    """
    since = now - pace.ramp_from
    if not pace.ramp_from or not 0 <= since < _RAMP_MS:
        return 0
    most = _RAMP_BEGINS * 2 ** (since // _RAMP_DOUBLES_MS) * (1 if urgency is Urgency.BACKLOG else 2)
    begun = sum(until - rules.longest_ms >= pace.ramp_from for until in pace.taken.values())
    return _POLL_MS if begun >= most else 0


def _with_jitter(wait: int, jitter: float) -> int:
    """Return a wait up to a fifth longer or shorter, so that tenants of one CRM do not try at the same moment."""
    return int(wait * (0.8 + 0.4 * jitter))
