"""The common parts of the commands: JSON, the count of omitted lines, the version, and the shell's completion."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from typer.main import get_command

import messagelog
from docs.pages import DOCS, code, table
from messagelog.cli import app
from messagelog.commands.tables import report_omitted
from messagelog.core.admin.inbox import CAUSES
from messagelog.core.delivery.outcomes import FailureReason
from messagelog.storage.database import migrate
from support.cli_process import COMMAND, CommandResult, command
from support.live_server import ADA, OTTO, SECRET, live_server, refusal
from support.requests import MAYA, OMAR, body, message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a demo's folder with three logs of two tenants, one of them failed, and one operator."""
    made = tmp_path_factory.mktemp("demo")
    url = f"sqlite:///{made / 'messagelog.sqlite'}"
    migrate(url)
    (made / "secret-key").write_text(SECRET)

    async def log_some() -> None:
        async with live_server(url, made) as here:
            await here.log(body(message(1), conversation="group", correspondents=(MAYA, OMAR)), user=ADA)
            await here.log(body(message(2), message(3), conversation="theirs"), user=OTTO)
            here.crm.refuse = lambda _call: refusal(422)
            await here.log(body(message(4), conversation="refused"), user=ADA)

    asyncio.run(log_some())
    words = b"correct horse battery\n"
    for name in ("grace", "ada"):
        assert command("operators", "add", name, "--role", "text", "--data", str(made), stdin=words).code == 0
    return made


def run(folder: Path, *arguments: str) -> CommandResult:
    done = command(*arguments, "--data", str(folder))
    assert done.code == 0, done.err
    return done


def as_json(folder: Path, *arguments: str) -> Any:
    return json.loads(run(folder, *arguments, "--json").out)


def commands(group: Any, *names: str) -> Iterator[tuple[str, Any]]:
    """Yield all commands with their names, also groups."""
    if names:
        yield " ".join(names), group
    for name, each in getattr(group, "commands", {}).items():
        yield from commands(each, *names, name)


# --------------------------------------------------------------------------------------------------- JSON


def test_every_list_can_be_had_as_json_and_is_told_of() -> None:
    has_json = {
        name
        for name, each in commands(get_command(app))
        if any("--json" in param.opts for param in each.params)
    }
    told = {code(row[0])[0] for row in table(DOCS / "reference" / "command-line.md", "Lists")}
    assert has_json == told
    lists = {name for name, _ in commands(get_command(app)) if name.endswith(" list")}
    assert lists <= has_json


def test_logs_as_json(folder: Path) -> None:
    refused, theirs, group = as_json(folder, "logs")
    assert refused["reason"] is None or refused["reason"].startswith("rejected:")
    assert (refused["conversationLogId"], refused["states"]) == ("refused/7/13/2026", {"failed": 1})
    assert (theirs["tenant"], theirs["states"], theirs["kind"]) == ("otto", {"logged": 2}, "conversation")
    assert (group["conversationLogId"], group["groupContactId"]) == ("group/7/13/2026-c-1", "c-1")
    assert group["updatedAt"] >= group["createdAt"] > 1_700_000_000_000
    (shown,) = as_json(folder, "logs", "show", "theirs/7/13/2026")
    messages = shown.pop("messages")
    assert shown == theirs
    assert [(each["id"], each["state"], each["userId"]) for each in messages] == [
        ("2", "logged", "u-otto"),
        ("3", "logged", "u-otto"),
    ]


def test_what_failed_as_json(folder: Path) -> None:
    (entry,) = as_json(folder, "logs", "failed")
    assert (entry["conversationLogId"], entry["cause"], entry["attempts"]) == (
        "refused/7/13/2026",
        "rejected",
        1,
    )
    assert as_json(folder, "logs", "parked") == as_json(folder, "logs", "waiting") == []
    (cause,) = as_json(folder, "logs", "causes")
    assert (cause["cause"], cause["messages"], cause["logs"]) == ("rejected", 1, 1)
    why = as_json(folder, "logs", "why", "4")
    assert why["entry"] == entry
    assert [row["id"] for row in why["rows"]] == ["4"]
    assert [each["error"] for each in why["attempts"]] == ["Rejected"]


def test_people_as_json(folder: Path) -> None:
    users = as_json(folder, "users", "list")
    assert {(each["tenant"], each["id"], each["connected"]) for each in users} >= {
        ("acme", "u-ada", True),
        ("otto", "u-otto", True),
    }
    assert isinstance(users[0]["updatedAt"], int)
    ada, grace = as_json(folder, "operators", "list")
    assert (ada["name"], grace["name"], grace["roles"], grace["sessions"]) == ("ada", "grace", ["text"], 0)
    recorded = as_json(folder, "audit")
    assert [(each["act"], each["subject"]) for each in recorded] == [
        ("add_operator", "ada"),
        ("add_operator", "grace"),
    ]


def test_keys_as_json(folder: Path) -> None:
    env = {
        "MESSAGELOG_DATABASE_URL": f"sqlite:///{folder / 'messagelog.sqlite'}",
        "MESSAGELOG_SECRET_KEY": SECRET,
    }
    done = command("keys", "list", "--json", env=env)
    assert done.code == 0, done.err
    (key,) = json.loads(done.out)
    assert (key["secret"], key["signsTokens"]) == ("newest", True)
    assert key["sealed"]["users"] >= 2


def test_an_option_before_the_command_that_it_is_meant_for_is_refused(folder: Path) -> None:
    done = command("logs", "--json", "failed", "--data", str(folder))
    assert (done.code, done.out) == (2, "")
    assert done.err == "Put --json behind the command: messagelog logs failed --json\n"


# ---------------------------------------------------------------------------------------- what is left out


@pytest.mark.parametrize("more", [(), ("--json",)])
@pytest.mark.parametrize(
    ("arguments", "total"), [(("logs",), 3), (("logs", "failed"), 1), (("audit",), 2)], ids=str
)
def test_what_a_list_leaves_out_is_said_beside_it(
    folder: Path, arguments: tuple[str, ...], total: int, more: tuple[str, ...]
) -> None:
    for limit in range(1, total + 2):
        done = run(folder, *arguments, *more, "--limit", str(limit))
        left_out = f"{limit} of {total} are listed: --limit lists more.\n" if limit < total else ""
        assert done.err == left_out
        listed = len(json.loads(done.out)) if more else len(done.out.splitlines()) - 1
        assert listed == min(limit, total)


def test_large_numbers_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    report_omitted(50, 1_000)
    assert capsys.readouterr().err == "50 of 1,000 are listed: --limit lists more.\n"


# ------------------------------------------------------------------------------------------------- causes


@pytest.mark.parametrize("arguments", [("retry",), ("failed",), ("parked",), ("waiting",), ("export",)])
def test_a_cause_that_there_is_not_is_an_error_that_lists_those_that_there_are(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    done = command("logs", *arguments, "--cause", "nonsense", "--data", str(folder))
    assert (done.code, done.out) == (2, "")
    assert done.err == f"--cause: expected one of {', '.join(CAUSES)}.\n"


def test_every_reason_begins_with_a_cause() -> None:
    assert set(CAUSES) == {*FailureReason, "expired"}


# ------------------------------------------------------------------------------- the version, and the shell


def test_the_version() -> None:
    done = command("--version")
    assert (done.code, done.out) == (0, f"messagelog {messagelog.__version__}\n")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("messagelog lo", {"logs"}),
        ("messagelog logs fai", {"failed"}),
        ("messagelog logs retry --cau", {"--cause"}),
        ("messagelog logs retry --cause no_", {"no_answer", "no_log_id"}),
    ],
)
def test_the_shell_completes(line: str, found: set[str]) -> None:
    words = line.split()
    env = {
        "PATH": os.environ["PATH"],
        "_MESSAGELOG_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run([COMMAND], env=env, capture_output=True, text=True, check=True, timeout=60)
    assert set(done.stdout.split()) == found
