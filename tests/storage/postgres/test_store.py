"""Connections to PostgreSQL: lost ones are replaced, undone transactions are run again, nothing waits for ever."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.errors import DataError, DeadlockDetected, NotNullViolation, UndefinedTable

from messagelog.storage import StoreUnavailable, transactions
from messagelog.storage.postgres.store import PostgresStore
from messagelog.storage.records.journal import LogKey
from messagelog.storage.records.users import UserRow
from storage.journal import KEY, Journal, available, end_all_connections, new, plan, run_sql, work
from support.postgres import with_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from messagelog.storage.transactions import Transaction


@pytest.fixture
def url(postgres_url: str) -> str:
    run_sql(postgres_url, 'TRUNCATE "conversationLogs", "messageLogs", "users"')
    return postgres_url


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    opened = PostgresStore(url, connections=4)
    await opened.open()
    yield opened
    await opened.close()


def user(id_: str, name: str = "") -> UserRow:
    return UserRow("acme", "crm", id_, name, "", None, None, None)


def users(url: str) -> set[str]:
    return {row[0] for row in run_sql(url, 'SELECT "id" FROM "users"')}


def _saved(*ids: str) -> Any:
    def transaction() -> Transaction[None]:
        for id_ in ids:
            yield from transactions.save_user(user(id_))
        yield transactions.Query("next_due", {})

    return transaction


# ---------------------------------------------------------------------------------- lost connections


async def test_lost_connections_are_not_the_callers_trouble(store: PostgresStore, url: str) -> None:
    await asyncio.gather(*(store.write(_saved(f"{number}")) for number in range(20)))
    for round_ in range(3):
        assert end_all_connections(url) > 0
        await asyncio.gather(*(store.write(_saved(f"{round_}-{number}")) for number in range(8)))
        end_all_connections(url)
        assert await store.read(lambda round_=round_: transactions.find_user("acme", "crm", f"{round_}-7"))  # type: ignore[misc] # the default binds the loop's value
    assert len(users(url)) == 20 + 24


async def test_a_stale_connection_is_found_out_by_a_transaction_that_asks_nothing(
    store: PostgresStore, url: str
) -> None:
    for number in range(3):
        await store.write(lambda number=number: transactions.save_user(user(f"{number}")))  # type: ignore[misc] # the default binds the loop's value
        assert end_all_connections(url) > 0
    await store.write(lambda: transactions.save_user(user("last")))
    assert users(url) == {"0", "1", "2", "last"}


async def test_a_transaction_whose_connection_is_lost_is_run_again(store: PostgresStore, url: str) -> None:
    runs = 0

    def transaction() -> Transaction[int]:
        nonlocal runs
        runs += 1
        yield from transactions.save_user(user(f"run-{runs}"))
        yield transactions.Query("next_due", {})
        if runs < 3:
            end_all_connections(url)
        yield transactions.Query("next_due", {})
        return runs

    assert await store.write(transaction) == 3
    assert users(url) == {"run-3"}


async def test_a_connection_that_is_lost_by_every_try_is_told(store: PostgresStore, url: str) -> None:
    def transaction() -> Transaction[None]:
        yield transactions.Query("next_due", {})
        end_all_connections(url)
        yield transactions.Query("next_due", {})

    with pytest.raises(StoreUnavailable) as refused:
        await store.write(transaction)
    assert refused.value.cause.code in {"57P01", "08006"}, (
        "it depends on whether the server's last words arrive"
    )
    await available(store)
    with pytest.raises(StoreUnavailable):
        await store.read(transaction)
    await available(store)
    await store.write(_saved("a"))


async def test_a_commit_that_may_have_been_made_is_not_repeated(store: PostgresStore, url: str) -> None:
    runs = 0

    def transaction() -> Transaction[None]:
        nonlocal runs
        runs += 1
        yield from transactions.save_user(user("a"))
        yield transactions.Query("next_due", {})
        end_all_connections(url)

    with pytest.raises(StoreUnavailable):
        await store.write(transaction)
    assert runs == 1
    await store.write(_saved("b"))
    assert users(url) == {"b"}


async def test_a_cancelled_wait_leaves_nothing_half_done(store: PostgresStore, url: str) -> None:
    await store.write(_saved("a"))
    for delay_ms in range(0, 60, 2):  # also while a connection is waited for, or arrives
        # For each round by itself: the server notices that its client is gone when it gets the lock.
        with _locked(url, "a"):
            waits = [asyncio.create_task(store.write(_saved(f"b{n}", "a"))) for n in range(4)]
            await asyncio.sleep(delay_ms / 1000)
            for task in waits:
                task.cancel()
            outcomes = await asyncio.gather(*waits, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}
            await store.write(_saved("c"))
    await store.write(_saved("a"))
    assert users(url) == {"a", "c"}


async def test_a_database_that_does_not_answer_is_told() -> None:
    store = PostgresStore("postgresql://nobody@127.0.0.1:1/nothing")
    store._connections._pool.timeout = 0.2
    with pytest.raises(StoreUnavailable) as refused:
        await store.open()
    assert str(refused.value.cause) == "08001: Connection refused"


# -------------------------------------------------------------------------- transactions of several


async def test_who_dies_in_a_deadlock_is_run_again(url: str) -> None:
    store = PostgresStore(with_options(url, options="-c deadlock_timeout=20ms"))
    await store.open()
    await store.write(_saved("a", "b"))
    runs = 0

    def writes(first: str, second: str) -> Any:
        def transaction() -> Transaction[None]:
            nonlocal runs
            runs += 1
            for id_ in (first, second):
                yield from transactions.save_user(user(id_, name=f"{first}{second}"))
                yield transactions.Query("next_due", {})

        return transaction

    for _ in range(20):
        await asyncio.gather(store.write(writes("a", "b")), store.write(writes("b", "a")))
        if runs % 2:
            break
    assert runs % 2, "one of two was run a second time"
    names = {row[0] for row in run_sql(url, 'SELECT "name" FROM "users"')}
    assert len(names) == 1, "and wrote both of its rows"
    await store.close()


async def test_an_undone_transaction_is_repeated_so_often_and_then_told(store: PostgresStore) -> None:
    runs = 0

    def transaction() -> Transaction[None]:
        nonlocal runs
        runs += 1
        yield transactions.Query("next_due", {})
        raise DeadlockDetected

    with pytest.raises(StoreUnavailable) as refused:
        await store.write(transaction)
    assert runs == 5
    assert refused.value.cause.code == "40P01"
    await store.write(_saved("the others go on"))


async def test_an_error_of_the_database_undoes_all_and_leaves_the_connection(
    store: PostgresStore, url: str
) -> None:
    def refused() -> Transaction[None]:
        yield from transactions.save_user(user("a"))
        yield transactions.Execute("save_user", [{**_params("b"), "name": None}])
        yield transactions.Query("next_due", {})

    def refused_at_the_end() -> Transaction[None]:
        yield from transactions.save_user(user("a"))
        yield transactions.Execute("save_user", [{**_params("b"), "name": None}])

    def unencodable() -> Transaction[None]:
        yield from transactions.save_user(user("a"))
        yield transactions.Query("next_due", {})
        yield from transactions.save_user(user("\ud83d"))

    backends = await _backends(store)
    for transaction, error in (
        (refused, NotNullViolation),
        (refused_at_the_end, NotNullViolation),
        (unencodable, UnicodeEncodeError),
    ):
        for _ in range(3):
            with pytest.raises(error):
                await store.write(transaction)
    assert users(url) == set()
    await store.write(_saved("c"))
    assert await _backends(store) == backends, "no connection had to be replaced"


async def test_text_that_cannot_be_stored_is_refused_and_not_cut(store: PostgresStore, url: str) -> None:
    with pytest.raises(DataError):
        await store.write(_saved("a\0b"))
    with pytest.raises(DataError):
        await store.read(lambda: transactions.report_rows(LogKey("acme", "crm", "log"), ["a\0b"]))
    assert users(url) == set()


async def test_a_statement_that_could_not_be_prepared_is_prepared_the_next_time(
    store: PostgresStore, url: str
) -> None:
    run_sql(url, 'ALTER TABLE "users" RENAME TO "away"')
    try:
        for _ in range(2):
            with pytest.raises(UndefinedTable):
                await store.write(_saved("a"))
            with pytest.raises(UndefinedTable):
                await store.read(lambda: transactions.find_user("acme", "crm", "a"))
    finally:
        run_sql(url, 'ALTER TABLE "away" RENAME TO "users"')
    await store.write(_saved("a"))
    assert users(url) == {"a"}


def _params(id_: str) -> dict[str, Any]:
    (ask,) = transactions.save_user(user(id_))
    assert isinstance(ask, transactions.Execute)
    return dict(ask.params[0])


async def _backends(store: PostgresStore) -> set[int]:
    async with store._connections.acquire() as connection:
        return {connection.info.backend_pid}


# -------------------------------------------------------------------------------------------- waiting


@contextmanager
def _locked(url: str, id_: str) -> Iterator[None]:
    """Another process is in the middle of a transaction with a user's row."""
    with psycopg.connect(url) as other:
        other.execute('SELECT 1 FROM "users" WHERE "id" = %s FOR UPDATE', (id_,))
        yield


async def test_more_transactions_than_connections(store: PostgresStore, url: str) -> None:
    await asyncio.gather(*(store.write(_saved(f"{number}")) for number in range(200)))
    assert len(users(url)) == 200
    connections = run_sql(url, "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'messagelog'")
    assert connections[0][0] <= 4


async def test_a_lock_that_is_waited_for_does_not_stop_the_loop(store: PostgresStore, url: str) -> None:
    await store.write(_saved("a"))
    with _locked(url, "a"):
        waiting = asyncio.create_task(store.write(_saved("a")))
        await asyncio.sleep(0.05)
        await store.write(_saved("b"))
        assert not waiting.done()
    await waiting


async def test_the_time_is_read_after_the_lock_was_waited_for(store: PostgresStore, url: str) -> None:
    """The last holder changed nothing in the log: a lease of the next one must not begin before it has the log."""
    journal = Journal(store)
    await journal.with_failed("1")
    held, freed = threading.Event(), 0.0

    def hold() -> None:
        nonlocal freed
        with psycopg.connect(url) as other:
            other.execute('SELECT 1 FROM "conversationLogs" FOR UPDATE')
            held.set()
            time.sleep(0.2)
            freed = other.execute("SELECT extract(epoch FROM clock_timestamp()) * 1000").fetchall()[0][0]

    holding = asyncio.create_task(asyncio.to_thread(hold))
    await asyncio.to_thread(held.wait)
    claim = await journal.claimed("2")
    await holding
    assert claim.log.due_at is not None
    assert claim.log.due_at - journal.policy.lease_ms - journal.policy.settle_ms >= int(freed)


async def _setting(store: PostgresStore, name: str) -> str:
    async with store._connections.acquire() as connection:
        row = await (await connection.execute("SELECT current_setting(%s)", (name,))).fetchone()
        assert row is not None
        return str(row[0])


async def test_nothing_waits_for_ever(store: PostgresStore) -> None:
    assert await _setting(store, "lock_timeout") == "8s"
    assert await _setting(store, "statement_timeout") == "9s"
    assert await _setting(store, "idle_in_transaction_session_timeout") == "5s"


@pytest.mark.parametrize(
    ("default", "used"), [("off", "local"), ("on", "on"), ("remote_apply", "remote_apply")]
)
async def test_what_is_committed_is_on_disk_whatever_the_databases_default(
    url: str, default: str, used: str
) -> None:
    store = PostgresStore(with_options(url, options=f"-c synchronous_commit={default}"))
    await store.open()
    assert await _setting(store, "synchronous_commit") == used
    await store.close()


async def test_the_url_has_the_last_word_about_a_connection(url: str) -> None:
    store = PostgresStore(with_options(url, application_name="mine"))
    await store.open()
    assert await _setting(store, "application_name") == "mine"
    assert await _setting(store, "client_encoding") == "UTF8"
    await store.close()


async def test_whatever_the_databases_default_is_a_script_sees_what_is_committed(url: str) -> None:
    store = PostgresStore(with_options(url, options="-c default_transaction_isolation=serializable"))
    await store.open()

    def transaction() -> Transaction[None]:
        yield transactions.Query("next_due", {})
        run_sql(url, """INSERT INTO "users" VALUES ('acme', 'crm', 'late', '', '', NULL, NULL, NULL, 0, 0)""")
        found = yield transactions.Query("find_user", {"tenant": "acme", "platform": "crm", "id": "late"})
        assert found

    await store.write(transaction)
    await store.close()


async def test_a_very_large_request_passes(store: PostgresStore) -> None:
    """Far more than the sockets' buffers hold, in one exchange, both ways."""
    rows = [new(f"{number}", text="x" * 20_000) for number in range(600)]
    made = work(*rows)
    journal = Journal(store).in_batches()
    claim = (await store.write(lambda: transactions.accept_request(made, plan, journal.policy))).claim
    assert claim is not None
    assert claim.step is not None
    assert len(claim.step.rows) == 200
    assert await journal.done(claim) is not None
    assert len(await journal.rows(KEY)) == 600
