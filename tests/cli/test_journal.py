"""`messagelog journal`: the id that external ids carry, and a new one for a copy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from messagelog.storage.database import migrate
from storage.journal import run_sql
from support.cli_process import CommandResult, command

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    migrate(f"sqlite:///{tmp_path / 'messagelog.sqlite'}")
    return tmp_path


def journal(folder: Path, *arguments: str, stdin: bytes = b"") -> CommandResult:
    return command("journal", *arguments, "--data", str(folder), stdin=stdin)


def test_the_id_is_shown_and_a_copy_gets_another(folder: Path) -> None:
    shown = journal(folder, "show")
    assert (shown.code, shown.err) == (0, "")
    assert re.fullmatch(r"[0-9a-f]{8}\n", shown.out)
    made = journal(folder, "new-id", "--yes")
    assert made.code == 0, made.err
    again = journal(folder, "show")
    assert made.out == f"The journal's id is {again.out.strip()}.\n"
    assert again.out != shown.out
    url = f"sqlite:///{folder / 'messagelog.sqlite'}"
    assert run_sql(url, 'SELECT "id" FROM "journal"') == [(again.out.strip(),)]
    recorded = run_sql(url, 'SELECT "act", "role", "subject" FROM "audit"')
    assert recorded == [("new_journal_id", "administer", again.out.strip())]


def test_it_is_asked_whether_it_is_a_copy(folder: Path) -> None:
    before = journal(folder, "show").out
    asked = journal(folder, "new-id", stdin=b"n\n")
    assert asked.code == 1
    assert "Is this database a copy" in asked.out + asked.err
    assert journal(folder, "show").out == before
    assert journal(folder, "new-id", stdin=b"y\n").code == 0
    assert journal(folder, "show").out != before
