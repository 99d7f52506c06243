"""Copies of a SQLite file: of one moment, whole or not there, and put in the file's place with nothing beside it."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sqlite3
import stat
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from messagelog.storage import UserRow, transactions
from messagelog.storage.database import schema_version
from messagelog.storage.sqlite.copy import BadCopy, Copy, make_copy, restore_copy
from messagelog.storage.sqlite.file import FileInUse, RestoreUnfinished
from messagelog.storage.sqlite.store import SqliteStore
from messagelog.storage.sqlite.wal import ForeignLog
from messagelog.storage.urls import SCHEMA_VERSION
from storage.files import add_operators, journal_file, operators

if TYPE_CHECKING:
    from pathlib import Path

    from messagelog.storage.transactions import Transaction


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return journal_file(tmp_path / "data" / "journal.sqlite", "ada")


@pytest.fixture
def copy(path: Path, tmp_path: Path) -> Path:
    made = tmp_path / "copy"
    make_copy(path, made)
    return made


def at_once(_copy: Copy) -> None:
    """Confirm without a question."""


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def edited(copy: Path, statement: str) -> Path:
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute(statement)
    return copy


# ---------------------------------------------------------------------------------------------- copies


def test_a_copy_holds_all_and_stands_by_itself(path: Path, tmp_path: Path) -> None:
    made = make_copy(path, tmp_path / "copy")
    assert made == Copy((tmp_path / "copy").stat().st_size, SCHEMA_VERSION, 0, None)
    assert names(tmp_path) == {"data", "copy"}
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600
    assert operators(tmp_path / "copy") == ["ada"]
    assert names(tmp_path) == {"data", "copy"}, "nor does it take files beside it to read it"


def test_a_copy_has_what_is_still_in_the_log(path: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(path)) as writer:
        assert writer.execute("SELECT COUNT(*) FROM operators").fetchone() == (1,)
        add_operators(path, "grace")
        assert path.with_name("journal.sqlite-wal").stat().st_size
        make_copy(path, tmp_path / "copy")
        assert writer.execute("SELECT COUNT(*) FROM operators").fetchone() == (2,)
    assert operators(tmp_path / "copy") == ["ada", "grace"]


def pair(number: int) -> Transaction[None]:
    """Two rows that no copy may have one of."""
    for side in ("left", "right"):
        yield from transactions.save_user(
            UserRow("acme", side, str(number), "x" * 3000, "", None, None, None)
        )


async def test_copies_that_are_made_while_a_server_writes_are_of_one_moment_each(
    path: Path, tmp_path: Path
) -> None:
    store = SqliteStore(path)
    numbers = itertools.count(1)
    written: list[int] = []
    more = asyncio.Event()

    async def write() -> None:
        for number in numbers:
            await store.write(partial(pair, number))
            written.append(number)
            more.set()

    writing = asyncio.create_task(write())
    counts = []
    for number in range(5):
        more.clear()
        await more.wait()
        before = len(written)
        await asyncio.to_thread(make_copy, path, tmp_path / str(number))
        with closing(sqlite3.connect(tmp_path / str(number))) as connection:
            sides = [
                {row[0] for row in connection.execute("SELECT id FROM users WHERE platform = ?", (side,))}
                for side in ("left", "right")
            ]
        assert sides[0] == sides[1]
        assert len(sides[0]) >= before, "what was on disk before is in the copy"
        counts.append(len(sides[0]))
    writing.cancel()
    await asyncio.wait([writing])
    await store.close()
    assert counts == sorted(counts)


def test_a_copy_never_takes_another_files_place(path: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").write_text("notes")
    with pytest.raises(BadCopy, match="exists already"):
        make_copy(path, tmp_path / "copy")
    with pytest.raises(BadCopy, match="exists already"):
        make_copy(path, path)
    assert (tmp_path / "copy").read_text() == "notes"


def test_a_damaged_database_makes_no_copy(path: Path, tmp_path: Path) -> None:
    damage(path)
    with pytest.raises(BadCopy, match=r"copy is damaged"):
        make_copy(path, tmp_path / "copy")
    assert names(tmp_path) == {"data"}


def test_a_database_that_is_not_there_makes_no_copy(tmp_path: Path) -> None:
    with pytest.raises(BadCopy, match="does not exist"):
        make_copy(tmp_path / "none.sqlite", tmp_path / "copy")
    assert names(tmp_path) == set()


def damage(path: Path) -> None:
    """The last pages, which are of indexes, are gone over with zeros."""
    size = path.stat().st_size
    with path.open("rb+") as file:
        file.seek(size - 5 * 4096)
        file.write(bytes(5 * 4096))


# --------------------------------------------------------------------------------------------- restores


def test_a_restore_puts_back_what_the_copy_holds(path: Path, copy: Path) -> None:
    add_operators(path, "grace")
    asked: list[Copy] = []
    found = restore_copy(path, copy, confirm=asked.append)
    assert asked == [found]
    assert operators(path) == ["ada"]
    assert operators(copy) == ["ada"], "the copy is still there"
    assert schema_version(f"sqlite:///{path}") == SCHEMA_VERSION
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def crashed(path: Path) -> None:
    """Leaves the database as a killed process would, with a log of later rows beside it."""
    image = {}
    with closing(sqlite3.connect(path)) as writer:
        assert writer.execute("SELECT COUNT(*) FROM operators").fetchone() == (1,)
        add_operators(path, *(f"later {number}" for number in range(100)))
        for suffix in ("", "-wal", "-shm"):
            image[suffix] = path.with_name(path.name + suffix).read_bytes()
    for suffix, content in image.items():
        path.with_name(path.name + suffix).write_bytes(content)
    path.with_name(path.name + "-journal").write_bytes(b"of some other time")


def test_a_restore_removes_what_stands_beside_the_database(path: Path, copy: Path) -> None:
    crashed(path)
    restore_copy(path, copy, confirm=at_once)
    assert names(path.parent) == {"journal.sqlite", "journal.sqlite-lock", "journal.sqlite-server"}
    assert operators(path) == ["ada"]


async def test_a_copy_that_is_put_there_by_hand_is_not_opened_over_a_left_over_log(
    path: Path, copy: Path
) -> None:
    """As the documentation once said: it made a malformed database of the two, and said nothing."""
    crashed(path)
    path.with_name("journal.sqlite-journal").unlink()
    shutil.copy(copy, path)
    before = {each.name: each.read_bytes() for each in path.parent.iterdir() if "lock" not in each.name}
    for opens in (lambda: SqliteStore(path), lambda: schema_version(f"sqlite:///{path}")):
        with pytest.raises(ForeignLog, match="run `messagelog restore`, which removes such a log"):
            opens()
    after = {each.name: each.read_bytes() for each in path.parent.iterdir() if "lock" not in each.name}
    assert after == before, "nothing was touched"
    restore_copy(path, copy, confirm=at_once)
    assert operators(path) == ["ada"]


def test_a_restore_where_there_was_no_database(copy: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "machine" / "journal.sqlite"
    restore_copy(path, copy, confirm=at_once)
    assert operators(path) == ["ada"]
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_restore_through_a_symbolic_link_replaces_what_it_leads_to(
    path: Path, copy: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.sqlite"
    link.symlink_to(path)
    add_operators(path, "grace")
    restore_copy(link, copy, confirm=at_once)
    assert link.is_symlink()
    assert operators(path) == ["ada"]


async def test_a_restore_waits_for_no_process_that_has_the_database_open(path: Path, copy: Path) -> None:
    store = SqliteStore(path)
    with pytest.raises(FileInUse):
        restore_copy(path, copy, confirm=at_once)
    await store.close()
    restore_copy(path, copy, confirm=at_once)


class Declined(Exception):
    """No."""


def test_a_restore_that_is_not_meant_changes_nothing(path: Path, copy: Path) -> None:
    def decline(_copy: Copy) -> None:
        raise Declined

    crashed(path)
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    with pytest.raises(Declined):
        restore_copy(path, copy, confirm=decline)
    after = {each.name: each.read_bytes() for each in path.parent.iterdir() if "-server" not in each.name}
    assert after == before


def test_the_database_is_no_copy_of_itself(path: Path) -> None:
    with pytest.raises(BadCopy, match="is the database itself"):
        restore_copy(path, path, confirm=at_once)


@pytest.mark.parametrize("kind", ["damaged", "text", "empty", "other", "newer", "folder", "none", "log"])
def test_what_is_no_good_copy_is_refused_and_the_database_stays(path: Path, copy: Path, kind: str) -> None:
    sentences = {
        "damaged": "is damaged",
        "text": "is damaged, or no SQLite database: file is not a database",
        "empty": "holds no journal of messagelog",
        "other": "holds no journal of messagelog",
        "newer": r"was made by a newer version of messagelog \(its schema is 9999\)",
        "folder": "is not a file",
        "none": "is not a file",
        "log": "has a log beside it, copy-wal, with a part of its content",
    }
    if kind == "damaged":
        damage(copy)
    elif kind == "text":
        copy.write_text("these are notes " * 500)
    elif kind == "empty":
        copy.write_bytes(b"")
    elif kind == "other":
        edited(copy, 'DROP TABLE "conversationLogs"')
    elif kind == "newer":
        edited(copy, "UPDATE alembic_version SET version_num = '9999'")
    elif kind == "log":
        copy.with_name("copy-wal").write_bytes(b"something")
    else:
        copy.unlink()
        if kind == "folder":
            copy.mkdir()
    with pytest.raises(BadCopy, match=sentences[kind]):
        restore_copy(path, copy, confirm=at_once)
    assert operators(path) == ["ada"]
    assert {name for name in names(path.parent) if "part" in name or "restore" in name} == set()


def test_an_older_schema_is_restored_and_told(path: Path, copy: Path) -> None:
    edited(copy, "UPDATE alembic_version SET version_num = '0008'")
    assert restore_copy(path, copy, confirm=at_once).version == "0008"
    assert schema_version(f"sqlite:///{path}") != SCHEMA_VERSION


def test_a_restore_that_was_cut_off_is_done_again(path: Path, copy: Path) -> None:
    path.with_name("journal.sqlite-restore").write_bytes(b"of a restore that was killed")
    opens: Any = SqliteStore
    with pytest.raises(RestoreUnfinished):
        opens(path)
    restore_copy(path, copy, confirm=at_once)
    assert operators(path) == ["ada"]
    assert "journal.sqlite-restore" not in names(path.parent)
