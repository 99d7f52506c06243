"""Two processes that do something to one log at the same moment: one is first, and both know it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from messagelog.storage import RowState, transactions
from messagelog.storage.records.contacts import NewContactKey
from messagelog.storage.records.journal import LeasePolicy
from messagelog.storage.records.limits import LimiterChange
from storage.concurrency import log_key
from storage.journal import ID, LEASE, SETTLE, Clock, Journal, became, opened, plan, run_sql, work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

T = TypeVar("T")

ROUNDS = 8
ON_POSTGRES = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)  # SQLite has one writer


@pytest.fixture
async def other(database_url: str, clock: Clock) -> AsyncIterator[Journal]:
    """Another process on the same database, as far as the database can tell."""
    async with opened(database_url, clock) as store:
        yield Journal(store, clock, LeasePolicy("other", LEASE, SETTLE, batch=1, journal=ID))


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

    def slow() -> transactions.Transaction[None]:
        inner = transactions.save_outcome(
            claim.log, became(RowState.FAILED, "1"), lambda *_: None, journal.policy
        )
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
    asked: list[transactions.Query | transactions.Execute] = []

    def watched() -> transactions.Transaction[Any]:
        inner, answer = transactions.accept_request(made, plan, journal.policy), None
        while True:
            try:
                ask = inner.send(answer)
            except StopIteration as end:
                return end.value
            asked.extend(ask.commands if isinstance(ask, transactions.Batch) else (ask,))
            answer = yield ask

    await journal.store.write(watched)
    written = {ask.name: ask.params for ask in asked if isinstance(ask, transactions.Execute)}
    assert [params["id"] for params in written["insert_row"]] == ["1", "2", "3", "4"]
    assert [params["id"] for params in written["replan_row"]] == ["5", "6", "7"]
    names = [ask.name for ask in asked]
    assert names.index("lock_log") < names.index("lock_failed") < names.index("insert_row")


# ------------------------------------------------------------------------------ erased in the same instant


def _erasing_before(
    lock: str, transaction: transactions.Transaction[T], erase: Callable[[], object]
) -> Callable[[], transactions.Transaction[T]]:
    """The script, with something erased between its insert, which finds it there, and its lock, which does not."""
    erased: list[object] = []

    def run() -> transactions.Transaction[T]:
        answer: Any = None
        while True:
            try:
                ask = transaction.send(answer)
            except StopIteration as end:
                value: T = end.value
                return value
            answers = []
            for each in ask.commands if isinstance(ask, transactions.Batch) else (ask,):
                if each.name == lock and not erased:
                    yield transactions.Query("next_due", {})  # all that was to be done is done by now
                    erased.append(erase())
                rows = yield each
                if isinstance(each, transactions.Query):
                    answers.append(rows)
            answer = answers if isinstance(ask, transactions.Batch) else (answers or [None])[0]

    return run


@ON_POSTGRES
async def test_what_is_accepted_while_its_log_is_erased_is_accepted_anew(
    journal: Journal, database_url: str
) -> None:
    await journal.with_logged("1")

    def erase() -> None:
        run_sql(database_url, 'DELETE FROM "messageLogs"')
        run_sql(database_url, 'DELETE FROM "conversationLogs"')

    accepting = transactions.accept_request(work("1", "2"), plan, journal.policy)
    accepted = await journal.store.write(_erasing_before("lock_log", accepting, erase))
    assert accepted.claim is not None
    assert accepted.claim.step is not None
    assert (accepted.claim.step.call, accepted.claim.step.ids) == ("create", ("1",))
    assert await journal.states() == {"1": "calling", "2": "planned"}


@ON_POSTGRES
async def test_a_pace_and_a_new_contact_that_are_erased_meanwhile_begin_anew(
    journal: Journal, database_url: str
) -> None:
    def changed(text: str, _now: int) -> tuple[LimiterChange, str]:
        return LimiterChange("{}", "closed", None, None, None), text

    write = journal.store.write
    await write(lambda: transactions.update_limiter("acme", "crm", lambda *_: changed("", 0)))
    asking = transactions.update_limiter("acme", "crm", changed)
    erase = partial(run_sql, database_url, 'DELETE FROM "paces"')
    assert await write(_erasing_before("lock_pace", asking, erase)) == "{}"

    key = NewContactKey("acme", "crm", "key")
    await write(lambda: transactions.claim_new_contact(key, "another", 1_000))
    claiming = transactions.claim_new_contact(key, "me", 1_000)
    erase = partial(run_sql, database_url, 'DELETE FROM "newContacts"')
    claim = await write(_erasing_before("lock_new_contact", claiming, erase))
    assert (claim.mine, claim.ask_first) == (True, False)
