"""Waits are as long as the table says, whatever a CRM asks for."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messagelog.connectors import Connector, ConnectorError, OutcomeUnknown, RateLimited, Unavailable
from messagelog.connectors.errors import Throttled
from messagelog.core.delivery import backoff
from messagelog.core.delivery.backoff import Retry
from messagelog.core.delivery.capabilities import Capabilities
from messagelog.core.delivery.outcomes import (
    Reconciliation,
    on_error,
    on_reconcile_error,
    on_reconciled,
)
from messagelog.storage.records.journal import LogKey, LogRow, MessageRow, RowState

LUCK = st.floats(min_value=0, max_value=1, exclude_max=True)
ANYTHING = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@given(tries=st.integers(min_value=1, max_value=len(backoff.STEPS)), jitter=LUCK, asked=ANYTHING)
def test_a_wait_is_within_its_step_and_what_the_crm_asks_for(
    tries: int, jitter: float, asked: float | None
) -> None:
    wait = backoff.after(tries, jitter, retry_after=asked)
    assert wait is not None
    meant = 0 if asked is None or math.isnan(asked) else min(max(asked, 0), 3600) * 1000
    assert max(100, int(meant)) <= wait <= meant + backoff.STEPS[tries - 1] * 1000
    assert backoff.for_ever(tries, jitter, retry_after=asked) == wait


@given(jitter=LUCK, asked=ANYTHING, more=st.integers(min_value=1))
def test_the_table_ends_and_questions_do_not(jitter: float, asked: float | None, more: int) -> None:
    assert backoff.after(len(backoff.STEPS) + more, jitter, retry_after=asked) is None
    assert backoff.for_ever(len(backoff.STEPS) + more, jitter) <= backoff.STEPS[-1] * 1000


ROW = MessageRow("1", "c", "c", None, "ada", RowState.CALLING, None, 0, 0, None, 0, 0, b"")
EARLY, AWAY = Retry(early=True), Retry(probe_ms=30_000)
LAST = len(backoff.STEPS)


class Finds(Connector):
    """A CRM that can be searched."""

    name = "crm"
    settle_seconds = 5.0

    async def find_message_log(self, *_: object) -> str | None:
        return None


def log(tries: int, asks: int = 0) -> LogRow:
    key = LogKey("acme", "crm", "c")
    row = LogRow(key, "c", contact_id="c-1", contact_type="", contact_name="", text_settings="{}")
    row.call, row.call_user, row.attempt_count, row.probe_count = "create", "ada", tries, asks
    return row


@pytest.mark.parametrize("error", [Unavailable(), OutcomeUnknown(), OutcomeUnknown(status=503)])
@pytest.mark.parametrize("retry", [EARLY, AWAY])
def test_what_says_nothing_of_the_log_itself_is_none_of_its_tries(
    error: ConnectorError, retry: Retry
) -> None:
    """Neither an early try, for a request that waits, nor one that shows that the CRM is still away."""
    capabilities = Capabilities.of(Finds())
    for tries in (0, 1, LAST):
        outcome = on_error(log(tries), [ROW], error, capabilities, may_recreate=True, jitter=0.5, retry=retry)
        assert outcome.log.attempt_count == tries
        assert outcome.changes[0].state in {RowState.PLANNED, RowState.UNKNOWN}, "it is not given up"
        assert outcome.wait_ms is not None
        if retry is AWAY:
            assert outcome.wait_ms == 30_000, "with the circuit's next probe"
    assert (
        on_reconciled(log(LAST - 1), [ROW], Reconciliation.NOT_THERE, capabilities, retry).changes[0].state
        is RowState.PLANNED
    )


def test_a_crm_that_asks_for_patience_is_there() -> None:
    capabilities = Capabilities.of(Finds())
    error = RateLimited(retry_after=7)
    outcome = on_error(log(1), [ROW], error, capabilities, may_recreate=True, jitter=0.5, retry=AWAY)
    assert (outcome.log.attempt_count, outcome.wait_ms) == (2, 7_000 + 5_000)


@pytest.mark.parametrize(
    ("error", "retry", "asks", "wait_ms"),
    [
        (Unavailable(), Retry(), 10, 7_200_000),
        (Unavailable(), EARLY, 9, 7_200_000),
        (Unavailable(), AWAY, 9, 30_000),
        (Throttled(retry_after=3.0, down=True), AWAY, 9, 3_000),
    ],
)
def test_a_question_is_asked_again(error: ConnectorError, retry: Retry, asks: int, wait_ms: int) -> None:
    outcome = on_reconcile_error(log(0, 9), [ROW], error, Capabilities.of(Finds()), jitter=0.5, retry=retry)
    assert (outcome.log.probe_count, outcome.wait_ms) == (asks, wait_ms)


@pytest.mark.parametrize("error", [Unavailable(), Throttled(retry_after=3.0, down=True)])
def test_what_was_to_be_asked_once_may_be_asked_at_any_time(error: ConnectorError) -> None:
    """The CRM's search has had its time by then, also where nothing was sent."""
    outcome = on_reconcile_error(log(0), [ROW], error, Capabilities.of(Finds()), jitter=0.5, retry=AWAY)
    assert outcome.log.probe_count == 1
