"""Waits are as long as the table says, whatever a CRM asks for."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from messagelog.core import backoff

LUCK = st.floats(min_value=0, max_value=1, exclude_max=True)
ANYTHING = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@given(tries=st.integers(min_value=1, max_value=len(backoff.STEPS)), luck=LUCK, asked=ANYTHING)
def test_a_wait_is_within_its_step_and_what_the_crm_asks_for(
    tries: int, luck: float, asked: float | None
) -> None:
    wait = backoff.after(tries, luck, retry_after=asked)
    assert wait is not None
    meant = 0 if asked is None or math.isnan(asked) else min(max(asked, 0), 3600) * 1000
    assert max(100, int(meant)) <= wait <= meant + backoff.STEPS[tries - 1] * 1000
    assert backoff.for_ever(tries, luck, retry_after=asked) == wait


@given(luck=LUCK, asked=ANYTHING, more=st.integers(min_value=1))
def test_the_table_ends_and_questions_do_not(luck: float, asked: float | None, more: int) -> None:
    assert backoff.after(len(backoff.STEPS) + more, luck, retry_after=asked) is None
    assert backoff.for_ever(len(backoff.STEPS) + more, luck) <= backoff.STEPS[-1] * 1000
