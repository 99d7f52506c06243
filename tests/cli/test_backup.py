"""`messagelog backup` and `messagelog restore`: what they say, when they ask, and how they end."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from messagelog.storage.sqlite.file import hold, serve_alone
from messagelog.storage.urls import SCHEMA_VERSION
from storage.files import add_operators, journal_file, operators
from support.cli_process import command

if TYPE_CHECKING:
    from pathlib import Path

HELD = f"schema {SCHEMA_VERSION}, 0 conversation logs"
POSTGRES = {"MESSAGELOG_DATABASE_URL": "postgresql://ada:hidden@db.example.com/journal"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return journal_file(tmp_path / "journal.sqlite", "ada")


@pytest.fixture
def env(path: Path) -> dict[str, str]:
    return {"MESSAGELOG_DATABASE_URL": f"sqlite:///{path}"}


def test_there_and_back(path: Path, env: dict[str, str], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    done = command("backup", str(copy), env=env)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"{copy} is a copy of the database: {copy.stat().st_size:,} bytes, {HELD}.",
        "Keep the secret keys in another place. Neither is of use without the other.",
    ]
    add_operators(path, "grace")
    done = command("restore", str(copy), env=env, stdin=b"n\n")
    assert done.code == 1
    assert done.out.startswith(f"{copy}: {HELD}.\nPut it in the place of {path}, which")
    assert operators(path) == ["ada", "grace"]
    done = command("restore", str(copy), env=env, stdin=b"y\n")
    assert (done.code, done.out.splitlines()[-1]) == (
        0,
        f"{path} is restored: {HELD}.",
    )
    assert operators(path) == ["ada"]
    add_operators(path, "grace")
    assert command("restore", str(copy), "--yes", env=env).code == 0
    assert operators(path) == ["ada"]


def test_nothing_is_asked_where_nothing_is_replaced(path: Path, env: dict[str, str], tmp_path: Path) -> None:
    command("backup", str(tmp_path / "copy"), env=env)
    new = tmp_path / "new" / "journal.sqlite"
    done = command("restore", str(tmp_path / "copy"), env={"MESSAGELOG_DATABASE_URL": f"sqlite:///{new}"})
    assert (done.code, done.out.count("\n")) == (0, 1)
    assert operators(new) == ["ada"]


def test_the_demos_folder(tmp_path: Path) -> None:
    journal_file(tmp_path / "messagelog.sqlite", "ada")
    assert command("backup", str(tmp_path / "copy"), "--data", str(tmp_path)).code == 0
    assert command("restore", str(tmp_path / "copy"), "--data", str(tmp_path), "--yes").code == 0


def test_a_schema_of_an_earlier_version_is_to_be_migrated(
    path: Path, env: dict[str, str], tmp_path: Path
) -> None:
    command("backup", str(tmp_path / "copy"), env=env)
    add_operators(tmp_path / "copy", version="0008")
    done = command("restore", str(tmp_path / "copy"), "--yes", env=env)
    assert done.out.endswith("Its schema is of an earlier version: run `messagelog migrate`.\n")


def test_refusals_are_sentences(path: Path, env: dict[str, str], tmp_path: Path) -> None:
    def refusal_of(*arguments: str) -> str:
        done = command(*arguments, env=env)
        assert (done.code, done.out) == (2, "")
        return done.err

    copy = str(tmp_path / "copy")
    assert refusal_of("restore", copy, "--yes") == f"{copy} is not a file.\n"
    assert command("backup", copy, env=env).code == 0
    assert refusal_of("backup", copy) == f"{copy} exists already: give the copy another name.\n"
    nowhere = str(tmp_path / "no" / "folder" / "copy")
    assert refusal_of("backup", nowhere).endswith("cannot be used: No such file or directory.\n")
    held = hold(path)
    assert refusal_of("restore", copy, "--yes").startswith(f"Another process has the database {path} open")
    assert command("backup", str(tmp_path / "second"), env=env).code == 0, "while it is in use"
    held.release()
    with serve_alone(path):
        assert refusal_of("restore", copy, "--yes").startswith("Another server (process ")


@pytest.mark.parametrize("name", ["logs", "migrate", "backup"])
def test_every_command_says_why_it_does_not_use_a_file(path: Path, env: dict[str, str], name: str) -> None:
    path.with_name("journal.sqlite-restore").touch()
    done = command(name, *([str(path.with_name("copy"))] if name == "backup" else []), env=env)
    assert done.code == 2
    assert done.err.startswith(f"A restore of the database {path} was cut off.")


def test_postgresql_is_left_to_its_own_programs() -> None:
    for name, program in (("backup", "pg_dump"), ("restore", "createdb")):
        done = command(name, "a copy", env=POSTGRES)
        assert (done.code, done.out) == (2, ""), "a job that copies must not think that it did"
        assert done.err.splitlines()[1].startswith(f"{program} ")
        assert any("a copy" in part for part in shlex.split(done.err.splitlines()[-2]))
        assert "hidden" not in done.err
