"""Scripts that come at the same time are run as one, and none of them can tell."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.errors import NotNullViolation

from messagelog.storage import StoreUnavailable, transactions
from messagelog.storage.postgres.group_commit import GroupCommitter
from messagelog.storage.postgres.store import PostgresStore
from messagelog.storage.records.journal import LogKey
from messagelog.storage.records.users import UserRow
from storage.journal import end_all_connections, run_sql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from messagelog.storage.queued import QueuedWork
    from messagelog.storage.store import Lock
    from messagelog.storage.transactions import Transaction


def lock(name: str) -> Lock:
    return ("acme", "crm", name)


def nothing() -> Transaction[None]:
    yield transactions.Query("next_due", {})


# ---------------------------------------------------------------------------------------- the gathering


class Runs:
    """Ends jobs with the number of their group when it is let go; sees to it that no lock is held twice."""

    def __init__(self) -> None:
        self.groups: list[list[QueuedWork]] = []
        self.held: Counter[Lock] = Counter()
        self.gate = asyncio.Event()

    async def __call__(self, jobs: list[QueuedWork]) -> None:
        number = len(self.groups)
        self.groups.append(jobs)
        self.held.update(lock for job in jobs for lock in job.locks)
        assert all(count == 1 for count in self.held.values()), "a lock is held by one at a time"
        await self.gate.wait()
        self.held.subtract(lock for job in jobs for lock in job.locks)
        self.held += Counter()
        for job in jobs:
            job.resolve(number)

    def sizes(self) -> list[int]:
        return [len(group) for group in self.groups]


async def test_whoever_comes_meanwhile_goes_together() -> None:
    runs = Runs()
    gathering = GroupCommitter(runs, groups=1)
    first = asyncio.create_task(gathering.submit(nothing))
    await asyncio.sleep(0.01)
    others = [asyncio.create_task(gathering.submit(nothing)) for _ in range(5)]
    await asyncio.sleep(0.01)
    assert runs.sizes() == [1]
    runs.gate.set()
    assert await first == 0
    assert await asyncio.gather(*others) == [1] * 5
    assert runs.sizes() == [1, 5]


async def test_a_group_that_takes_long_holds_up_nobody_but_who_needs_its_locks() -> None:
    runs = Runs()
    gathering = GroupCommitter(runs, groups=1)
    slow = asyncio.create_task(gathering.submit(nothing, [lock("a")]))
    await asyncio.sleep(0.01)
    same = asyncio.create_task(gathering.submit(nothing, [lock("b"), lock("a")]))
    behind = asyncio.create_task(gathering.submit(nothing, [lock("b")]))
    other = asyncio.create_task(gathering.submit(nothing, [lock("c")]))
    await asyncio.sleep(0.2)
    assert [[job.locks for job in group] for group in runs.groups] == [[[lock("a")]], [[lock("c")]]]
    runs.gate.set()
    await asyncio.gather(slow, same, behind, other)
    assert [[job.locks for job in group] for group in runs.groups[2:]] == [
        [[lock("b"), lock("a")]],
        [[lock("b")]],
    ], "in their order"


async def test_an_error_that_nobody_caught_is_every_jobs() -> None:
    async def broken(_jobs: list[QueuedWork]) -> None:
        raise RuntimeError("no database")

    gathering = GroupCommitter(broken, groups=1)
    errors = await asyncio.gather(*(gathering.submit(nothing) for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in errors] == ["no database"] * 3
    await gathering.close()


async def test_closing_waits_for_all_that_was_asked() -> None:
    runs = Runs()
    gathering = GroupCommitter(runs, groups=1)
    asked = [asyncio.create_task(gathering.submit(nothing, [lock("a")])) for _ in range(4)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(gathering.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    runs.gate.set()
    await closing
    assert all(task.done() for task in asked)


@settings(max_examples=40)
@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=3), max_size=30), st.integers(1, 3))
def test_jobs_with_a_lock_in_common_are_never_together_and_keep_their_order(
    wanted: list[list[str]], groups: int
) -> None:
    async def all_of_them() -> None:
        runs = Runs()
        runs.gate.set()
        gathering = GroupCommitter(runs, groups=groups)
        locks: list[Sequence[Lock]] = [[lock(name) for name in dict.fromkeys(names)] for names in wanted]
        await asyncio.gather(*(gathering.submit(nothing, each) for each in locks))
        place = {id(job.locks): number for number, group in enumerate(runs.groups) for job in group}
        assert len(place) == len(locks)
        for later, ones in enumerate(locks):
            for earlier in locks[:later]:
                if set(earlier) & set(ones):
                    assert place[id(earlier)] < place[id(ones)]

    asyncio.run(all_of_them())


# -------------------------------------------------------------------------- shared transactions, for real


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    run_sql(postgres_url, 'TRUNCATE "conversationLogs", "messageLogs", "users"')
    opened = PostgresStore(postgres_url, connections=4)
    await opened.open()
    yield opened
    await opened.close()


def saving(id_: str, *, then: Callable[[], None] = lambda: None, name: str | None = "") -> Any:
    """Saves a user, looks whether it is there, and does something then."""

    def transaction() -> Transaction[str]:
        row = UserRow("acme", "crm", id_, "", "", None, None, None)
        (ask,) = transactions.save_user(row)
        assert isinstance(ask, transactions.Execute)
        yield transactions.Execute(ask.name, [{**ask.params[0], "name": name}])
        found = yield transactions.Query("find_user", {"tenant": "acme", "platform": "crm", "id": id_})
        assert found
        then()
        return id_

    return transaction


async def together(store: PostgresStore, *scripts_: tuple[str, Any]) -> list[Any]:
    """The outcomes of scripts that are under way in one transaction."""
    tasks = [
        asyncio.create_task(store.write(transaction, locks=[lock(name)])) for name, transaction in scripts_
    ]
    return await asyncio.gather(*tasks, return_exceptions=True)


def users(url: str) -> set[str]:
    return {row[0] for row in run_sql(url, 'SELECT "id" FROM "users"')}


async def test_many_scripts_are_one_transaction(store: PostgresStore, postgres_url: str) -> None:
    names = [str(number) for number in range(20)]
    assert await together(store, *((name, saving(name)) for name in names)) == names
    made = run_sql(postgres_url, 'SELECT DISTINCT xmin FROM "users"')
    assert len(made) == 1, "one transaction wrote them all"
    assert users(postgres_url) == set(names)


async def test_a_script_that_fails_takes_no_other_with_it(store: PostgresStore, postgres_url: str) -> None:
    def fails() -> None:
        raise LookupError("on its own account")

    outcomes = await together(
        store,
        ("a", saving("a")),
        ("b", saving("b", then=fails)),
        ("c", saving("c", name=None)),
        ("d", saving("d")),
    )
    assert [type(outcome) for outcome in outcomes] == [str, LookupError, NotNullViolation, str]
    assert users(postgres_url) == {"a", "d"}


async def test_a_connection_lost_on_the_way_is_nobodys_trouble(
    store: PostgresStore, postgres_url: str
) -> None:
    lost = 0

    def loses() -> None:
        nonlocal lost
        lost += 1
        if lost == 1:
            end_all_connections(postgres_url)

    def asks_again() -> Transaction[str]:
        yield from saving("b", then=loses)()
        yield transactions.Query("next_due", {})
        return "b"

    assert await together(store, ("a", saving("a")), ("b", asks_again)) == ["a", "b"]
    assert users(postgres_url) == {"a", "b"}


async def test_a_commit_that_may_have_been_made_is_not_repeated_for_anybody(
    store: PostgresStore, postgres_url: str
) -> None:
    runs: Counter[str] = Counter()

    def counted(name: str, *, ends: bool = False) -> Any:
        def then() -> None:
            runs[name] += 1
            if ends:
                end_all_connections(postgres_url)

        return saving(name, then=then)

    outcomes = await together(store, ("a", counted("a")), ("b", counted("b", ends=True)))
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert runs == {"a": 1, "b": 1}
    assert users(postgres_url) == set()


async def test_a_script_that_nobody_waits_for_any_more_is_done_all_the_same(
    store: PostgresStore, postgres_url: str
) -> None:
    left = asyncio.create_task(store.write(saving("left"), locks=[lock("left")]))
    stays = asyncio.create_task(store.write(saving("stays"), locks=[lock("stays")]))
    await asyncio.sleep(0)
    left.cancel()
    assert await stays == "stays"
    assert users(postgres_url) == {"left", "stays"}


async def test_a_read_that_fails_takes_no_other_with_it(store: PostgresStore) -> None:
    def bad() -> Transaction[Any]:
        return transactions.report_rows(LogKey("acme", "crm", "log"), ["a\0b"])

    outcomes = await asyncio.gather(
        store.read(transactions.find_next_due),
        store.read(bad),
        store.read(transactions.find_next_due),
        return_exceptions=True,
    )
    assert outcomes[0] is None
    assert isinstance(outcomes[1], psycopg.DataError)
    assert outcomes[2] is None
