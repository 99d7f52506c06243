"""A database that is away: one waits, the others are refused at once, and it is found out when it is back."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import structlog

from messagelog.storage import StoreUnavailable, transactions
from messagelog.storage.breaker import CircuitBreaker
from messagelog.storage.causes import DatabaseFault
from messagelog.storage.postgres.store import PostgresStore
from messagelog.storage.records.users import UserRow
from messagelog.storage.sqlite.store import SqliteStore
from messagelog.storage.urls import sqlite_path
from storage.journal import available, run_sql
from support.forwarder import forwarding
from support.postgres import port_of, with_port
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, MutableMapping, Sequence

    from messagelog.storage import CheckedStore
    from support.forwarder import Forwarder

pytestmark = pytest.mark.both_loops

ANSWER = 0.3


def saved(id_: str) -> Any:
    row = UserRow("acme", "crm", id_, "", "", None, None, None)
    return lambda: transactions.save_user(row)


def users(url: str) -> set[str]:
    return {row[0] for row in run_sql(url, 'SELECT "id" FROM "users"')}


async def code_of(work: Awaitable[Any]) -> str:
    """The cause for which something is refused."""
    with pytest.raises(StoreUnavailable) as refused:
        await work
    return refused.value.cause.code


async def unavailable(store: CheckedStore) -> None:
    """Waits until the store knows that its database is away."""
    async with asyncio.timeout(10):
        while True:
            try:
                await store.write(saved("is it away?"))
            except StoreUnavailable:
                return


# ----------------------------------------------------------------------------------------- PostgreSQL


@pytest.fixture
def url(postgres_url: str) -> str:
    run_sql(postgres_url, 'TRUNCATE "users", "attempts"')
    return postgres_url


@asynccontextmanager
async def behind_proxy(
    url: str, *, answer_seconds: float = ANSWER
) -> AsyncIterator[tuple[PostgresStore, Forwarder]]:
    """A store that does not wait for long, and the way to its database."""
    async with forwarding(port_of(url)) as proxy:
        store = PostgresStore(with_port(url, proxy.port), answer_seconds=answer_seconds)
        store._connections._pool.timeout = store._connections._pool.reconnect_timeout = ANSWER
        await store.open()
        try:
            yield store, proxy
        finally:
            proxy.resume()
            await store.close()


@pytest.mark.parametrize("way", ["silence", "refuse"])
async def test_everything_is_refused_until_the_database_is_back(url: str, way: str) -> None:
    async with behind_proxy(url) as (store, proxy):
        await store.write(saved("before"))
        getattr(proxy, way)()
        await unavailable(store)
        opened = proxy.connections
        for _ in range(100):
            assert await code_of(store.write(saved("meanwhile"))) in {"08001", "08006"}
            assert await code_of(store.read(transactions.find_keys)) in {"08001", "08006"}
            assert await code_of(store.check()) in {"08001", "08006"}
        assert proxy.connections - opened < 10, "nobody but a probe asks"
        proxy.refuse(refusing=False)
        proxy.resume()
        await available(store)
        await store.write(saved("after"))
        await store.read(transactions.find_keys)
    assert users(url) - {"is it away?"} == {"before", "after"}


async def test_who_waits_together_is_refused_together(url: str) -> None:
    async with behind_proxy(url) as (store, proxy):
        proxy.silence()
        lock = ("acme", "crm", "one")
        works = [store.write(saved(f"{n}"), locks=[lock]) for n in range(20)]
        works += [store.write(saved(f"other {n}"), locks=[("acme", "crm", f"{n}")]) for n in range(20)]
        outcomes = await asyncio.gather(*works, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}


async def test_an_outage_is_told_of_once_with_its_cause(url: str) -> None:
    with structlog.testing.capture_logs() as lines:
        async with behind_proxy(url) as (store, proxy):
            proxy.refuse()
            await unavailable(store)
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await store.write(saved("meanwhile"))
            await until(lambda: events(lines))
            proxy.refuse(refusing=False)
            await available(store)
    assert [line["event"] for line in events(lines)] == ["database_unavailable", "database_available"]
    assert events(lines)[0]["cause"].startswith(("08001: ", "08006: "))


def events(lines: Sequence[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    return [line for line in lines if line["event"].startswith("database_")]


async def test_a_database_that_only_reads_takes_no_write_and_answers_reads(url: str) -> None:
    async with behind_proxy(url) as (store, _):
        run_sql(url, "ALTER DATABASE postgres SET default_transaction_read_only = on")
        run_sql(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        try:
            assert await code_of(store.write(saved("a"))) == "25006"
            assert await code_of(store.check()) == "25006"
            await store.read(transactions.find_keys)
        finally:
            with psycopg.connect(
                url, autocommit=True, options="-c default_transaction_read_only=off"
            ) as other:
                other.execute("ALTER DATABASE postgres RESET default_transaction_read_only")
        await available(store)
        await store.write(saved("b"))
    assert users(url) == {"b"}


async def test_a_lock_that_is_held_for_long_is_no_outage(url: str) -> None:
    # The server gives up a fifth before we do: on a busy machine that has to be more than a moment.
    async with behind_proxy(url, answer_seconds=10 * ANSWER) as (store, _):
        await store.write(saved("a"))
        with psycopg.connect(url) as other:
            other.execute('SELECT 1 FROM "users" FOR UPDATE')
            assert await code_of(store.write(saved("a"))) == "55P03"
            await store.write(saved("b"))
        await store.write(saved("a"))


async def test_a_pool_that_is_exhausted_refuses_until_it_is_free(url: str) -> None:
    async with behind_proxy(url) as (store, _):
        held = [store._connections.acquire() for _ in range(8)]
        store._connections._pool.timeout = 5.0
        for each in held:
            await each.__aenter__()
        store._connections._pool.timeout = 0.05
        assert await code_of(store.write(saved("a"))) == "08001"
        assert await code_of(store.write(saved("a"))) == "08001"
        for each in held:
            await each.__aexit__(None, None, None)
        await available(store)
        await store.write(saved("b"))
    assert users(url) == {"b"}


async def test_closing_does_not_wait_for_a_database_that_is_away(url: str) -> None:
    async with forwarding(port_of(url)) as proxy:
        store = PostgresStore(with_port(url, proxy.port), answer_seconds=ANSWER)
        await store.open()
        waiting = asyncio.create_task(store.write(saved("a")))
        proxy.silence()
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await store.close()
        with pytest.raises(StoreUnavailable):
            await waiting


# --------------------------------------------------------------------------------------------- SQLite


@pytest.fixture
async def file(sqlite_template: Any, tmp_path: Any) -> str:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{path}"


@asynccontextmanager
async def on_file(url: str) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(sqlite_path(url), answer_seconds=ANSWER)
    try:
        yield store
    finally:
        await store.close()


async def test_a_file_that_another_program_holds_is_refused_at_once_and_read(file: str) -> None:
    async with on_file(file) as store:
        await store.write(saved("before"))
        with closing(sqlite3.connect(sqlite_path(file), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert await code_of(store.write(saved("a"))) == "SQLITE_BUSY"
            for _ in range(100):
                assert await code_of(store.write(saved("b"))) == "SQLITE_BUSY"
            assert await code_of(store.check()) == "SQLITE_BUSY"
            await store.read(transactions.find_keys)
            other.execute("COMMIT")
        await available(store)
        await store.write(saved("after"))
    assert users(file) == {"before", "after"}


async def test_a_script_that_takes_too_long_is_interrupted(file: str) -> None:
    async with on_file(file) as store:
        store._statements["slow"] = (
            "WITH RECURSIVE more(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM more) SELECT COUNT(*) FROM more"
        )

        def slow() -> Any:
            yield transactions.Query("slow", {})

        assert await code_of(store.read(slow)) == "SQLITE_INTERRUPT"
        assert await code_of(store.write(slow)) == "SQLITE_INTERRUPT"
        await store.write(saved("a"))
    assert users(file) == {"a"}


async def test_a_writer_that_hangs_keeps_nobody_waiting(file: str) -> None:
    """Hang like a disk that does not answer: nothing can end it, and no caller has to wait for it."""
    async with on_file(file) as store:
        hanging = asyncio.Event()
        loop = asyncio.get_running_loop()

        def hangs() -> Any:
            loop.call_soon_threadsafe(hanging.set)
            time.sleep(4 * ANSWER)
            yield transactions.Execute("save_user", [])

        stuck = asyncio.create_task(store.write(hangs))
        await hanging.wait()
        assert await code_of(store.write(saved("a"))) == "57014"
        assert await code_of(store.write(saved("b"))) == "57014"
        await asyncio.gather(stuck, return_exceptions=True)
        await available(store)
        await store.write(saved("c"))
    assert "b" not in users(file)
    assert "c" in users(file)


# ----------------------------------------------------------------------------------------- the breaker


class Database:
    """What a probe finds; how often one was made."""

    def __init__(self) -> None:
        self.cause: DatabaseFault | None = None
        self.probes = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def probe(self, *, recovering: bool) -> None:
        self.probes += 1
        await self.gate.wait()
        if self.cause is not None:
            raise StoreUnavailable(self.cause)


async def test_those_who_ask_at_once_share_a_probe_and_its_outcome_for_a_second() -> None:
    database, now = Database(), 0.0
    breaker = CircuitBreaker(database.probe, monotonic=lambda: now)
    await asyncio.gather(*(breaker.check() for _ in range(50)))
    assert database.probes == 1
    now = 0.9
    await breaker.check()
    assert database.probes == 1
    now = 1.1
    await breaker.check()
    assert database.probes == 2
    await breaker.close()


async def test_a_check_that_is_given_up_spoils_nothing_for_the_others() -> None:
    database = Database()
    breaker = CircuitBreaker(database.probe)
    database.gate.clear()
    first, second = (asyncio.create_task(breaker.check()) for _ in range(2))
    await until(lambda: database.probes)
    first.cancel()
    database.gate.set()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    await breaker.close()


async def test_a_probe_that_fails_unexpectedly_leaves_the_probing_going() -> None:
    database = Database()

    async def probe(*, recovering: bool) -> None:
        await database.probe(recovering=recovering)
        if database.probes < 3:
            raise ZeroDivisionError

    breaker = CircuitBreaker(probe)
    breaker.open(DatabaseFault("58030", "could not read"), reads=False)
    breaker.raise_if_open(writes=False)
    with pytest.raises(StoreUnavailable):
        breaker.raise_if_open(writes=True)
    await until(lambda: is_passing(breaker))
    assert database.probes == 3
    await breaker.close()


async def test_the_newest_cause_is_told() -> None:
    database = Database()
    database.cause = DatabaseFault("57P03", "the database system is starting up")
    breaker = CircuitBreaker(database.probe)
    breaker.open(DatabaseFault("08001", "Connection refused"), reads=True)
    assert await code_of(breaker.check()) == "08001"
    await until(lambda: database.probes)
    await asyncio.sleep(0)
    assert await code_of(breaker.check()) == "57P03"
    await breaker.close()


def is_passing(breaker: CircuitBreaker) -> bool:
    try:
        breaker.raise_if_open(writes=True)
    except StoreUnavailable:
        return False
    return True
