"""The writer thread of SQLite: grouped commits, errors that stay where they belong, and an orderly end."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from messagelog.storage import StoreUnavailable, transactions
from messagelog.storage.database import migrate
from messagelog.storage.records.users import UserRow
from messagelog.storage.sqlite.file import FileReplaced
from messagelog.storage.sqlite.store import SqliteStore
from messagelog.storage.sqlite.wal import ForeignLog
from messagelog.storage.urls import sqlite_path
from storage.journal import available, run_sql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from messagelog.storage.transactions import Transaction


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    migrate(made)
    return made


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(sqlite_path(url))
    yield opened
    await opened.close()


class Died(BaseException):
    """What no `except Exception` catches."""


def user(id_: str) -> UserRow:
    return UserRow("acme", "crm", id_, id_, "", None, None, None)


def users(url: str) -> set[str]:
    return {row[0] for row in run_sql(url, 'SELECT "id" FROM "users"')}


def files(url: str) -> dict[str, int]:
    """The database's files and their sizes."""
    return {path.name: path.stat().st_size for path in sqlite_path(url).parent.iterdir()}


class Gate:
    """Holds the writer thread in a script of its own, so that what is written meanwhile becomes one group."""

    def __init__(self, store: SqliteStore) -> None:
        self._entered = threading.Event()
        self._open = threading.Event()
        self._held = asyncio.create_task(store.write(self._script))

    def _script(self) -> Transaction[None]:
        self._entered.set()
        assert self._open.wait(10)
        yield from transactions.save_user(user("held"))

    async def entered(self) -> None:
        await asyncio.to_thread(self._entered.wait)

    async def open(self) -> None:
        self._open.set()
        await self._held


async def _grouped(store: SqliteStore, *jobs: Any) -> list[Any]:
    """What becomes of jobs that are committed together."""
    gate = Gate(store)
    await gate.entered()
    tasks = [asyncio.create_task(store.write(job)) for job in jobs]
    await asyncio.sleep(0)
    await gate.open()
    return list(await asyncio.gather(*tasks, return_exceptions=True))


def _saved(id_: str) -> Any:
    return lambda: transactions.save_user(user(id_))


def _then(id_: str, error: BaseException) -> Any:
    """Writes a user, then fails."""

    def transaction() -> Transaction[None]:
        yield from transactions.save_user(user(id_))
        raise error

    return transaction


def _params(id_: str) -> dict[str, Any]:
    (ask,) = transactions.save_user(user(id_))
    assert isinstance(ask, transactions.Execute)
    return dict(ask.params[0])


async def test_what_no_exception_handler_catches_stays_where_it_belongs_too(
    store: SqliteStore, url: str
) -> None:
    outcomes = await _grouped(store, _saved("a"), _then("x", Died()), _saved("b"))
    assert [type(outcome) for outcome in outcomes] == [type(None), Died, type(None)]
    assert users(url) == {"held", "a", "b"}


async def test_a_script_that_cannot_begin_hangs_nobody(store: SqliteStore, url: str) -> None:
    def never() -> Transaction[None]:
        raise StopIteration

    outcomes = await _grouped(store, never, _saved("a"))
    assert [type(outcome) for outcome in outcomes] == [RuntimeError, type(None)]
    assert users(url) == {"held", "a"}


async def test_when_the_disk_is_full_all_are_told_and_the_next_may_work(store: SqliteStore, url: str) -> None:
    await store.write(_saved("first"))
    assert store._writer._connection is not None
    pages = store._writer._connection.execute("PRAGMA page_count").fetchone()[0]
    store._writer._connection.execute(f"PRAGMA max_page_count={pages}")

    def large() -> Transaction[None]:
        yield transactions.Execute("save_user", [{**_params("large"), "credentials": bytes(100_000)}])

    outcomes = await _grouped(store, _saved("a"), large, _saved("b"))
    assert [str(outcome) for outcome in outcomes] == [
        "the database cannot be used (SQLITE_FULL: database or disk is full)"
    ] * 3
    assert users(url) == {"first", "held"}, "what a caller was told has failed was not kept"
    with pytest.raises(StoreUnavailable):
        await store.write(_saved("refused"))
    await available(store)
    await store.write(_saved("later"))
    assert users(url) == {"first", "held", "later"}


async def test_a_file_that_cannot_be_opened_is_told_and_tried_again(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_seconds: float) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    with monkeypatch.context() as patched:
        patched.setattr(store, "_connect", fails)
        with pytest.raises(sqlite3.OperationalError):
            await store.write(_saved("a"))
    await store.write(_saved("b"))


async def test_another_process_that_writes_is_waited_for(store: SqliteStore, url: str) -> None:
    await store.write(_saved("a"))
    with closing(sqlite3.connect(sqlite_path(url), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(store.write(_saved("b")))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        assert await store.read(lambda: transactions.find_user("acme", "crm", "a")), "reading goes on"
        other.execute("COMMIT")
    await waiting
    assert users(url) == {"a", "b"}


async def test_the_file_is_complete_by_itself_when_the_store_is_closed(url: str) -> None:
    store = SqliteStore(sqlite_path(url))
    await store.write(_saved("a"))
    assert set(files(url)) > {"journal.sqlite"}
    await store.close()
    assert set(files(url)) == {"journal.sqlite", "journal.sqlite-lock"}


@pytest.mark.parametrize("happened", ["replaced", "deleted"])
async def test_a_file_that_is_not_in_its_place_takes_and_gives_nothing(
    store: SqliteStore, url: str, happened: str
) -> None:
    await store.write(_saved("before"))
    path = sqlite_path(url)
    path.rename(path.with_name("before"))
    if happened == "replaced":
        (path.parent / "new").mkdir()
        migrate(f"sqlite:///{path.parent / 'new' / 'journal.sqlite'}")
        (path.parent / "new" / "journal.sqlite").rename(path)
        other = path.read_bytes()
    for _ in range(2):
        with pytest.raises(FileReplaced, match=happened):
            await store.write(_saved("after"))
        with pytest.raises(FileReplaced, match=happened):
            await store.read(lambda: transactions.find_user("acme", "crm", "before"))
    await store.close()
    assert path.exists() is (happened == "replaced")
    if happened == "replaced":
        assert path.read_bytes() == other, "it was not written to, not even at the end"
        with pytest.raises(ForeignLog):  # the log of the other is still there
            SqliteStore(path)


async def test_what_went_into_a_file_that_was_gone_by_then_was_not_written(
    store: SqliteStore, url: str
) -> None:
    path = sqlite_path(url)

    def gone_meanwhile() -> Transaction[None]:
        yield from transactions.save_user(user("a"))
        path.rename(path.with_name("before"))

    with pytest.raises(FileReplaced):
        await store.write(gone_meanwhile)


async def test_the_log_of_writes_does_not_grow_for_ever(store: SqliteStore, url: str) -> None:
    def large() -> Transaction[None]:
        yield transactions.Execute("save_user", [{**_params("a"), "credentials": bytes(100_000)}])

    for _ in range(200):
        await store.write(large)
        await store.read(lambda: transactions.find_user("acme", "crm", "a"))
    assert files(url)["journal.sqlite-wal"] < 8_000_000, "of 20 MB that were written"


async def test_a_commit_waits_for_the_disk(store: SqliteStore) -> None:
    await store.write(_saved("a"))
    assert store._writer._connection is not None
    for connection in (store._writer._connection, store._reader):
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
