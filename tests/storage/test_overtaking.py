"""Two processes that do something to one log at the same moment: one is first, and both know it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from messagelog.storage import RowState, scripts
from messagelog.storage.rows import Terms
from storage.crowd import log_key
from storage.journal import LEASE, SETTLE, Clock, Journal, became, opened, plan, run_sql, work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROUNDS = 8


@pytest.fixture
async def other(database_url: str, clock: Clock) -> AsyncIterator[Journal]:
    """Another process on the same database, as far as the database can tell."""
    async with opened(database_url, clock) as store:
        yield Journal(store, clock, Terms("other", LEASE, SETTLE, batch=1))


async def test_two_contacts_of_one_new_log_are_not_mixed(journal: Journal, other: Journal) -> None:
    for number in range(ROUNDS):
        key = log_key(number)
        accepted = await asyncio.gather(
            journal.accept(f"{number}a", key=key, contact="c-1"),
            other.accept(f"{number}b", key=key, contact="c-2"),
        )
        (claim,) = [each.claim for each in accepted if each.claim is not None]
        assert [each.held_by for each in accepted].count(None) == 1
        (row,) = (await journal.rows(key)).values()
        assert claim.step is not None
        assert claim.step.ids == (row.id,)


async def test_a_message_that_comes_while_the_last_one_is_saved_is_taken_up(
    journal: Journal, other: Journal
) -> None:
    """Either the request claims the log, or the save that lets it go sees the new row: never neither, never both."""
    for number in range(3 * ROUNDS):
        key = log_key(number)
        claim = await journal.claimed(f"{number}a", key=key)
        following, accepted = await asyncio.gather(
            journal.done(claim), other.accept(f"{number}b", key=key, user="bob")
        )
        claims = [each for each in (following, accepted.claim) if each is not None]
        assert len(claims) == 1
        assert claims[0].step is not None
        assert claims[0].step.ids == (f"{number}b",)


async def test_a_lost_claim_is_lost_whoever_is_faster(journal: Journal, other: Journal) -> None:
    for number in range(ROUNDS):
        key = log_key(number)
        claim = await journal.claimed(f"{number}", key=key)
        journal.clock.forward(LEASE + SETTLE)
        saved, taken = await asyncio.gather(journal.done(claim), other.claim(key), return_exceptions=True)
        state = (await journal.states(key))[f"{number}"]
        if taken is None:
            assert (saved, state) == (None, "logged")
        else:
            assert (type(saved).__name__, state) == ("ClaimLost", "calling")


async def test_nothing_of_a_transaction_is_seen_before_its_commit(
    journal: Journal, database_url: str
) -> None:
    """As another connection sees it after each of its statements."""
    claim = await journal.claimed("1")
    seen: list[Any] = []

    def slow() -> scripts.Script[None]:
        inner = scripts.save(claim.log, became(RowState.FAILED, "1"), lambda *_: None, journal.terms)
        answer = None
        while True:
            try:
                ask = inner.send(answer)
            except StopIteration:
                return
            answer = yield ask
            seen.extend(run_sql(database_url, 'SELECT "state" FROM "messageLogs"'))

    await journal.store.write(slow)
    assert set(seen) == {("calling",)}
    assert await journal.states() == {"1": "failed"}


# ------------------------------------------------------------------------------------- the order of locks


async def test_rows_are_written_in_the_order_of_their_ids_so_that_no_two_requests_deadlock(
    journal: Journal,
) -> None:
    await journal.with_failed("7", "5", "6", key=log_key(1))
    made = work("4", "7", "1", "5", "3", "6", "2", key=log_key(2))
    asked: list[scripts.Fetch | scripts.Do] = []

    def watched() -> scripts.Script[Any]:
        inner, answer = scripts.accept(made, plan, journal.terms), None
        while True:
            try:
                ask = inner.send(answer)
            except StopIteration as end:
                return end.value
            asked.extend(ask.asks if isinstance(ask, scripts.Together) else (ask,))
            answer = yield ask

    await journal.store.write(watched)
    written = {ask.name: ask.params for ask in asked if isinstance(ask, scripts.Do)}
    assert [params["id"] for params in written["insert_row"]] == ["1", "2", "3", "4"]
    assert [params["id"] for params in written["replan_row"]] == ["5", "6", "7"]
    names = [ask.name for ask in asked]
    assert names.index("lock_log") < names.index("lock_failed") < names.index("insert_row")
