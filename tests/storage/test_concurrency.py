"""Many transactions at once, from one store and from several: one claim, one row, and no trouble for others."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from messagelog.storage import open_store, transactions
from messagelog.storage.transactions import Execute, Query
from messagelog.storage.transactions.mapping import new_log, new_log_params
from storage.concurrency import POSTGRES_ONLY, SQLITE_ONLY, TERMS, accepting, blocking, held_up, log_key
from storage.journal import ID, LEASE, SETTLE, Clock, Journal, everything, opened, plan, run_sql, work

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.storage import Store
    from messagelog.storage.transactions import Transaction

# ------------------------------------------------------------------------------------- one log


async def test_fifty_requests_for_one_new_log_make_one_claim(store: Store, database_url: str) -> None:
    journal = Journal(store)
    answers = await asyncio.gather(*(journal.accept("1") for _ in range(50)))
    claims = [answer.claim for answer in answers if answer.claim is not None]
    assert len(claims) == 1
    assert claims[0].step is not None
    assert claims[0].step.ids == ("1",)
    assert {answer.held_by for answer in answers} == {None}
    assert run_sql(database_url, 'SELECT "fence", "owner" FROM "conversationLogs"') == [(1, "me")]


async def test_fifty_messages_of_one_new_log_make_one_claim_and_all_wait(store: Store) -> None:
    journal = Journal(store)
    answers = await asyncio.gather(*(journal.accept(str(number)) for number in range(50)))
    assert sum(answer.claim is not None for answer in answers) == 1
    states = list((await journal.states()).values())
    assert (states.count("calling"), states.count("planned")) == (1, 49)


async def test_of_many_who_claim_a_due_log_one_has_it(database_url: str) -> None:
    clock = Clock()
    async with opened(database_url, clock) as one, opened(database_url, clock) as other:
        journal = Journal(one, clock)
        await journal.claimed("1")
        clock.forward(LEASE + SETTLE)
        sides = [Journal(side, clock).as_owner(f"{n}") for n in range(10) for side in (one, other)]
        claims = [claim for claim in await asyncio.gather(*(side.claim() for side in sides)) if claim]
        assert len(claims) == 1
        assert (await journal.log()).fence == claims[0].log.fence == 2


# ------------------------------------------------------------------------------------- many logs


@pytest.mark.parametrize("seed", [1, 2])
async def test_two_stores_race_for_the_same_ids_under_many_logs(database_url: str, seed: int) -> None:
    chance = random.Random(seed)
    ids = [str(number) for number in range(40)]
    requests = []
    for number in range(30):
        wanted = chance.sample(ids, 25)
        requests += [accepting(*chance.sample(wanted, 25), key=log_key(number)) for _ in range(2)]
    async with opened(database_url) as one, opened(database_url) as other:
        racing = zip((one, other) * len(requests), requests, strict=False)
        answers = await asyncio.gather(*(store.write(request) for store, request in racing))
    holder = dict(run_sql(database_url, 'SELECT "id", "conversationLogId" FROM "messageLogs"'))
    assert set(holder) == set(ids)
    called = [
        (row.id, answer.claim.key.conversation_log_id)
        for answer in answers
        if answer.claim and answer.claim.step
        for row in answer.claim.step.rows
    ]
    assert sorted(called) == sorted(set(called)), "no id is called twice"
    assert dict(called) == holder, "and each in the log that holds it"
    claims = [answer.claim.key for answer in answers if answer.claim]
    assert len(claims) == len(set(claims)) == len(set(holder.values()))


async def test_two_stores_race_for_failed_rows_under_many_logs(database_url: str) -> None:
    chance = random.Random(3)
    ids = [str(number) for number in range(20)]
    async with opened(database_url) as one, opened(database_url) as other:
        await Journal(one).with_failed(*ids)
        requests = [accepting(*chance.sample(ids, 15), key=log_key(number)) for number in range(20)]
        racing = zip((one, other) * 10, requests, strict=True)
        answers = await asyncio.gather(*(store.write(request) for store, request in racing))
    called = [
        id_ for answer in answers if answer.claim and answer.claim.step for id_ in answer.claim.step.ids
    ]
    assert sorted(called) == sorted(set(called)), "no id is called twice"
    assert set(called) == {
        id_
        for (id_,) in run_sql(database_url, """SELECT "id" FROM "messageLogs" WHERE "state" <> 'failed'""")
    }


@POSTGRES_ONLY
async def test_two_requests_that_both_saw_a_row_failed_call_it_once(database_url: str) -> None:
    async with opened(database_url) as store, await psycopg.AsyncConnection.connect(database_url) as session:
        await Journal(store).with_failed("1")
        await session.execute("""SELECT 1 FROM "messageLogs" WHERE "id" = '1' FOR UPDATE""")
        both = [asyncio.create_task(store.write(accepting("1", key=log_key(n)))) for n in (1, 2)]
        await _until_waiting(database_url, 2)
        await session.commit()
        answers = await asyncio.gather(*both)
    (claim,) = [answer.claim for answer in answers if answer.claim]
    assert run_sql(database_url, 'SELECT "conversationLogId", "state" FROM "messageLogs"') == [
        (claim.key.conversation_log_id, "calling")
    ]


async def _until_waiting(url: str, count: int) -> None:
    """Waits until so many sessions stand at a lock."""
    async with asyncio.timeout(10):
        while run_sql(url, "SELECT COUNT(*) FROM pg_locks WHERE NOT granted")[0][0] < count:  # noqa: ASYNC110 - a server announces no waiting
            await asyncio.sleep(0.01)


# ------------------------------------------------------------------------------------- who gives up waiting


async def test_a_waiter_that_is_cancelled_leaves_the_others_alone(store: Store) -> None:
    journal = Journal(store)
    tasks = [asyncio.create_task(journal.accept(str(n), key=log_key(n))) for n in range(40)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(each) for each in results[::2]} == {asyncio.CancelledError}
    for number, answer in list(enumerate(results))[1::2]:
        assert not isinstance(answer, BaseException)
        assert answer.claim is not None
        assert await journal.states(log_key(number)) == {str(number): "calling"}
    assert (await journal.accept("again", key=log_key(99))).claim is not None


@SQLITE_ONLY
async def test_a_waiter_that_is_cancelled_in_the_queue_does_not_stop_the_writer(store: Store) -> None:
    async with held_up(store):
        tasks = [asyncio.create_task(store.write(accepting(str(n), key=log_key(n)))) for n in range(1, 5)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        assert tasks[1].cancelled()
    answers = await asyncio.gather(tasks[0], *tasks[2:])
    assert all(answer.claim for answer in answers)
    assert (await store.write(accepting("5", key=log_key(5)))).claim is not None


@SQLITE_ONLY
def test_a_loop_that_ended_does_not_stop_the_writer(database_url: str) -> None:
    """Who waited there is gone with the loop: the writer goes on for the others."""
    reached, gate = threading.Event(), threading.Event()

    async def abandoned() -> Store:
        store = await open_store(database_url)
        waiting = asyncio.create_task(store.write(blocking(reached, gate)))
        await asyncio.to_thread(reached.wait, 20)
        waiting.cancel()
        return store

    async def after(store: Store) -> None:
        assert (await store.write(accepting("1"))).claim is not None
        await store.close()

    store = asyncio.run(abandoned())
    gate.set()
    asyncio.run(after(store))


# ------------------------------------------------------------------------------------- errors


class Broken(Exception):
    pass


def _breaks_at_once() -> Transaction[None]:
    raise Broken


def _breaks_after_writing() -> Transaction[None]:
    yield from transactions.accept_request(work("bad", key=log_key(50)), plan, TERMS)
    raise Broken


def _breaks_the_schema() -> Transaction[None]:
    yield from transactions.accept_request(work("bad", key=log_key(51)), plan, TERMS)
    yield Execute("insert_log", [{**new_log_params(new_log(work(key=log_key(52)), ID)), "contact_id": None}])
    yield Query("next_due", {})


def _asks_for_what_is_not_there() -> Transaction[None]:
    yield from transactions.accept_request(work("bad", key=log_key(53)), plan, TERMS)
    yield Query("no_such_statement", {})


BREAKING = [_breaks_at_once, _breaks_after_writing, _breaks_the_schema, _asks_for_what_is_not_there]
ERRORS = (Broken, KeyError, sqlite3.IntegrityError, psycopg.errors.NotNullViolation)


@pytest.mark.parametrize("breaking", BREAKING)
async def test_what_a_broken_transaction_wrote_is_undone(
    store: Store, database_url: str, breaking: Callable[[], Transaction[None]]
) -> None:
    before = everything(database_url)
    for _ in range(10):  # more often than there are connections
        with pytest.raises(ERRORS):
            await store.write(breaking)
    assert everything(database_url) == before
    assert (await store.write(accepting("1"))).claim is not None


async def test_an_error_in_one_transaction_does_not_touch_the_others(store: Store, database_url: str) -> None:
    jobs = [job for number in range(20) for job in (accepting(str(number), key=log_key(number)), *BREAKING)]
    results = await asyncio.gather(*(store.write(job) for job in jobs), return_exceptions=True)
    assert [isinstance(result, BaseException) for result in results] == [False, True, True, True, True] * 20
    assert all(isinstance(result, ERRORS) for result in results if isinstance(result, BaseException))
    held = run_sql(database_url, 'SELECT "id" FROM "messageLogs"')
    assert sorted(held) == sorted((str(number),) for number in range(20))


@SQLITE_ONLY
async def test_an_error_in_a_group_does_not_touch_those_that_share_its_commit(
    store: Store, database_url: str
) -> None:
    async with held_up(store):
        jobs = [accepting("1", key=log_key(1)), *BREAKING, accepting("2", key=log_key(2))]
        tasks = [asyncio.create_task(store.write(job)) for job in jobs]
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, BaseException) for result in results] == [False, True, True, True, True, False]
    assert sorted(run_sql(database_url, 'SELECT "id" FROM "messageLogs"')) == [("1",), ("2",)]
