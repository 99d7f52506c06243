"""`messagelog logs …` for what failed, is parked or waits: they are listed, explained, exported and decided."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import pty
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messagelog.commands.tables import printable_json
from messagelog.storage.database import migrate
from support.cli_process import CommandResult, command, running
from support.live_server import ADA, OTTO, SECRET, live_server, refusal
from support.requests import MAYA, OMAR, body, message

if TYPE_CHECKING:
    from pathlib import Path

    from support.live_server import LiveServer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a demo's folder in which three conversations failed, and one is parked."""
    migrate(f"sqlite:///{tmp_path / 'messagelog.sqlite'}")
    (tmp_path / "secret-key").write_text(SECRET)

    async def log_some(here: LiveServer) -> None:
        for user in (ADA, OTTO):
            await here.token(user)
        here.crm.refuse = lambda _call: refusal(422)
        for number in (1, 2):
            await here.log(body(message(number, f"plan {number}"), conversation=f"c{number}"))
        await here.log(body(message(3), conversation="c1"), user=OTTO)

    here_and_now(tmp_path, log_some)
    return tmp_path


def here_and_now(folder: Path, work: object) -> None:
    async def done() -> None:
        async with live_server(f"sqlite:///{folder / 'messagelog.sqlite'}", folder) as here:
            assert callable(work)
            await work(here)

    asyncio.run(done())


def logs(folder: Path, *arguments: str) -> CommandResult:
    return command("logs", *arguments, "--data", str(folder))


def lines(done: CommandResult) -> list[dict[str, str]]:
    """Return the lines of a printed list, by its heads."""
    assert done.code == 0, done.err
    heads, *rows = [line.split("\t") for line in done.out.splitlines()]
    return [dict(zip(heads, row, strict=True)) for row in rows]


def test_what_failed_is_listed_and_counted(folder: Path) -> None:
    found = lines(logs(folder, "failed"))
    assert [(row["conversationLogId"], row["tenant"]) for row in found] == [
        ("c1/7/13/2026", "otto"),
        ("c2/7/13/2026", "acme"),
        ("c1/7/13/2026", "acme"),
    ]
    assert found[0]["attempts"] == "1"
    assert found[1]["reason"] == "rejected: The CRM refused it. (HTTP 422)"
    assert len(lines(logs(folder, "failed", "--tenant", "acme", "--limit", "1"))) == 1
    assert lines(logs(folder, "parked")) == lines(logs(folder, "waiting")) == []
    causes = lines(logs(folder, "causes"))
    assert [(row["cause"], row["tenant"], row["messages"]) for row in causes] == [
        ("rejected", "acme", "2"),
        ("rejected", "otto", "1"),
    ]


def test_one_is_explained_and_text_is_shown_when_it_is_asked_for(folder: Path) -> None:
    several = logs(folder, "why", "c1/7/13/2026")
    assert (several.code, several.out) == (2, "")
    assert several.err.startswith(
        "Several have this id: say --tenant (acme at demo, a conversation; otto at demo, a conversation)"
    )
    shown = logs(folder, "why", "c1/7/13/2026", "--tenant", "acme").out
    assert "plan 1" not in shown
    assert "create\tRejected\t422\trejected" in shown
    text = logs(folder, "why", "1", "--text").out
    assert "plan 1" in text
    assert "refused by the test" in text
    looked = command("audit", "--data", str(folder)).out
    assert f"local:{getpass.getuser()}\tread_text\ttext\tacme\tdemo\t1" in looked


def test_an_export_is_a_line_of_json_for_each(folder: Path) -> None:
    found = [json.loads(line) for line in logs(folder, "export", "--tenant", "acme").out.splitlines()]
    assert [each["entry"]["conversationLogId"] for each in found] == ["c2/7/13/2026", "c1/7/13/2026"]
    assert found[0]["rows"][0]["text"] is None
    text = logs(folder, "export", "--text", "--state", "failed").out
    assert text.count("plan ") == 2


HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\x7f\u202e\u2066\u2028\u200b\r\n\t\U000e0041 é 日本 😀"
"""Characters that control a terminal, change its title or colours, reorder a line or end it; and unusual ones."""


def test_an_export_drives_no_terminal_and_says_the_same(folder: Path) -> None:
    async def log_it(here: LiveServer) -> None:
        await here.token()
        here.crm.refuse = lambda _call: refusal(422)
        made = body(message(9, f"plan {HOSTILE}"), conversation="c9\u202e", name=f"Maya {HOSTILE}")
        await here.log(made)

    here_and_now(folder, log_it)
    exported = logs(folder, "export", "--text", "--tenant", "acme").out
    held = command("export", "contact", "acme", "demo", "--id", "c-1", "--data", str(folder)).out
    for printed in (exported, held, logs(folder, "why", "9", "--text").out):
        assert all(char.isprintable() or char in "\n\t" for char in printed)
        assert "é 日本 😀" in printed, "what is only unusual is readable"
    found = [json.loads(line) for line in exported.splitlines()]
    (it,) = [each for each in found if each["entry"]["conversationLogId"] == "c9\u202e/7/13/2026"]
    assert it["entry"]["contactName"] == f"Maya {HOSTILE}"
    assert it["rows"][0]["text"]["message"]["subject"] == f"plan {HOSTILE}"
    (log,) = [each for each in json.loads(held)["conversationLogs"] if each["conversationId"] == "c9\u202e"]
    assert log["contactName"] == f"Maya {HOSTILE}"


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=5
    )
)
def test_json_for_a_terminal_is_the_same_json(value: object) -> None:
    for indent in (None, 2):
        text = printable_json(value, indent=indent)
        assert json.loads(text) == value
        assert all(char.isprintable() or char == "\n" for char in text)
    assert "\n" not in printable_json(value)


def test_all_of_a_cause_are_retried_and_the_server_takes_them_up(folder: Path) -> None:
    assert logs(folder, "retry").err == "Say which: an ID, or all of a --cause or a --state.\n"
    retried = logs(folder, "retry", "--cause", "rejected")
    assert retried.out == "3 messages of 3 conversation logs are tried again.\n"
    assert logs(folder, "retry", "--state", "failed").out == "There is nothing to retry.\n"

    async def work(here: LiveServer) -> None:
        await here.until_logged("1", "2", "3")

    here_and_now(folder, work)
    assert lines(logs(folder, "failed")) == []


def test_decisions_about_one(folder: Path) -> None:
    refused = logs(folder, "link", "2", "createNewContact", "Omar Reyes")
    said = "contactId: createNewContact is the client's word for a contact that is not there yet\n"
    assert (refused.code, refused.err) == (2, said)
    linked = logs(folder, "link", "2", "c-2", "Omar Reyes")
    assert (linked.code, linked.out) == (
        0,
        "c2/7/13/2026 goes to Omar Reyes (c-2) when it is tried again.\n",
    )
    assert logs(folder, "retry", "2").out == "1 messages are tried again.\n"
    done = logs(folder, "done", "3", "--activity", "a-7")
    assert (done.code, done.out) == (0, "1 messages count as logged.\n")
    again = logs(folder, "done", "3")
    assert (again.code, again.err) == (2, "Nothing of it is left to be decided.\n")
    assert logs(folder, "retry", "none").err == "There is no conversation log or message with the id none.\n"
    acts = command("audit", "--data", str(folder)).out
    assert [act for act in ("link", "retry", "mark_done") if f"\t{act}\tact\t" not in acts] == []


def test_a_terminal_sees_how_far_it_has_come(folder: Path) -> None:
    master, slave = pty.openpty()
    try:
        arguments = ("logs", "retry", "--cause", "rejected", "--data", str(folder))
        with running(folder, *arguments, env={"TERM": "xterm"}, out_fd=slave, err_fd=slave) as started:
            assert started.process.wait(timeout=20) == 0
        text = os.read(master, 100_000).decode()
    finally:
        os.close(slave)
        os.close(master)
    assert "3/3" in text
    assert "3 messages of 3 conversation logs are tried again." in text


def test_a_groups_log_is_linked_by_who_has_the_secret(folder: Path) -> None:
    async def log_a_group(here: LiveServer) -> None:
        await here.token()
        here.crm.refuse = lambda _call: refusal(422)
        group = body(message(9, "plan 9"), conversation="c9", correspondents=(MAYA, OMAR))
        await here.log(group)

    here_and_now(folder, log_a_group)
    secret = (folder / "secret-key").read_text()
    (folder / "secret-key").unlink()
    refused = logs(folder, "link", "9-c-1", "c-2", "Omar Reyes")
    assert (refused.code, refused.out) == (2, "")
    assert "The demo's key cannot be read" in refused.err
    (folder / "secret-key").write_text(secret)
    linked = logs(folder, "link", "9-c-1", "c-2", "Omar Reyes")
    assert linked.out == "c9/7/13/2026-c-2 goes to Omar Reyes (c-2) when it is tried again.\n"
    assert logs(folder, "why", "9-c-1").err == "There is no conversation log or message with the id 9-c-1.\n"
    assert logs(folder, "why", "9-c-2", "--text").out.count("plan 9") == 1
    assert logs(folder, "retry", "9-c-2").out == "1 messages are tried again.\n"


def test_of_several_logs_with_one_id_one_is_named_by_its_kind(folder: Path) -> None:
    async def log_both(here: LiveServer) -> None:
        await here.token()
        here.crm.refuse = lambda _call: refusal(422)
        for people, log, number in (((MAYA, OMAR), "777", 20), ((MAYA,), "777-c-1", 21)):
            made = body(message(number), conversation=log, correspondents=people)
            made["logInfo"]["conversationLogId"] = log
            await here.log(made)

    here_and_now(folder, log_both)
    several = logs(folder, "why", "777-c-1")
    assert several.code == 2
    assert several.err == (
        "Several have this id: say --kind (acme at demo, a group for c-1; acme at demo, a conversation).\n"
    )
    assert "20-c-1\tfailed" in logs(folder, "why", "777-c-1", "--kind", "group").out
    assert "20-c-1\tfailed" in logs(folder, "why", "777-c-1", "--group-contact", "c-1").out
    assert "21\tfailed" in logs(folder, "why", "777-c-1", "--kind", "conversation").out
    retried = logs(folder, "retry", "777-c-1", "--kind", "conversation")
    assert retried.out == "1 messages are tried again.\n"
