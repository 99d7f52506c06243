"""The arithmetic of a tenant's pace at one CRM: budgets, waits, circuit. Pure; times are the database's, epoch ms.

A request takes a permit before it is sent. The permit's place in a window is taken from its granting until one window
after the request's end. Whenever the CRM itself sees the request, that is in between; so of all requests that it sees
within a window, the last one was granted while the others had their places, and there are never more than the limit.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

_SHARE: Final = 5
"""One in so many places of a window is for live requests alone."""
_LAST_SHARE: Final = 50
"""One in so many places of a long window is for calls that have written already, and have to go on."""
_LONG_MS: Final = 60_000
_DAY_MS: Final = 86_400_000
_GRAINS: Final = 64
_POLL_MS: Final = 250
_PROBE_POLL_MS: Final = 1_000
_MOMENT_MS: Final = 1_000

FIRST_WAIT_MS: Final = 5_000
"""How long a tenant is left alone after a 429 that does not say; twice as long when it comes again."""
LONGEST_WAIT_MS: Final = 60 * 60_000
FIRST_PAUSE_MS: Final = 5_000
"""How long a circuit is open before the first probe; twice as long after each that failed, give or take a fifth."""
LONGEST_PAUSE_MS: Final = 120_000
_SOON_MS: Final = 60_000
_RAMP_MS: Final = 15_000
_RAMP_DOUBLES_MS: Final = 3_000
_RAMP_BEGINS: Final = 2
_FORGOTTEN_MS: Final = 60 * 60_000
"""A circuit that nobody has asked of for so long after its probe was due is nobody's concern any more."""


class Urgency(enum.IntEnum):
    """Who goes first."""

    FOLLOW_UP = 0  # a call that has written already: it cannot be begun anew
    LIVE = 1  # somebody waits for it
    CATCH_UP = 2


class Circuit(enum.StrEnum):
    """Whether a CRM is called for a tenant."""

    CLOSED = "closed"  # it is
    OPEN = "open"  # it does not answer -> half-open, when the pause is over
    HALF_OPEN = "half-open"  # one request tries -> closed, or open for longer


class End(enum.Enum):
    """How a request ended, as far as its place in a window goes."""

    OVER = enum.auto()  # it cannot arrive any more
    UNSENT = enum.auto()  # it never left
    LOST = enum.auto()  # nobody knows: its place is kept for as long as it may be under way


class Verdict(enum.Enum):
    """What the end of a request says of the CRM."""

    GOOD = enum.auto()
    FAILED = enum.auto()
    LIMITED = enum.auto()
    NOTHING = enum.auto()


class Rules(msgspec.Struct, frozen=True):
    """The limits (requests, window in ms), and how long after its granting a request may be under way at most."""

    limits: tuple[tuple[int, int], ...]
    longest_ms: int


class Ended(msgspec.Struct, frozen=True):
    """A request that has ended; `permit` is empty for one that needed none.

    `retry_ms` is what a refusal asked for; `left` (requests, ms, limit) what the CRM says is left.
    """

    permit: str
    end: End
    verdict: Verdict
    retry_ms: int | None = None
    left: tuple[int, int, int | None] | None = None


class Asked(msgspec.Struct, frozen=True):
    """A process's question: who wants a permit, most urgent first, and what has ended since it asked before.

    `tripped` says that the CRM has failed it steadily. `uncounted` requests were sent without a permit. `spread` is
    between 0 and 1, by chance.
    """

    wants: Sequence[tuple[str, Urgency]] = ()
    ended: Sequence[Ended] = ()
    tripped: bool = False
    uncounted: int = 0
    spread: float = 0.5


class Pace(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tenant's pace at one CRM, as it is stored.

    `taken` are the permits of requests under way, each with the time from which it cannot be under way any more.
    `sent` are the ends of those that are over, for each window (ms), as (time, how many). Of `left` requests that a
    CRM told of, none has been used yet until `left_until`; `left_of` is how many there were, by what it said.
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
    probe: str = ""
    ramp_from: int = 0

    def active_until(self) -> int:
        """Until when every process has to ask before it sends, whatever its connector says of limits."""
        trying = self.probe_at + _FORGOTTEN_MS if self.circuit is not Circuit.CLOSED else 0
        ramp = self.ramp_from + _RAMP_MS if self.ramp_from else 0
        return max(self.not_before, self.left_until, trying, ramp)


class Answered(msgspec.Struct, frozen=True):
    """The answer to a process: the permits that are granted, and for each urgency the ms until it makes sense to ask
    again (0: now). `down` says that the circuit is what keeps them waiting; `slowed` that the CRM has just said stop.
    """

    granted: frozenset[str]
    wait_ms: tuple[int, int, int]
    down: bool
    active_ms: int
    slowed: bool = False
    opened: bool = False
    closed: bool = False


def answered(pace: Pace, now: int, rules: Rules, asked: Asked) -> tuple[Pace, Answered]:
    """The pace after a process has asked, and the answer to it."""
    before = pace = _kept_up(pace, now, rules)
    for ended in asked.ended:
        pace = _after(pace, now, rules, ended, asked.spread)
    if asked.uncounted:
        pace = replace(pace, sent=_counted(pace.sent, rules, now, asked.uncounted))
    if asked.tripped and pace.circuit is Circuit.CLOSED:
        pace = _opened(pace, now, asked.spread)
    granted = set()
    for permit, urgency in asked.wants:
        if wait_ms(pace, now, rules, urgency) == 0:
            pace = _granted(pace, now, rules, permit, urgency)
            granted.add(permit)
    waits = [wait_ms(pace, now, rules, urgency) for urgency in Urgency]
    return pace, Answered(
        granted=frozenset(granted),
        wait_ms=(waits[0], waits[1], waits[2]),
        down=pace.circuit is not Circuit.CLOSED,
        active_ms=max(0, pace.active_until() - now),
        slowed=pace.not_before > now >= before.not_before,
        opened=before.circuit is Circuit.CLOSED and pace.circuit is not Circuit.CLOSED,
        closed=before.circuit is not Circuit.CLOSED and pace.circuit is Circuit.CLOSED,
    )


def wait_ms(pace: Pace, now: int, rules: Rules, urgency: Urgency) -> int:
    """How long until it makes sense to ask (again) for a permit; 0 when one can be granted now.

    An estimate where it hangs on requests that are under way: these may end sooner.
    """
    waits = [pace.not_before - now, _told_wait(pace, now, urgency)]
    if urgency is not Urgency.FOLLOW_UP:
        waits += [_circuit_wait(pace, now), _ramp_wait(pace, now)]
    waits += [_window_wait(pace, now, requests, window, urgency) for requests, window in rules.limits]
    return max(0, *waits)


def held_until(pace: Pace, now: int, rules: Rules, urgency: Urgency) -> int | None:
    """Until when work of this urgency need not be begun at all, for everybody to see; None when it may be."""
    until = now + wait_ms(pace, now, rules, urgency)
    if pace.circuit is Circuit.HALF_OPEN:
        until = max(until, pace.probe_at)  # told anew as soon as it is known
    return until if until > now + _MOMENT_MS else None


# -------------------------------------------------------------------------------------------- the windows


def ceiling(requests: int, window: int, urgency: Urgency) -> int:
    """How many places of a window may be taken by those who are no more urgent than this."""
    if urgency is Urgency.CATCH_UP:
        return requests - max(1, requests // _SHARE) if requests > 1 else 1
    if urgency is Urgency.LIVE and window > _LONG_MS:
        return requests - requests // _LAST_SHARE
    return requests


def _window_wait(pace: Pace, now: int, requests: int, window: int, urgency: Urgency) -> int:
    entries = pace.sent.get(window, [])
    over = len(pace.taken) + sum(count for _, count in entries) + 1 - ceiling(requests, window, urgency)
    if over <= 0:
        return 0
    for at, count in entries:
        over -= count
        if over <= 0:
            return at + window - now
    return min(_POLL_MS, window)  # only those under way have the places


def _kept_up(pace: Pace, now: int, rules: Rules) -> Pace:
    """The pace as time has made it: places that are free again, permits whose requests are over by now.

    No wait is longer than it may ever be, even when the clock was put back.
    """
    late = sorted(until for until in pace.taken.values() if until <= now)
    latest = now + rules.longest_ms
    taken = {permit: min(until, latest) for permit, until in pace.taken.items() if until > now}
    sent = pace.sent
    for until in late:
        sent = _counted(sent, rules, until, 1)
    windows = {window for _, window in rules.limits}
    sent = {window: _within(entries, window, now) for window, entries in sent.items() if window in windows}
    pace = replace(
        pace,
        taken=taken,
        sent=sent,
        not_before=min(pace.not_before, now + LONGEST_WAIT_MS),
        ramp_from=min(pace.ramp_from, now + LONGEST_WAIT_MS),
        left_until=min(pace.left_until, now + _DAY_MS),
        probe_at=min(pace.probe_at, now + max(rules.longest_ms, 2 * LONGEST_PAUSE_MS)),
    )
    if pace.circuit is not Circuit.CLOSED and pace.probe_at + _FORGOTTEN_MS <= now:
        pace = replace(pace, circuit=Circuit.CLOSED, probe="")  # otherwise nothing could open it again
    return pace


def _within(entries: list[tuple[int, int]], window: int, now: int) -> list[tuple[int, int]]:
    """The requests that have their places in a window still."""
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


def _counted(
    sent: dict[int, list[tuple[int, int]]], rules: Rules, at: int, count: int
) -> dict[int, list[tuple[int, int]]]:
    """Notes requests that ended. Those of a short span are one entry, at its end: a little later than they were."""
    noted = dict(sent)
    for _, window in rules.limits:
        grain = _grain(window)
        end = -(-at // grain) * grain
        entries = dict(noted.get(window, ()))
        entries[end] = entries.get(end, 0) + count
        noted[window] = sorted(entries.items())
    return noted


def _granted(pace: Pace, now: int, rules: Rules, permit: str, urgency: Urgency) -> Pace:
    pace = replace(
        pace,
        taken={**pace.taken, permit: now + rules.longest_ms},
        left=pace.left - 1 if now < pace.left_until else pace.left,
    )
    if pace.circuit is Circuit.CLOSED or urgency is Urgency.FOLLOW_UP:
        return pace
    return replace(pace, circuit=Circuit.HALF_OPEN, probe=permit, probe_at=now + rules.longest_ms)


# ------------------------------------------------------------------------------------- what the CRM says


def _after(pace: Pace, now: int, rules: Rules, ended: Ended, spread: float) -> Pace:
    """The pace after a request has ended."""
    if ended.permit in pace.taken and ended.end is not End.LOST:
        taken = {permit: until for permit, until in pace.taken.items() if permit != ended.permit}
        sent = _counted(pace.sent, rules, now, 1) if ended.end is End.OVER else pace.sent
        pace = replace(pace, taken=taken, sent=sent)
    if ended.verdict is Verdict.LIMITED:
        pace = _slowed(pace, now, ended.retry_ms)
    if ended.left is not None:
        pace = _told(pace, now, *ended.left)
    if ended.permit and ended.permit == pace.probe:
        pace = _probed(pace, now, ended.verdict, spread)
    return pace


def _slowed(pace: Pace, now: int, retry_ms: int | None) -> Pace:
    """The CRM has said stop. Of several that were told so at the same time the longest counts."""
    wait = pace.wait_ms
    if pace.not_before <= now:  # not one of those that were under way when it was said before
        again = now < pace.not_before + max(_RAMP_MS, 2 * pace.wait_ms)
        wait = min(2 * wait, LONGEST_WAIT_MS) if again and wait else FIRST_WAIT_MS
    asked = wait if retry_ms is None else min(max(retry_ms, 100), LONGEST_WAIT_MS)
    not_before = max(pace.not_before, now + asked)
    return replace(pace, not_before=not_before, wait_ms=wait, ramp_from=not_before)


def _told(pace: Pace, now: int, requests: int, span_ms: int, limit: int | None) -> Pace:
    """Takes what the CRM says is left. An answer may be older than another one: of one window the least counts."""
    until = now + span_ms
    left = max(0, requests - len(pace.taken))  # those may not have been seen by the CRM yet
    if now < pace.left_until and until < pace.left_until + 2_000:
        return replace(pace, left=min(pace.left, left))
    return replace(pace, left=left, left_until=until, left_of=limit or requests)


def _told_wait(pace: Pace, now: int, urgency: Urgency) -> int:
    if now >= pace.left_until:
        return 0
    reserve = max(1, pace.left_of // _SHARE // 2) if urgency is Urgency.CATCH_UP and pace.left_of > 1 else 0
    return pace.left_until - now if pace.left <= reserve else 0


# -------------------------------------------------------------------------------------------- the circuit


def _opened(pace: Pace, now: int, spread: float) -> Pace:
    """Opens the circuit; for longer when it was closed only a moment ago."""
    soon = pace.pause_ms and now < pace.since + _SOON_MS
    pause = min(2 * pace.pause_ms, LONGEST_PAUSE_MS) if soon else FIRST_PAUSE_MS
    at = now + _about(pause, spread)
    return replace(pace, circuit=Circuit.OPEN, since=now, pause_ms=pause, probe_at=at, probe="", ramp_from=0)


def _probed(pace: Pace, now: int, verdict: Verdict, spread: float) -> Pace:
    if verdict is Verdict.NOTHING:  # it was never sent: the next one may try
        return replace(pace, circuit=Circuit.OPEN, probe="", probe_at=now)
    if verdict is Verdict.FAILED:
        pause = min(2 * pace.pause_ms, LONGEST_PAUSE_MS)
        at = now + _about(pause, spread)
        return replace(pace, circuit=Circuit.OPEN, pause_ms=pause, probe="", probe_at=at)
    ramp_from = max(now, pace.not_before)
    return replace(pace, circuit=Circuit.CLOSED, since=now, probe="", ramp_from=ramp_from)


def _circuit_wait(pace: Pace, now: int) -> int:
    if pace.circuit is Circuit.CLOSED:
        return 0
    wait = max(0, pace.probe_at - now)
    # One that tries may be done any moment.
    return min(wait, _PROBE_POLL_MS) if pace.circuit is Circuit.HALF_OPEN else wait


def _ramp_wait(pace: Pace, now: int) -> int:
    """A CRM that has just come back, or has just said stop, is called by a few at a time, then by more."""
    since = now - pace.ramp_from
    if not pace.ramp_from or not 0 <= since < _RAMP_MS:
        return 0
    return _POLL_MS if len(pace.taken) >= _RAMP_BEGINS * 2 ** (since // _RAMP_DOUBLES_MS) else 0


def _about(wait: int, spread: float) -> int:
    """A fifth more or less, so that tenants of one CRM do not try at the same moment."""
    return int(wait * (0.8 + 0.4 * spread))
