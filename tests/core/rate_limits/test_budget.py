"""The arithmetic of paces: never more than the limit in any window, and nothing that is lost for ever."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messagelog.connectors.limits import RequestEnd
from messagelog.core.rate_limits.budget import (
    FIRST_PAUSE_MS,
    FIRST_WAIT_MS,
    LIVE_PAUSE_MS,
    LONGEST_GUESS_MS,
    LONGEST_PAUSE_MS,
    LONGEST_WAIT_MS,
    Circuit,
    CompletedRequest,
    LimiterState,
    PermitGrant,
    PermitRequest,
    RequestVerdict,
    Rules,
    Urgency,
    grant_permits,
    resume_at,
    wait_ms,
)

LONGEST = 30_000
FREE = Rules((), LONGEST)
NOW = 1_800_000_000_000


@dataclass
class Row:
    """The stored row, and a clock."""

    rules: Rules = FREE
    now: int = NOW
    pace: LimiterState = field(default_factory=LimiterState)
    ids: itertools.count[int] = field(default_factory=itertools.count)

    def ask(self, *wants: Urgency, ended: tuple[CompletedRequest, ...] = (), **more: object) -> PermitGrant:
        asked = PermitRequest([(str(next(self.ids)), each) for each in wants], ended, **more)  # type: ignore[arg-type]
        kept = msgspec.json.decode(msgspec.json.encode(self.pace), type=LimiterState)
        self.pace, answer = grant_permits(kept, self.now, self.rules, asked)
        return answer

    def one(self, urgency: Urgency = Urgency.LIVE) -> str | None:
        return next(iter(self.ask(urgency).granted), None)

    def end(
        self, permit: str | None, verdict: RequestVerdict = RequestVerdict.GOOD, **more: object
    ) -> PermitGrant:
        assert permit is not None
        return self.ask(ended=(CompletedRequest(permit, RequestEnd.ANSWERED, verdict, **more),))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ budgets

REQUEST = st.tuples(
    st.integers(0, 700),  # ms since the one before
    st.sampled_from(Urgency),
    st.integers(0, 4_000),  # how long it takes
    st.floats(0, 1),  # when in between the CRM sees it
    st.sampled_from(["told", "told late", "crashed", "never sent", "lost"]),
)


@settings(max_examples=150)
@given(
    requests=st.lists(REQUEST, max_size=80),
    short=st.tuples(st.integers(1, 6), st.sampled_from([700, 1_000, 10_000])),
    long=st.tuples(st.integers(3, 30), st.sampled_from([90_000, 86_400_000])),
)
def test_no_window_ever_holds_more_than_its_limit(
    requests: list[tuple[int, Urgency, int, float, str]], short: tuple[int, int], long: tuple[int, int]
) -> None:
    """By what the CRM sees, whatever a request takes, and whether or not anybody tells how it ended."""
    row = Row(Rules((short, long), LONGEST))
    seen: list[int] = []
    telling: list[tuple[int, CompletedRequest]] = []
    for pause, urgency, takes, part, how in requests:
        row.now += pause
        due = tuple(ended for at, ended in telling if at <= row.now)
        telling = [each for each in telling if each[0] > row.now]
        permit = next(iter(row.ask(urgency, ended=due).granted), None)
        if permit is None:
            continue
        spent = LONGEST if how in {"crashed", "lost"} else takes
        if how != "never sent":
            seen.append(row.now + int(spent * part))
        if how != "crashed":
            end = {"never sent": RequestEnd.UNSENT, "lost": RequestEnd.LOST}.get(how, RequestEnd.ANSWERED)
            late = 3_000 if how == "told late" else 0
            telling.append((row.now + spent + late, CompletedRequest(permit, end, RequestVerdict.GOOD)))
    seen.sort()
    for limit, window in (short, long):
        for first, last in zip(seen, seen[limit:], strict=False):
            assert last - first >= window, f"{limit + 1} requests within {window} ms"
    row.now += LONGEST + 2 * long[1]
    answer = row.ask(*[Urgency.FOLLOW_UP] * short[0])
    assert len(answer.granted) == min(short[0], long[0]), "every place is free again"


def test_catching_up_leaves_places_to_those_who_wait() -> None:
    row = Row(Rules(((5, 1_000), (1_000, 86_400_000)), LONGEST))
    assert len(row.ask(*[Urgency.BACKLOG] * 9).granted) == 4
    assert len(row.ask(Urgency.BACKLOG, Urgency.LIVE).granted) == 1


def test_the_last_places_of_a_day_are_for_calls_that_have_begun() -> None:
    row = Row(Rules(((100, 86_400_000),), LONGEST))
    granted = [len(row.ask(*[each] * 200).granted) for each in reversed(Urgency)]
    assert granted == [80, 18, 2]


def test_a_spent_day_says_when_to_come_back_and_keeps_its_word() -> None:
    row = Row(Rules(((10, 86_400_000),), LONGEST))
    while (permit := row.one(Urgency.BACKLOG)) is not None:
        row.end(permit)
        row.now += 60_000
    assert resume_at(row.pace, row.now, row.rules, Urgency.BACKLOG) is not None
    row.now += wait_ms(row.pace, row.now, row.rules, Urgency.BACKLOG) - 1
    assert row.one(Urgency.BACKLOG) is None
    row.now += 1
    assert row.one(Urgency.BACKLOG) is not None


def test_a_sign_in_counts_though_nobody_asked() -> None:
    row = Row(Rules(((3, 1_000),), LONGEST))
    row.ask(uncounted=2)
    assert len(row.ask(*[Urgency.LIVE] * 3).granted) == 1


# --------------------------------------------------------------------------------------- what the CRM says


def test_a_refusal_holds_everybody_back_for_as_long_as_the_crm_asks() -> None:
    row = Row()
    answer = row.end(row.one(), RequestVerdict.LIMITED, retry_ms=7_000)
    assert answer.slowed
    assert answer.wait_ms == (7_000, 7_000, 7_000)
    row.now += 6_999
    assert row.one(Urgency.FOLLOW_UP) is None
    row.now += 1
    assert row.one() is not None


@pytest.mark.parametrize("retry_ms", [0, -5, 10**15])
def test_what_a_refusal_asks_for_is_clamped(retry_ms: int) -> None:
    row = Row()
    wait = row.end(row.one(), RequestVerdict.LIMITED, retry_ms=retry_ms).wait_ms[Urgency.LIVE]
    assert 100 <= wait <= LONGEST_WAIT_MS


def test_refusals_that_say_nothing_double_the_wait_and_those_of_one_moment_count_once() -> None:
    row = Row()
    waits = []
    for _ in range(12):
        under_way = [row.one(), row.one()]
        for permit in under_way:
            answer = row.end(permit, RequestVerdict.LIMITED)
        waits.append(answer.wait_ms[Urgency.LIVE])
        row.now += answer.wait_ms[Urgency.LIVE]
    assert waits[:4] == [FIRST_WAIT_MS, 2 * FIRST_WAIT_MS, 4 * FIRST_WAIT_MS, 8 * FIRST_WAIT_MS]
    assert waits[-1] == LONGEST_GUESS_MS
    row.now += 3 * LONGEST_WAIT_MS
    assert row.end(row.one(), RequestVerdict.LIMITED).wait_ms[Urgency.LIVE] == FIRST_WAIT_MS


def test_what_a_crm_says_is_left_is_used_up_and_no_more() -> None:
    row = Row()
    row.end(row.one(), left=(3, 20_000, 100))
    assert len(row.ask(*[Urgency.LIVE] * 9).granted) == 3
    answer = row.ask(Urgency.LIVE)
    assert not answer.granted
    assert answer.wait_ms[Urgency.LIVE] == 20_000
    row.now += 20_000
    assert row.one() is not None


def test_an_older_answer_does_not_give_back_what_was_used() -> None:
    row = Row()
    first, second = row.one(), row.one()
    row.end(second, left=(2, 20_000, 100))
    row.end(first, left=(9, 20_100, 100))
    assert len(row.ask(*[Urgency.LIVE] * 9).granted) == 1


# --------------------------------------------------------------------------------------------- the circuit


def test_an_open_circuit_lets_one_try_and_closes_when_it_is_answered() -> None:
    row = Row()
    answer = row.ask(tripped=True)
    assert (answer.opened, answer.down_ms, row.pace.circuit) == (True, 0, Circuit.OPEN)
    assert row.one() is None
    row.now += wait_ms(row.pace, row.now, FREE, Urgency.LIVE)
    granted = row.ask(*[Urgency.LIVE] * 20).granted
    assert len(granted) == 1
    assert row.pace.circuit is Circuit.HALF_OPEN
    row.now += 400
    assert row.end(next(iter(granted))).closed
    assert len(row.ask(*[Urgency.BACKLOG] * 99).granted) == 2, "a few at first"
    assert len(row.ask(*[Urgency.LIVE] * 99).granted) == 2, "and as many live ones"
    row.now += 6_000
    assert len(row.ask(*[Urgency.BACKLOG] * 99).granted) == 8 - 4
    row.now += 60_000
    assert len(row.ask(*[Urgency.LIVE] * 99).granted) == 99


@given(spreads=st.lists(st.floats(0, 1), min_size=12, max_size=12))
@settings(max_examples=30)
def test_a_circuit_stays_open_for_longer_with_each_try_that_fails(spreads: list[float]) -> None:
    row = Row()
    row.ask(tripped=True, jitter=spreads[0])
    pauses = []
    for jitter in spreads:
        pauses.append(wait_ms(row.pace, row.now, FREE, Urgency.BACKLOG))
        row.now += pauses[-1]
        permit = row.one(Urgency.BACKLOG)
        row.ask(
            ended=(CompletedRequest(str(permit), RequestEnd.UNSENT, RequestVerdict.FAILED),), jitter=jitter
        )
    assert 0.8 * FIRST_PAUSE_MS <= pauses[0] <= 1.2 * FIRST_PAUSE_MS
    assert all(0.8 * LONGEST_PAUSE_MS <= pause <= 1.2 * LONGEST_PAUSE_MS for pause in pauses[6:])


@pytest.mark.parametrize(("urgency", "pause"), [(Urgency.LIVE, LIVE_PAUSE_MS), (Urgency.BACKLOG, 40_000)])
def test_a_probe_that_is_not_answered_is_not_waited_for(urgency: Urgency, pause: int) -> None:
    """Its process has died, or the CRM hangs."""
    row = Row()
    row.ask(tripped=True)
    for _ in range(8):
        row.now += 60_000
        assert row.one(urgency) is not None
        assert row.one(urgency) is None
    row.now += int(0.7 * pause)
    assert row.one(urgency) is None
    row.now += int(0.6 * pause)
    assert row.one(urgency) is not None


def test_a_probe_that_was_never_sent_is_none() -> None:
    row = Row()
    row.ask(tripped=True)
    row.now += 2 * FIRST_PAUSE_MS
    permit = row.one()
    row.ask(ended=(CompletedRequest(str(permit), RequestEnd.UNUSED, RequestVerdict.NOTHING),))
    assert row.one() is not None


def test_whatever_is_answered_closes_the_circuit() -> None:
    """Also what was sent before it opened, and what needed no permit then, such as a sign-in."""
    row = Row()
    before = row.one()
    row.ask(tripped=True)
    assert row.end(before).closed
    row.ask(tripped=True)
    assert row.ask(ended=(CompletedRequest("", RequestEnd.ANSWERED, RequestVerdict.GOOD),)).closed


def test_what_a_crm_never_answered_takes_no_part_in_its_return() -> None:
    row = Row(Rules((), 2 * LONGEST))
    row.ask(tripped=True)
    for _ in range(12):
        row.now += LIVE_PAUSE_MS
        last = row.one()
    assert len(row.pace.taken) == 12
    assert row.end(last).closed
    assert len(row.ask(*[Urgency.LIVE] * 99).granted) == 4


@pytest.mark.parametrize(("requests", "pause"), [(1_000, 345_600), (100_000, LONGEST_PAUSE_MS)])
def test_probes_leave_the_most_of_a_days_budget(requests: int, pause: int) -> None:
    row = Row(Rules(((requests, 86_400_000),), LONGEST))
    row.ask(tripped=True)
    for _ in range(10):
        row.now += 60 * 60_000 - 1
        assert row.one(Urgency.BACKLOG) is not None
    waits = wait_ms(row.pace, row.now, row.rules, Urgency.BACKLOG)
    assert 0.8 * pause <= waits <= 1.2 * pause
    assert wait_ms(row.pace, row.now, row.rules, Urgency.LIVE) <= LIVE_PAUSE_MS


OUTAGE = st.tuples(
    st.sampled_from(["refuses", "errs", "hangs", "kills", "answers"]),
    st.sampled_from([1, 7, 30, 90, 600]).map(lambda seconds: seconds * 1_000),
)


@dataclass
class History:
    """A CRM that does one thing after the other, and its requests: one each `gap` ms, and a backlog.

    In the end it answers for good. What is sent to a CRM that `kills` is never told of, as its process has died.
    """

    outages: list[tuple[str, int]]
    gap: int
    row: Row = field(default_factory=lambda: Row(Rules((), 40_000)))
    failing: int = 0
    events: list[tuple[int, int, Urgency | CompletedRequest, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.back = self.row.now + sum(ms for _, ms in self.outages)
        self.numbers = itertools.count()
        self.at(self.row.now, Urgency.BACKLOG)
        for at in range(self.row.now, self.back, self.gap):
            self.at(at, Urgency.LIVE)

    def at(self, when: int, what: Urgency | CompletedRequest, since: int | None = None) -> None:
        """Something happens; what is asked for is asked for `since` then."""
        heapq.heappush(self.events, (when, next(self.numbers), what, when if since is None else since))

    def does(self) -> str:
        """What the CRM does now."""
        ends = self.back
        for what, ms in reversed(self.outages):
            if ends <= self.row.now:
                return "answers"
            ends -= ms
            if ends <= self.row.now:
                return what
        return "answers"

    def answered(self, wanted: Urgency) -> int:
        """Lets everything happen until, after the CRM is back, a request of this urgency is answered; when that is."""
        while True:
            self.row.now, _, what, since = heapq.heappop(self.events)
            if isinstance(what, CompletedRequest):
                self.failing = self.failing + 1 if what.verdict is RequestVerdict.FAILED else 0
                self.row.ask(ended=(what,), tripped=self.failing == 5)
                continue
            permit = self.row.one(what)
            if permit is not None:
                if self.row.now >= self.back and what is wanted:
                    return self.row.now
                self.sent(permit)
            # There is always something left over, and a request of a moment ago still waits.
            if what is Urgency.BACKLOG or (permit is None and self.row.now < since + 12_000):
                wait = max(1_000, wait_ms(self.row.pace, self.row.now, FREE, what))
                self.at(self.row.now + wait, what, since)

    def sent(self, permit: str) -> None:
        takes, end, verdict = {
            "refuses": (5, RequestEnd.UNSENT, RequestVerdict.FAILED),
            "errs": (300, RequestEnd.ANSWERED, RequestVerdict.FAILED),
            "hangs": (20_000, RequestEnd.LOST, RequestVerdict.FAILED),
            "answers": (300, RequestEnd.ANSWERED, RequestVerdict.GOOD),
        }.get(self.does(), (0, None, RequestVerdict.NOTHING))
        if end is not None:
            self.at(self.row.now + takes, CompletedRequest(permit, end, verdict))


@given(
    outages=st.lists(OUTAGE, min_size=1, max_size=5),
    gap=st.sampled_from([1_700, 6_000, 45_000, 10**9]),
    after=st.integers(0, 70_000),
)
@settings(max_examples=60)
def test_a_crm_that_is_back_has_live_work_within_ten_seconds_whatever_it_did_before(
    outages: list[tuple[str, int]], gap: int, after: int
) -> None:
    history = History(outages, gap)
    history.at(history.back + after, Urgency.LIVE)
    live = history.answered(Urgency.LIVE)
    assert live <= history.back + after + 10_000


@given(outages=st.lists(OUTAGE, min_size=1, max_size=5), gap=st.sampled_from([1_700, 6_000, 45_000, 10**9]))
@settings(max_examples=60)
def test_a_crm_that_is_back_has_its_backlog_within_a_minute_whatever_it_did_before(
    outages: list[tuple[str, int]], gap: int
) -> None:
    """By itself: no message comes any more."""
    history = History(outages, gap)
    assert history.answered(Urgency.BACKLOG) <= history.back + 60_000


def test_a_refusal_is_an_answer_too() -> None:
    row = Row()
    row.ask(tripped=True)
    row.now += 2 * FIRST_PAUSE_MS
    answer = row.end(row.one(), RequestVerdict.LIMITED, retry_ms=9_000)
    assert answer.closed
    assert answer.wait_ms[Urgency.LIVE] == 9_000


def test_a_call_that_has_written_already_goes_on_while_the_circuit_is_open() -> None:
    row = Row()
    row.ask(tripped=True)
    assert row.one(Urgency.FOLLOW_UP) is not None
    assert row.pace.circuit is Circuit.OPEN


def test_everybody_has_to_ask_while_there_is_something_to_keep_to_and_no_longer() -> None:
    row = Row()
    assert row.ask().active_ms == 0
    row.end(row.one(), RequestVerdict.LIMITED, retry_ms=1_000)
    assert row.ask().active_ms > 1_000
    row.now += 60_000
    assert row.ask().active_ms == 0


# ------------------------------------------------------------------------------------- nothing is for ever


def test_a_circuit_that_was_forgotten_opens_again_at_the_next_outage() -> None:
    row = Row()
    assert row.ask(tripped=True).opened
    row.now += 3 * LONGEST_WAIT_MS
    again = row.ask(tripped=True)
    assert (again.opened, again.down_ms) == (True, 0)
    assert again.active_ms > 0, "every process asks before it sends"


def test_a_clock_that_is_put_back_keeps_nobody_waiting_longer_than_the_longest_wait() -> None:
    row = Row(Rules(((2, 1_000), (3, 86_400_000)), LONGEST))
    row.end(row.one(), RequestVerdict.LIMITED, retry_ms=LONGEST_WAIT_MS, left=(0, 60_000, 100))
    row.now += LONGEST_WAIT_MS
    row.ask(Urgency.LIVE, tripped=True)
    row.now -= 30 * 86_400_000
    waits = row.ask().wait_ms
    assert max(waits) <= LONGEST_WAIT_MS + 86_400_000
    row.now += LONGEST_WAIT_MS + 2 * 86_400_000
    assert row.one() is not None


def test_requests_of_a_clock_that_is_put_back_are_still_counted() -> None:
    row = Row(Rules(((3, 1_000),), LONGEST))
    for _ in range(3):
        row.end(row.one())
        row.now += 20
    row.now -= 60_000
    assert row.one() is None
    row.now += 2_000
    assert row.one() is not None
