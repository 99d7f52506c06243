"""What is seen of a transaction that is under way, and what becomes of it when the store is closed."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

import psycopg
import pytest

from messagelog.storage import StoreClosed, open_store, transactions
from messagelog.storage.urls import sqlite_path
from storage.concurrency import SQLITE_ONLY, accepting, held_up, log_key
from storage.journal import Journal, opened, run_sql

if TYPE_CHECKING:
    from messagelog.storage import Store

# ------------------------------------------------------------------------------------- closing


@SQLITE_ONLY
async def test_closing_writes_what_is_queued(database_url: str) -> None:
    store = await open_store(database_url)
    async with held_up(store):
        tasks = [asyncio.create_task(store.write(accepting(str(n), key=log_key(n)))) for n in range(1, 200)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        with pytest.raises(StoreClosed):
            await store.write(accepting("late"))
    await closing
    answers = await asyncio.gather(*tasks)
    assert all(answer.claim for answer in answers)
    assert len(run_sql(database_url, 'SELECT "id" FROM "messageLogs"')) == 199


async def test_closing_while_transactions_wait_does_each_of_them_or_says_that_it_did_not(
    database_url: str,
) -> None:
    store = await open_store(database_url)
    tasks = [asyncio.create_task(store.write(accepting(str(n), key=log_key(n)))) for n in range(50)]
    await asyncio.sleep(0.01)
    await store.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    assert {type(error) for error in errors} <= {StoreClosed}
    written = {id_ for (id_,) in run_sql(database_url, 'SELECT "id" FROM "messageLogs"')}
    assert written == {
        str(number) for number, result in enumerate(results) if not isinstance(result, BaseException)
    }


async def test_a_closed_store_refuses(database_url: str) -> None:
    store = await open_store(database_url)
    await store.close()
    await store.close()
    with pytest.raises(StoreClosed):
        await store.write(accepting("1"))
    with pytest.raises(StoreClosed):
        await store.read(lambda: transactions.list_logs(1))


# ------------------------------------------------------------------------------------- what is seen


async def test_a_read_sees_only_what_is_committed(journal: Journal, database_url: str) -> None:
    await journal.claimed("1")
    change = """UPDATE "messageLogs" SET "state" = 'logged'"""
    if database_url.startswith("sqlite"):
        session = sqlite3.connect(sqlite_path(database_url), isolation_level=None)
        session.execute("BEGIN IMMEDIATE")
        session.execute(change)
        seen = [await journal.states()]
        session.execute("COMMIT")
        session.close()
    else:
        with psycopg.connect(database_url) as other:
            other.execute(change)
            seen = [await journal.states()]
    seen.append(await journal.states())
    assert seen == [{"1": "calling"}, {"1": "logged"}]


@SQLITE_ONLY
async def test_reading_goes_on_while_the_writer_is_at_work(store: Store) -> None:
    async with held_up(store):
        assert await store.read(lambda: transactions.show_logs("log-0")) == []
    assert len(await store.read(lambda: transactions.show_logs("log-0"))) == 1


async def test_what_a_write_returned_for_is_seen_by_everybody(database_url: str) -> None:
    async with opened(database_url) as one, opened(database_url) as other:
        for number in range(20):
            await Journal(one).claimed(str(number), key=log_key(number))
            assert await Journal(other).states(log_key(number)) == {str(number): "calling"}


@SQLITE_ONLY
async def test_what_reads_cannot_write(store: Store) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await store.read(accepting("1"))
