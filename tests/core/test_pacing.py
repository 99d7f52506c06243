"""The arithmetic of paces: never more than the limit in any window, and nothing that is lost for ever."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messagelog.core.pacing import (
    FIRST_PAUSE_MS,
    FIRST_WAIT_MS,
    LONGEST_PAUSE_MS,
    LONGEST_WAIT_MS,
    Answered,
    Asked,
    Circuit,
    End,
    Ended,
    Pace,
    Rules,
    Urgency,
    Verdict,
    answered,
    held_until,
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
    pace: Pace = field(default_factory=Pace)
    ids: itertools.count[int] = field(default_factory=itertools.count)

    def ask(self, *wants: Urgency, ended: tuple[Ended, ...] = (), **more: object) -> Answered:
        asked = Asked([(str(next(self.ids)), each) for each in wants], ended, **more)  # type: ignore[arg-type]
        kept = msgspec.json.decode(msgspec.json.encode(self.pace), type=Pace)
        self.pace, answer = answered(kept, self.now, self.rules, asked)
        return answer

    def one(self, urgency: Urgency = Urgency.LIVE) -> str | None:
        return next(iter(self.ask(urgency).granted), None)

    def end(self, permit: str | None, verdict: Verdict = Verdict.GOOD, **more: object) -> Answered:
        assert permit is not None
        return self.ask(ended=(Ended(permit, End.OVER, verdict, **more),))  # type: ignore[arg-type]


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
    telling: list[tuple[int, Ended]] = []
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
            end = {"never sent": End.UNSENT, "lost": End.LOST}.get(how, End.OVER)
            late = 3_000 if how == "told late" else 0
            telling.append((row.now + spent + late, Ended(permit, end, Verdict.GOOD)))
    seen.sort()
    for limit, window in (short, long):
        for first, last in zip(seen, seen[limit:], strict=False):
            assert last - first >= window, f"{limit + 1} requests within {window} ms"
    row.now += LONGEST + 2 * long[1]
    answer = row.ask(*[Urgency.FOLLOW_UP] * short[0])
    assert len(answer.granted) == min(short[0], long[0]), "every place is free again"


def test_catching_up_leaves_places_to_those_who_wait() -> None:
    row = Row(Rules(((5, 1_000), (1_000, 86_400_000)), LONGEST))
    assert len(row.ask(*[Urgency.CATCH_UP] * 9).granted) == 4
    assert len(row.ask(Urgency.CATCH_UP, Urgency.LIVE).granted) == 1


def test_the_last_places_of_a_day_are_for_calls_that_have_begun() -> None:
    row = Row(Rules(((100, 86_400_000),), LONGEST))
    granted = [len(row.ask(*[each] * 200).granted) for each in reversed(Urgency)]
    assert granted == [80, 18, 2]


def test_a_spent_day_says_when_to_come_back_and_keeps_its_word() -> None:
    row = Row(Rules(((10, 86_400_000),), LONGEST))
    while (permit := row.one(Urgency.CATCH_UP)) is not None:
        row.end(permit)
        row.now += 60_000
    assert held_until(row.pace, row.now, row.rules, Urgency.CATCH_UP) is not None
    row.now += wait_ms(row.pace, row.now, row.rules, Urgency.CATCH_UP) - 1
    assert row.one(Urgency.CATCH_UP) is None
    row.now += 1
    assert row.one(Urgency.CATCH_UP) is not None


def test_a_sign_in_counts_though_nobody_asked() -> None:
    row = Row(Rules(((3, 1_000),), LONGEST))
    row.ask(uncounted=2)
    assert len(row.ask(*[Urgency.LIVE] * 3).granted) == 1


# --------------------------------------------------------------------------------------- what the CRM says


def test_a_refusal_holds_everybody_back_for_as_long_as_the_crm_asks() -> None:
    row = Row()
    answer = row.end(row.one(), Verdict.LIMITED, retry_ms=7_000)
    assert answer.slowed
    assert answer.wait_ms == (7_000, 7_000, 7_000)
    row.now += 6_999
    assert row.one(Urgency.FOLLOW_UP) is None
    row.now += 1
    assert row.one() is not None


@pytest.mark.parametrize("retry_ms", [0, -5, 10**15])
def test_what_a_refusal_asks_for_is_clamped(retry_ms: int) -> None:
    row = Row()
    wait = row.end(row.one(), Verdict.LIMITED, retry_ms=retry_ms).wait_ms[Urgency.LIVE]
    assert 100 <= wait <= LONGEST_WAIT_MS


def test_refusals_that_say_nothing_double_the_wait_and_those_of_one_moment_count_once() -> None:
    row = Row()
    waits = []
    for _ in range(12):
        under_way = [row.one(), row.one()]
        for permit in under_way:
            answer = row.end(permit, Verdict.LIMITED)
        waits.append(answer.wait_ms[Urgency.LIVE])
        row.now += answer.wait_ms[Urgency.LIVE]
    assert waits[:4] == [FIRST_WAIT_MS, 2 * FIRST_WAIT_MS, 4 * FIRST_WAIT_MS, 8 * FIRST_WAIT_MS]
    assert waits[-1] == LONGEST_WAIT_MS
    row.now += 3 * LONGEST_WAIT_MS
    assert row.end(row.one(), Verdict.LIMITED).wait_ms[Urgency.LIVE] == FIRST_WAIT_MS


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
    assert (answer.opened, answer.down, row.pace.circuit) == (True, True, Circuit.OPEN)
    assert row.one() is None
    row.now += wait_ms(row.pace, row.now, FREE, Urgency.LIVE)
    granted = row.ask(*[Urgency.LIVE] * 20).granted
    assert len(granted) == 1
    assert row.pace.circuit is Circuit.HALF_OPEN
    row.now += 400
    assert row.end(next(iter(granted))).closed
    first = len(row.ask(*[Urgency.LIVE] * 99).granted)
    assert first == 2, "a few at first"
    row.now += 6_000
    assert len(row.ask(*[Urgency.LIVE] * 99).granted) == 8 - first
    row.now += 60_000
    assert len(row.ask(*[Urgency.LIVE] * 99).granted) == 99


@given(spreads=st.lists(st.floats(0, 1), min_size=12, max_size=12))
@settings(max_examples=30)
def test_a_circuit_stays_open_for_longer_with_each_try_that_fails(spreads: list[float]) -> None:
    row = Row()
    row.ask(tripped=True, spread=spreads[0])
    pauses = []
    for spread in spreads:
        pauses.append(wait_ms(row.pace, row.now, FREE, Urgency.CATCH_UP))
        row.now += pauses[-1]
        permit = row.one(Urgency.CATCH_UP)
        row.ask(ended=(Ended(str(permit), End.UNSENT, Verdict.FAILED),), spread=spread)
    assert 0.8 * FIRST_PAUSE_MS <= pauses[0] <= 1.2 * FIRST_PAUSE_MS
    assert all(0.8 * LONGEST_PAUSE_MS <= pause <= 1.2 * LONGEST_PAUSE_MS for pause in pauses[6:])


def test_a_try_of_a_process_that_died_is_made_by_another() -> None:
    row = Row()
    row.ask(tripped=True)
    row.now += 2 * FIRST_PAUSE_MS
    assert row.one() is not None
    assert row.one() is None
    row.now += LONGEST
    assert row.one() is not None


def test_a_try_that_was_never_sent_is_no_try() -> None:
    row = Row()
    row.ask(tripped=True)
    row.now += 2 * FIRST_PAUSE_MS
    permit = row.one()
    row.ask(ended=(Ended(str(permit), End.UNSENT, Verdict.NOTHING),))
    assert row.one() is not None


def test_a_refusal_is_an_answer_too() -> None:
    row = Row()
    row.ask(tripped=True)
    row.now += 2 * FIRST_PAUSE_MS
    answer = row.end(row.one(), Verdict.LIMITED, retry_ms=9_000)
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
    row.end(row.one(), Verdict.LIMITED, retry_ms=1_000)
    assert row.ask().active_ms > 1_000
    row.now += 60_000
    assert row.ask().active_ms == 0


# ------------------------------------------------------------------------------------- nothing is for ever


def test_a_circuit_that_was_forgotten_opens_again_at_the_next_outage() -> None:
    row = Row()
    assert row.ask(tripped=True).opened
    row.now += 3 * LONGEST_WAIT_MS
    again = row.ask(tripped=True)
    assert (again.opened, again.down) == (True, True)
    assert again.active_ms > 0, "every process asks before it sends"


def test_a_clock_that_is_put_back_keeps_nobody_waiting_longer_than_the_longest_wait() -> None:
    row = Row(Rules(((2, 1_000), (3, 86_400_000)), LONGEST))
    row.end(row.one(), Verdict.LIMITED, retry_ms=LONGEST_WAIT_MS, left=(0, 60_000, 100))
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
