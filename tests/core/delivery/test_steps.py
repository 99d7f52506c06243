"""What a step says of itself, and what it passes on to the tables of outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from messagelog.connectors import Contact, MessageLog, Unavailable
from messagelog.connectors.log import JournalView
from messagelog.core.delivery.backoff import Retry
from messagelog.core.delivery.outcomes import Reconciliation
from messagelog.core.delivery.prepare import PreparedCall
from messagelog.core.delivery.steps import StepContext, StepProgress
from messagelog.messages import Conversation
from messagelog.storage.records.journal import LeasePolicy, LogState, RowState
from support.journal import ACTIVITY, ADA, BEN, abilities, log_row, message_row, message_rows
from support.memory_crm import Crm, Plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from messagelog.storage.records.journal import LogRow, MessageRow


def step(
    *able: str, log: LogRow | None = None, rows: Sequence[MessageRow] = (), **values: Any
) -> StepContext:
    made: dict[str, Any] = {
        "connector": Plain(Crm()),
        "capabilities": abilities(*able),
        "log": log or log_row(),
        "rows": rows or [message_row()],
        "policy": LeasePolicy("here", 60_000, 7_000, 100, "0123abcd"),
        "may_recreate": True,
        "jitter": 0.5,
        "progress": StepProgress(),
        "retry": Retry,
    }
    return StepContext(**(made | values))


@pytest.mark.parametrize(
    ("shared", "amends", "called", "newest", "outgrown"),
    [
        (True, False, 1, 2, True),
        (True, False, 2, 2, False),
        (True, True, 1, 2, False),
        (False, False, 0, 0, False),
    ],
)
def test_a_newer_snapshot_outgrows_what_can_only_be_added_to(
    *, shared: bool, amends: bool, called: int, newest: int, outgrown: bool
) -> None:
    able = ("amends",) if amends else ()
    log = log_row(shared=shared, call_version=called)
    assert step(*able, log=log, rows=[message_row(version=newest)]).outgrown is outgrown


@pytest.mark.parametrize(
    ("able", "count", "in_run"), [("in_runs", 2, True), ("in_runs", 1, False), ("finds", 2, False)]
)
def test_a_run_has_several_rows_with_a_call_each(able: str, count: int, *, in_run: bool) -> None:
    made = step(able, rows=message_rows(count))
    assert made.in_run is in_run
    assert len(made.first.rows) == (1 if in_run else count)
    assert made.first.rows[0] == made.rows[0]


@pytest.mark.parametrize(
    ("values", "call_user", "expected"),
    [({}, BEN, BEN), ({}, None, ADA), ({"asker": "cy"}, BEN, "cy")],
)
def test_who_the_crm_is_called_for(values: dict[str, Any], call_user: str | None, expected: str) -> None:
    assert step(log=log_row(call_user=call_user), **values).caller_id == expected


def test_a_colleague_asks_and_repeats_for_themselves() -> None:
    asked = step(colleague=BEN).with_asker(BEN)
    assert (asked.caller_id, asked.colleague, asked.log.call_user) == (BEN, None, ADA)
    assert asked.with_asker_as_caller().log.call_user == BEN
    assert step().with_asker_as_caller().log.call_user == ADA


UNKNOWN, CALLING = RowState.UNKNOWN, RowState.CALLING


@pytest.mark.parametrize(
    ("rows", "earlier", "done_in"),
    [
        ([(UNKNOWN, "a-9")], None, "a-9"),
        ([(UNKNOWN, "a-9"), (UNKNOWN, "a-9")], None, "a-9"),
        ([(UNKNOWN, "a-9"), (UNKNOWN, None)], None, None),
        ([(UNKNOWN, "a-9"), (UNKNOWN, "a-8")], None, None),
        ([(UNKNOWN, None)], None, None),
        ([(CALLING, "a-9")], None, None),
        ([(UNKNOWN, "a-9")], '["a-9"]', None),
    ],
)
def test_what_is_known_to_be_done_is_in_its_activity(
    rows: list[tuple[RowState, str | None]], earlier: str | None, done_in: str | None
) -> None:
    made = [message_row(n, state=state, third_party_log_id=id_) for n, (state, id_) in enumerate(rows)]
    assert step(log=log_row(earlier=earlier), rows=made).done_in == done_in


def prepared(rows: Sequence[MessageRow]) -> PreparedCall:
    """A call that brings these rows to a conversation, in an activity that can be written over."""
    unused: Any = None
    log = MessageLog(
        contact=Contact(id="c-1", name="Maya Patel"),
        correspondents=(),
        messages=(),
        thread=None,
        conversation=Conversation(conversation_id="conv"),
        additional_submission={},
        idempotency_key="key",
        existing=None,
        text_settings=unused,
        participants=unused,
        key=b"",
        journal=JournalView(),
    )
    return PreparedCall(unused, log, tuple(rows), {row.id: b"hash" for row in rows}, JournalView(), len(rows))


@pytest.mark.parametrize(
    ("able", "call", "refusals", "state", "version"),
    [
        (("upserts", "amends"), "create", 0, RowState.LOGGED, 4),
        (("upserts", "amends"), "create", 1, RowState.PLANNED, 0),
        (("upserts", "amends"), "update", 1, RowState.LOGGED, 4),
        (("upserts", "finds", "amends"), "create", 1, RowState.LOGGED, 4),
        (("upserts",), "create", 1, RowState.LOGGED, 4),
        (("amends",), "create", 1, RowState.LOGGED, 4),
    ],
)
def test_a_create_after_a_refused_one_with_its_key_may_be_answered_with_that_ones_activity(
    able: tuple[str, ...], call: str, refusals: int, state: RowState, version: int
) -> None:
    made = step(*able, log=log_row(call, rejection_count=refusals, call_version=4))
    outcome = made.on_success(prepared(made.rows), ACTIVITY)
    (change,) = outcome.changes
    assert (change.state, change.third_party_log_id) == (state, ACTIVITY)
    assert (change.entry_hash, change.erase) == (
        (b"hash", True) if state is RowState.LOGGED else (None, False)
    )
    assert (outcome.log.third_party_log_id, outcome.log.version) == (ACTIVITY, version)


@pytest.mark.parametrize(("shared", "version"), [(True, 7), (False, 0)])
def test_what_was_read_in_the_activity_is_logged_there(*, shared: bool, version: int) -> None:
    made = step(log=log_row("update", shared=shared), rows=[message_row(version=7)])
    outcome = made.on_found(prepared(made.rows), {"1": b"read"})
    (change,) = outcome.changes
    assert (change.state, change.third_party_log_id, change.entry_hash) == (
        RowState.LOGGED,
        ACTIVITY,
        b"read",
    )
    assert outcome.log.version == version


def test_an_outcome_names_the_error_that_it_comes_from() -> None:
    error = Unavailable()
    assert step().on_error(error).error is error
    assert step().on_reconcile_error(error).error is error


def test_an_outcome_goes_by_how_failures_are_taken_at_the_moment() -> None:
    away = step(retry=lambda: Retry(probe_ms=30_000))
    assert (away.on_error(Unavailable()).wait_ms, away.on_error(Unavailable()).log.attempt_count) == (
        30_000,
        0,
    )
    assert away.on_reconcile_error(Unavailable()).wait_ms == 30_000
    lost = log_row(reason="no_answer: the answer was lost")
    assert away.with_log(lost).on_reconciled(Reconciliation.NOT_THERE).log.attempt_count == 0
    assert step(log=lost).on_reconciled(Reconciliation.NOT_THERE).log.attempt_count == 1
    assert step(log=lost).on_reconciled(Reconciliation.NOBODY_KNOWS).log.state is LogState.PARKED


def test_what_was_recorded_before_the_call_is_saved_with_it() -> None:
    recorded = log_row(call_before="1", blocks=b"")
    assert step(progress=StepProgress(recorded=recorded)).recorded_log is recorded
    assert step(log=recorded).recorded_log is recorded
