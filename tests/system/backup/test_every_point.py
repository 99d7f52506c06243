"""A backup and a restore that are killed wherever they touch a file: what is there then is never a mixture."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

import pytest

from messagelog.storage.sqlite.copy import make_copy
from messagelog.storage.sqlite.file import RestoreUnfinished, holding
from messagelog.storage.sqlite.wal import count_transaction
from storage.files import add_operators, journal_file, operators
from support.cli_process import command
from system.backup.killing import killing

if TYPE_CHECKING:
    from pathlib import Path

LATER: Final = ["ada", *sorted(f"later {number}" for number in range(50))]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A folder with a database that a killed server left, its log beside it, and a copy from an earlier time."""
    path = journal_file(tmp_path / "made" / "journal.sqlite", "ada")
    image = tmp_path / "image"
    image.mkdir()
    make_copy(path, image / "copy")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        count_transaction(writer)
        writer.execute("COMMIT")
        add_operators(path, *LATER[1:])
        for suffix in ("", "-wal", "-shm"):
            name = f"journal.sqlite{suffix}"
            shutil.copy(path.with_name(name), image / name)
    return image


@pytest.fixture
def here(image: Path, tmp_path: Path) -> Path:
    """The folder of the commands, as it is before each of them."""
    return shutil.copytree(image, tmp_path / "here")


def put_back(image: Path, folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(image, folder)


def settings(folder: Path) -> dict[str, str]:
    return {"MESSAGELOG_DATABASE_URL": f"sqlite:///{folder / 'journal.sqlite'}"}


def test_a_restore_that_is_killed_at_any_point(image: Path, here: Path) -> None:
    path = here / "journal.sqlite"
    outcomes: list[str] = []
    with killing(here, settings(here)) as processes:
        for _ in processes.points("restore", str(here / "copy"), "--yes"):
            try:
                with holding(path):
                    held = operators(path)
            except RestoreUnfinished:
                outcomes.append("unfinished")
            else:
                assert held in (LATER, ["ada"]), "neither what was there nor what is to be"
                outcomes.append("as before" if held == LATER else "restored")
            done = command("restore", str(here / "copy"), "--yes", env=settings(here))
            assert done.code == 0, done.err
            assert operators(path) == ["ada"]
            assert {each.name for each in here.iterdir()} == {
                *("copy", "journal.sqlite", "journal.sqlite-lock", "journal.sqlite-server")
            }
            put_back(image, here)
    assert outcomes == sorted(outcomes, key=["as before", "unfinished", "restored"].index)
    assert set(outcomes) == {"as before", "unfinished", "restored"}, outcomes
    assert operators(path) == ["ada"], "the last one was not killed"


def test_a_backup_that_is_killed_at_any_point(image: Path, here: Path) -> None:
    made = 0
    with killing(here, settings(here)) as processes:
        for _ in processes.points("backup", str(here / "new")):
            assert operators(here / "journal.sqlite") == LATER
            if (here / "new").exists():
                made += 1
                assert operators(here / "new") == LATER
                (here / "new").unlink()
            assert command("backup", str(here / "new"), env=settings(here)).code == 0
            assert operators(here / "new") == LATER
            put_back(image, here)
    assert made, "it was killed after the copy had its name as well"
    assert operators(here / "new") == LATER
