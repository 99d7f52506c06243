"""Whether the task of a call is cut off in time, so that its requests need no clock of their own."""

from __future__ import annotations

import asyncio

import pytest

from messagelog.core.rate_limits.call_context import for_work, has_deadline_within, single_call


async def test_only_the_task_of_a_call_is_cut_off_with_it() -> None:
    async def in_another_task() -> bool:
        return has_deadline_within(5.0)

    with for_work("c1", live_until=0.0), single_call(5.0):
        assert has_deadline_within(5.0)
        assert has_deadline_within(6.0)
        assert not has_deadline_within(4.9), "a request that has less time looks after itself"
        assert not await asyncio.create_task(in_another_task()), "it may outlive the call"
        with single_call():
            assert not has_deadline_within(5.0)
        assert has_deadline_within(5.0)
    assert not has_deadline_within(5.0)


async def test_what_is_done_after_the_cut_needs_a_clock_of_its_own() -> None:
    """A connector tidies up once its call was cut off: that is done once."""
    tidying = []

    async def call() -> None:
        with single_call(5.0):
            try:
                await asyncio.Event().wait()
            finally:
                tidying.append(has_deadline_within(5.0))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call(), 0.001)
    assert tidying == [False]
