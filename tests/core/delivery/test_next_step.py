"""Which call comes next: a table to be read, and what holds for every log and whatever waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from messagelog.core.delivery.next_step import next_step
from messagelog.storage.records.journal import change_id
from support.journal import ACTIVITY, ADA, BEN, log_row, message_row, message_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.storage.records.journal import LogRow, MessageRow

ALONE, BATCHES, RUNS = (
    {"takes_batches": False},
    {"takes_batches": True},
    {"takes_batches": False, "in_runs": True},
)
NEW: dict[str, Any] = {}
OPEN: dict[str, Any] = {"third_party_log_id": ACTIVITY, "created_by": ADA}


def log(**values: Any) -> LogRow:
    """A log with nothing under way."""
    return log_row(None, **values)


@pytest.mark.parametrize(
    ("how", "state", "call", "count"),
    [
        (ALONE, NEW, "create", 1),
        (ALONE, OPEN, "update", 1),
        (BATCHES, NEW, "create", 3),
        (BATCHES, OPEN, "update", 3),
        (RUNS, NEW, "create", 1),
        (RUNS, OPEN, "update", 3),
        # after a refusal they go one by one
        (BATCHES, NEW | {"rejection_count": 1}, "create", 1),
        (BATCHES, OPEN | {"rejection_count": 2}, "update", 1),
        (RUNS, OPEN | {"rejection_count": 1}, "update", 1),
        # after any trouble only where each has a call of its own
        (BATCHES, NEW | {"attempt_count": 1}, "create", 3),
        (BATCHES, OPEN | {"attempt_count": 1}, "update", 3),
        (RUNS, OPEN | {"attempt_count": 1}, "update", 1),
        # a shared thread has one snapshot at a time
        (BATCHES, NEW | {"shared": True}, "create", 1),
        (BATCHES, OPEN | {"shared": True}, "update", 1),
        (RUNS, OPEN | {"shared": True}, "update", 1),
        # the activity before is full: the next message makes another one
        (ALONE, {"earlier": '["a-0"]', "generation": 2}, "create", 1),
        (BATCHES, {"earlier": '["a-0"]', "generation": 2}, "create", 3),
        (RUNS, {"earlier": '["a-0"]', "generation": 2}, "create", 1),
    ],
)
def test_the_next_call_of_three_messages(
    how: dict[str, bool], state: dict[str, Any], call: str, count: int
) -> None:
    waiting = message_rows(3)
    step = next_step(**how)(log(**state), waiting)
    assert step is not None
    assert (step.call, step.user_id, step.rows) == (call, ADA, tuple(waiting[:count]))


@pytest.mark.parametrize("how", [ALONE, BATCHES, RUNS])
@pytest.mark.parametrize("state", [NEW, OPEN])
def test_without_anything_that_waits_there_is_no_step(how: dict[str, bool], state: dict[str, Any]) -> None:
    assert next_step(**how)(log(**state), []) is None


@pytest.mark.parametrize("how", [BATCHES, RUNS])
@pytest.mark.parametrize(
    ("users", "count"),
    [
        ((ADA, ADA, ADA), 3),
        ((ADA, ADA, BEN), 2),
        ((ADA, BEN, ADA), 1),
        ((BEN, BEN, ADA), 2),
    ],
)
def test_a_step_is_made_in_one_users_session(
    how: dict[str, bool], users: tuple[str, ...], count: int
) -> None:
    waiting = [message_row(number, user_id=user) for number, user in enumerate(users)]
    step = next_step(**how)(log(**OPEN), waiting)
    assert step is not None
    assert (step.user_id, step.ids) == (users[0], tuple(row.id for row in waiting[:count]))


@pytest.mark.parametrize("how", [BATCHES, RUNS])
@pytest.mark.parametrize(
    ("activities", "count"),
    [
        ((ACTIVITY, None, None), 1),  # it may be there already, and there is room for it
        ((None, ACTIVITY, None), 1),
        ((None, None, ACTIVITY), 2),
        (("a-0", None, None), 3),  # it was in another activity
        (("a-0", "a-0", "a-0"), 3),
    ],
)
def test_what_the_activity_may_hold_already_goes_alone(
    how: dict[str, bool], activities: tuple[str | None, ...], count: int
) -> None:
    waiting = [message_row(number, third_party_log_id=id_) for number, id_ in enumerate(activities)]
    step = next_step(**how)(log(**OPEN), waiting)
    assert step is not None
    assert len(step.rows) == count


def test_a_message_of_no_activity_is_not_made_sure_of_in_a_log_without_one() -> None:
    step = next_step(**BATCHES)(log(), message_rows(2))
    assert step is not None
    assert len(step.rows) == 2


@pytest.mark.parametrize("version", [0, 7])
def test_a_step_has_the_version_of_its_snapshot(version: int) -> None:
    step = next_step(**ALONE)(log(shared=True), [message_row(version=version)])
    assert step is not None
    assert step.version == version


def change_row(number: int = 1, **values: Any) -> MessageRow:
    """A change of a message."""
    return message_row(number, id=change_id(str(number), 3), version=3, **values)


@pytest.mark.parametrize("how", [ALONE, BATCHES, RUNS])
@pytest.mark.parametrize(
    "state", [NEW, OPEN, OPEN | {"rejection_count": 2}, {"earlier": '["a-0"]', "generation": 2}]
)
def test_a_change_goes_alone(how: dict[str, bool], state: dict[str, Any]) -> None:
    """Whatever state the log is in: the activity is the message's own."""
    waiting = [change_row(1), change_row(2), message_row(3)]
    step = next_step(**how)(log(**state), waiting)
    assert step is not None
    assert (step.call, step.user_id, step.rows, step.version) == ("change", ADA, (waiting[0],), 3)


@pytest.mark.parametrize("how", [BATCHES, RUNS])
def test_messages_before_a_change_go_without_it(how: dict[str, bool]) -> None:
    waiting = [message_row(1), message_row(2), change_row(2), message_row(4)]
    step = next_step(**how)(log(**OPEN), waiting)
    assert step is not None
    assert (step.call, step.rows) == ("update", tuple(waiting[:2]))


rows_drawn = st.lists(
    st.builds(
        lambda user, activity, changes: (change_row if changes else message_row)(
            user_id=user, third_party_log_id=activity
        ),
        st.sampled_from([ADA, BEN]),
        st.sampled_from([None, ACTIVITY, "a-0"]),
        st.booleans(),
    ),
    max_size=6,
).map(
    lambda rows: [
        replace(row, id=change_id(str(number), 3) if row.is_change else str(number))
        for number, row in enumerate(rows)
    ]
)
logs_drawn = st.builds(
    lambda activity, shared, tries, refusals: log(
        third_party_log_id=activity, shared=shared, attempt_count=tries, rejection_count=refusals
    ),
    st.sampled_from([None, ACTIVITY]),
    st.booleans(),
    st.integers(0, 3),
    st.integers(0, 2),
)


@settings(max_examples=300)
@given(logs_drawn, rows_drawn, st.booleans(), st.booleans())
def test_a_step_is_the_oldest_that_wait_of_one_user(
    row: LogRow, waiting: list[MessageRow], takes_batches: bool, in_runs: bool
) -> None:
    planner: Callable[..., Any] = next_step(takes_batches=takes_batches, in_runs=in_runs)
    step = planner(row, waiting)
    if not waiting:
        assert step is None
        return
    assert step.rows == tuple(waiting[: len(step.rows)]), "none is passed over"
    assert step.rows
    assert {each.user_id for each in step.rows} == {step.user_id}
    if any(each.is_change for each in step.rows):
        assert (step.call, len(step.rows)) == ("change", 1)
        return
    assert (step.call == "create") is (row.third_party_log_id is None)
    if row.shared or row.rejection_count or not (takes_batches or in_runs):
        assert len(step.rows) == 1
    if len(step.rows) > 1 and not takes_batches:
        assert (step.call, row.attempt_count) == ("update", 0)
    if len(step.rows) > 1 and row.third_party_log_id is not None:
        assert row.third_party_log_id not in {each.third_party_log_id for each in step.rows}


@settings(max_examples=100)
@given(logs_drawn, rows_drawn, st.booleans(), st.booleans())
def test_all_that_waits_has_its_turn_once(
    row: LogRow, waiting: list[MessageRow], takes_batches: bool, in_runs: bool
) -> None:
    planner = next_step(takes_batches=takes_batches, in_runs=in_runs)
    left = list(waiting)
    sent: list[MessageRow] = []
    while (step := planner(row, left)) is not None:
        sent += step.rows
        left = left[len(step.rows) :]
    assert sent == waiting
