"""A left-over log is replayed onto the file that it belongs to, and onto no other: not onto copies of another time."""

from __future__ import annotations

import itertools
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messagelog.storage.sqlite.copy import make_copy
from messagelog.storage.sqlite.wal import ForeignLog, begin_counting, check_log, count_transaction
from storage.files import journal_file

if TYPE_CHECKING:
    from collections.abc import Iterator

Content = list[tuple[int, bytes]]

_ROWS: Final = 40


@dataclass
class Journal:
    """A database that is written to, copies of it by several ways, and what each of them held."""

    path: Path
    random: random.Random
    connection: sqlite3.Connection
    copies: list[tuple[str, Path]] = field(default_factory=list)

    def write(self, transactions: int) -> None:
        for _ in range(transactions):
            self.connection.execute("BEGIN IMMEDIATE")
            count_transaction(self.connection)
            for _ in range(self.random.randint(1, 4)):
                row = (self.random.randrange(_ROWS), self.random.randbytes(self.random.choice((10, 3000))))
                self.connection.execute("INSERT OR REPLACE INTO rows VALUES (?, ?)", row)
            if self.random.random() < 0.3:
                self.connection.execute("DELETE FROM rows WHERE id = ?", (self.random.randrange(_ROWS),))
            self.connection.execute("COMMIT")

    def checkpoint(self, mode: str) -> None:
        self.connection.execute(f"PRAGMA wal_checkpoint({mode})")

    def copy(self, way: str) -> None:
        to = self.path.with_name(f"{len(self.copies)}-{way}.copy")
        self.copies.append((way, to))
        if way == "messagelog backup":
            with closing(quick(to)) as copy:
                self.connection.backup(copy)
            with closing(quick(to)) as copy:
                copy.execute("PRAGMA journal_mode=DELETE")
        elif way == ".backup":
            with closing(quick(to)) as copy:
                self.connection.backup(copy)
        elif way == "VACUUM INTO":
            self.connection.execute("VACUUM INTO ?", (str(to),))
        else:  # of a server that was stopped, which leaves no log
            self.connection.close()
            shutil.copy(self.path, to)
            self.connection = connected(self.path)

    def crashed(self, folder: Path) -> Path:
        """The files as a process leaves them that is killed now."""
        image = folder / "crashed.sqlite"
        shutil.copy(self.path, image)
        log = self.path.with_name(f"{self.path.name}-wal")
        if log.exists():
            shutil.copy(log, folder / "crashed.sqlite-wal")
        return image


def quick(path: Path) -> sqlite3.Connection:
    """A connection that waits for no disk: what is crashed here is a process, at most."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    return connection


def connected(path: Path) -> sqlite3.Connection:
    connection = quick(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    return connection


@contextmanager
def journal(seed: int, *, first_count: int = 7) -> Iterator[Journal]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        connection = connected(path)
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, value BLOB)")
        connection.execute("CREATE INDEX by_value ON rows (value)")
        connection.execute(f"PRAGMA user_version={first_count}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        made = Journal(path, random.Random(seed), connection)
        try:
            yield made
        finally:
            made.connection.close()


def content(connection: sqlite3.Connection) -> Content:
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return connection.execute("SELECT id, value FROM rows ORDER BY id").fetchall()


def content_of(path: Path) -> Content:
    with closing(quick(path)) as connection:
        return content(connection)


WRITES = st.tuples(st.just("write"), st.integers(1, 5))
CHECKPOINTS = st.tuples(st.just("checkpoint"), st.sampled_from(("PASSIVE", "RESTART", "TRUNCATE")))
COPIES = st.tuples(st.just("copy"), st.sampled_from(("messagelog backup", ".backup", "VACUUM INTO", "cp")))


@settings(max_examples=80)
@given(
    seed=st.integers(0, 1000),
    steps=st.lists(WRITES | CHECKPOINTS | COPIES, min_size=3, max_size=12),
    first_count=st.sampled_from((7, 2**31 - 3, -3)),
)
def test_a_copy_takes_no_harm_from_a_left_over_log(
    seed: int, steps: list[tuple[str, object]], first_count: int
) -> None:
    """Whatever copy is put in the place of a crashed database: the log is refused, or what it makes is the latest."""
    with journal(seed, first_count=first_count) as made, tempfile.TemporaryDirectory() as folder:
        for name, argument in steps:
            getattr(made, name)(argument)
        latest = content(made.connection)
        image = made.crashed(Path(folder))
        log = image.with_name(f"{image.name}-wal")
        kept = log.read_bytes() if log.exists() else b""
        for _way, copy in made.copies:
            shutil.copy(copy, image)
            log.write_bytes(kept)
            try:
                check_log(image)
            except ForeignLog:
                continue
            found = content_of(image)
            assert found in (latest, content_of(copy)), "neither the copy nor the latest"
            assert kept or found == content_of(copy)
            image.with_name(f"{image.name}-shm").unlink(missing_ok=True)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    steps=st.lists(WRITES | CHECKPOINTS, min_size=1, max_size=8),
    first_count=st.sampled_from((7, 2**31 - 3, -3)),
    cut=st.floats(0, 1),
    garbled=st.none() | st.floats(0, 1, exclude_max=True),
)
def test_a_log_of_its_own_is_never_refused(
    seed: int, steps: list[tuple[str, object]], first_count: int, cut: float, garbled: float | None
) -> None:
    """A crash may have written the log's end not at all, or not as it was meant.

    What a checkpoint has put into the file was on disk before, so it is only what was written since that can be so.
    """
    with journal(seed, first_count=first_count) as made, tempfile.TemporaryDirectory() as folder:
        for name, argument in steps:
            getattr(made, name)(argument)
        image = made.crashed(Path(folder))
        log = image.with_name(f"{image.name}-wal")
        if (
            log.exists() and steps[-1][0] == "write"
        ):  # the first one after a checkpoint begins the log from the start
            written = bytearray(log.read_bytes())
            if garbled is not None:
                written[int(garbled * len(written))] ^= 0x55
            log.write_bytes(written[: int(cut * len(written)) + 1])
        check_log(image)


def test_the_scenario_that_damaged_a_journal(tmp_path: Path) -> None:
    """The copy of yesterday, the crash of today: without the check SQLite makes a malformed database of them."""
    with journal(1) as made:
        made.write(30)
        made.copy(".backup")
        made.write(40)
        made.checkpoint("RESTART")
        made.write(3)
        image = made.crashed(tmp_path)
        shutil.copy(made.copies[0][1], image)
        with pytest.raises(ForeignLog, match="belongs to another file, or to another time of this one"):
            check_log(image)
        with pytest.raises((AssertionError, sqlite3.DatabaseError)):
            content_of(image)


@pytest.mark.parametrize("how", ["deleted", "empty"])
def test_a_log_whose_file_is_gone(tmp_path: Path, how: str) -> None:
    with journal(1) as made:
        made.write(3)
        image = made.crashed(tmp_path)
        image.unlink()
        if how == "empty":
            image.touch()
        with pytest.raises(ForeignLog, match=r"is gone, and its log crashed\.sqlite-wal is there"):
            check_log(image)


def test_a_log_of_another_size_of_pages(tmp_path: Path) -> None:
    with journal(1) as made:
        made.write(3)
        image = made.crashed(tmp_path)
        image.unlink()
        with closing(sqlite3.connect(image)) as other:
            other.execute("PRAGMA page_size=8192")
            other.execute("PRAGMA journal_mode=WAL")
            other.execute("CREATE TABLE rows (id)")
            log = image.with_name(f"{image.name}-wal")
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(made.path.with_name("journal.sqlite-wal"), log)
        with pytest.raises(ForeignLog):
            check_log(image)


WRITES_AND_DIES = """
import os, signal, sqlite3, sys
path, *rows = sys.argv[1:]
connection = sqlite3.connect(path, isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint=0")
for row in rows:
    connection.execute("UPDATE rows SET value = randomblob(length(value)) WHERE id = ?", (int(row),))
os.kill(os.getpid(), signal.SIGKILL)
"""


def uncounted(path: Path, rows: range) -> None:
    """Another program writes, and is killed: its commits hold no first page, and so no mark."""
    arguments = [sys.executable, "-c", WRITES_AND_DIES, str(path), *map(str, rows)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL


def test_a_log_of_another_program_is_tried_on_a_copy(tmp_path: Path) -> None:
    with journal(1) as made:
        path = made.path
        made.connection.executemany("INSERT INTO rows VALUES (?, zeroblob(3000))", [(n,) for n in range(40)])
        made.connection.close()
        shutil.copy(path, tmp_path / "earlier")
        made.connection = connected(path)
        made.connection.execute("DELETE FROM rows WHERE id > 3")
        made.connection.close()
        uncounted(path, range(3))
        image = made.crashed(tmp_path)
        before = sorted(tmp_path.iterdir())
        check_log(image)
        assert sorted(tmp_path.iterdir()) == before, "nothing is left of the copies"
        assert [row for row, _ in content_of(image)] == [0, 1, 2, 3]


def test_a_log_of_another_program_that_does_harm_is_refused(tmp_path: Path) -> None:
    """Its pages are the table's, but of another time, in which the rows lay on other pages."""
    with journal(1) as made:
        made.connection.execute("DROP INDEX by_value")
        made.connection.executemany("INSERT INTO rows VALUES (?, zeroblob(900))", [(n,) for n in range(40)])
        made.copy("cp")
        made.connection.execute("DELETE FROM rows WHERE id % 2")
        made.connection.execute("VACUUM")
        made.connection.close()
        with closing(quick(made.path)) as other:
            assert other.execute("PRAGMA user_version").fetchone() == (7,), "as in the copy"
        uncounted(made.path, range(0, 40, 2))
        image = made.crashed(tmp_path)
        check_log(image)
        shutil.copy(made.copies[0][1], image)
        with pytest.raises(ForeignLog):
            check_log(image)
        with pytest.raises(sqlite3.DatabaseError):
            content_of(image)


def test_a_copy_whose_pages_lie_otherwise_is_refused_although_its_count_fits(tmp_path: Path) -> None:
    with journal(1) as made:
        made.write(20)
        made.copy("VACUUM INTO")
        with closing(connected(made.copies[0][1])):
            pass  # now it is in the mode of a database in use
        image = made.crashed(tmp_path)
        shutil.copy(made.copies[0][1], image)
        with pytest.raises(ForeignLog):
            check_log(image)


def test_a_log_of_an_earlier_time_is_refused(tmp_path: Path) -> None:
    with journal(1) as made:
        made.write(20)
        earlier = made.crashed(tmp_path).with_name("crashed.sqlite-wal").read_bytes()
        made.checkpoint("TRUNCATE")
        made.write(20)
        made.checkpoint("TRUNCATE")
        image = made.crashed(tmp_path)
        image.with_name("crashed.sqlite-wal").write_bytes(earlier)
        with pytest.raises(ForeignLog):
            check_log(image)


def test_a_log_of_another_journal_is_refused(tmp_path: Path) -> None:
    """However alike they are: each begins to count with a number of its own."""
    for name in ("one", "other"):
        path = journal_file(tmp_path / name)
        with closing(connected(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            count_transaction(connection)
            connection.execute("COMMIT")
            shutil.copy(path, tmp_path / f"{name}-crashed")
            shutil.copy(tmp_path / f"{name}-wal", tmp_path / f"{name}-crashed-wal")
    check_log(tmp_path / "one-crashed")
    shutil.copy(tmp_path / "one-crashed", tmp_path / "other-crashed")
    with pytest.raises(ForeignLog):
        check_log(tmp_path / "other-crashed")


def test_a_crash_in_the_migration_that_begins_to_count(tmp_path: Path) -> None:
    """The file has no count yet, and its log has one."""
    with journal(1, first_count=0) as made:
        made.connection.execute("INSERT INTO rows VALUES (1, X'')")
        made.copy("cp")
        made.connection.execute("BEGIN IMMEDIATE")
        begin_counting(made.connection)
        count_transaction(made.connection)
        made.connection.execute("CREATE TABLE more (id)")
        made.connection.execute("COMMIT")
        image = made.crashed(tmp_path)
        check_log(image)
        with closing(quick(image)) as connection:
            assert content(connection) == [(1, b"")]
            assert connection.execute("SELECT COUNT(*) FROM more").fetchone() == (0,)


def test_the_count_goes_on_after_the_highest(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.sqlite", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version={2**31 - 2}")
        counts = []
        for _ in range(3):
            count_transaction(connection)
            counts += connection.execute("PRAGMA user_version").fetchone()
    assert counts == [2**31 - 1, -(2**31), -(2**31) + 1]


def test_a_finished_copy_beside_a_log_is_refused_whatever_it_holds(tmp_path: Path) -> None:
    path = journal_file(tmp_path / "journal.sqlite")
    with closing(connected(path)) as connection:
        count = itertools.count(1)
        for _ in range(3):
            connection.execute("BEGIN IMMEDIATE")
            count_transaction(connection)
            connection.execute("INSERT INTO operators VALUES (?, '', '[]', 0, 0)", (f"o-{next(count)}",))
            connection.execute("COMMIT")
        make_copy(path, tmp_path / "copy")
        image = tmp_path / "image.sqlite"
        shutil.copy(tmp_path / "copy", image)
        shutil.copy(tmp_path / "journal.sqlite-wal", tmp_path / "image.sqlite-wal")
        with pytest.raises(ForeignLog):
            check_log(image)
