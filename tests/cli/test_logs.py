"""`messagelog logs`: the states of conversation logs with their reasons, and ids that are never cut."""

from __future__ import annotations

import asyncio
import os
import pty
from typing import TYPE_CHECKING

import pytest

from messagelog.storage.database import migrate
from support.cli_process import command, running
from support.live_server import OTTO, live_server, refusal
from support.requests import MAYA, OMAR, body, message

if TYPE_CHECKING:
    from pathlib import Path

LONG = "8031152018338945839" * 10
HEADS = ["conversationLogId", "tenant", "platform", "contact", "thirdPartyLogId", "state", "rows", "reason"]
ROW_HEADS = ["id", "state", "thirdPartyLogId", "userId", "updatedAt", "reason"]


def lines(text: str) -> list[list[str]]:
    """Return the values of each line."""
    return [line.split("\t") for line in text.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a demo's folder with a few conversation logs of two tenants."""
    url = f"sqlite:///{tmp_path / 'messagelog.sqlite'}"
    migrate(url)

    async def log_some() -> None:
        async with live_server(url, tmp_path) as here:
            await here.log(body(message(1), message(2), conversation=LONG))
            await here.log(body(message(3), conversation="theirs"), user=OTTO)
            await here.log(body(message(4), conversation="group", correspondents=(MAYA, OMAR)))
            here.crm.refuse = lambda _call: refusal(422)
            await here.log(body(message(5), conversation="refused", name="[/red]\u001b[31mMaya\tPatel"))

    asyncio.run(log_some())
    return tmp_path


def test_a_pipe_gets_lines_with_tabs_and_whole_ids(folder: Path) -> None:
    done = command("logs", "--data", str(folder))
    assert done.code == 0
    heads, *found = lines(done.out)
    assert heads == HEADS
    by_id = {line[0]: line[1:] for line in found}
    assert by_id[f"{LONG}/7/13/2026"] == ["acme", "demo", "Maya Patel (c-1)", "a-1", "open", "2 logged", ""]
    assert by_id["theirs/7/13/2026"][0] == "otto"
    assert "group/7/13/2026-c-1" in by_id
    *_, state, rows, reason = by_id["refused/7/13/2026"]
    assert (state, rows) == ("open", "1 failed")
    assert "HTTP 422" in reason


def test_the_newest_come_first_and_no_more_than_asked_for(folder: Path) -> None:
    done = command("logs", "--data", str(folder), "--limit", "1")
    assert [line[0] for line in lines(done.out)[1:]] == ["refused/7/13/2026"]
    assert command("logs", "--data", str(folder), "--limit", "0").code == 2


@pytest.mark.parametrize("id_", [f"{LONG}/7/13/2026", "1", "2"])
def test_one_log_is_shown_by_its_id_or_a_messages(folder: Path, id_: str) -> None:
    done = command("logs", "show", id_, "--data", str(folder))
    assert done.code == 0
    heads, log, row_heads, *rows = lines(done.out)
    assert (heads, row_heads) == (HEADS, ROW_HEADS)
    assert log[0] == f"{LONG}/7/13/2026"
    assert [row[:4] for row in rows] == [["1", "logged", "a-1", "u-ada"], ["2", "logged", "a-1", "u-ada"]]
    assert all(row[4].endswith("+00:00") for row in rows)
    assert command("logs", "--data", str(folder), "show", id_).out == done.out


def test_what_comes_from_outside_moves_no_cursor_and_is_no_markup(folder: Path) -> None:
    done = command("logs", "show", "5", "--data", str(folder))
    assert "[/red]\N{REPLACEMENT CHARACTER}[31mMaya\N{REPLACEMENT CHARACTER}Patel (c-1)" in done.out
    assert "\u001b" not in done.out


def test_an_id_that_is_not_there(folder: Path) -> None:
    done = command("logs", "show", "nothing", "--data", str(folder))
    assert (done.code, done.out) == (2, "")
    assert done.err == "There is no conversation log or message with the id nothing.\n"


def test_a_folder_without_a_demo(tmp_path: Path) -> None:
    done = command("logs", "--data", str(tmp_path / "none"))
    assert (done.code, done.err) == (2, "The database does not exist yet: run `messagelog migrate`.\n")


def test_a_narrow_terminal_gets_columns_with_whole_ids(folder: Path) -> None:
    master, slave = pty.openpty()
    try:
        with running(folder, "logs", "--data", str(folder), env={"COLUMNS": "40"}, out_fd=slave) as printed:
            assert printed.process.wait(timeout=20) == 0
        text = os.read(master, 100_000).decode()
    finally:
        os.close(slave)
        os.close(master)
    assert "\t" not in text
    heads, *found = text.splitlines()
    assert heads.split() == HEADS
    (log,) = [line for line in found if line.startswith(f"{LONG}/7/13/2026  ")]
    assert log[heads.index("tenant") :].startswith("acme  ")
