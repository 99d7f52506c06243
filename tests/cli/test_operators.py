"""`messagelog operators`, `audit`, `erase` and `export`, as the person who runs the server's machine uses them."""

from __future__ import annotations

import asyncio
import json
import stat
from typing import TYPE_CHECKING

import pytest

from messagelog.core.operators.passwords import Passwords
from messagelog.storage.database import migrate
from support.cli_process import CommandResult, command
from support.live_server import CHEAP, SECRET, live_server, refusal
from support.requests import body, message

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = b"correct horse battery\n"


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr("messagelog.commands.operators.Passwords", lambda: Passwords(CHEAP))
    monkeypatch.setattr("getpass.getuser", lambda: "root")
    url = f"sqlite:///{tmp_path / 'messagelog.sqlite'}"
    migrate(url)
    return {"MESSAGELOG_DATABASE_URL": url, "MESSAGELOG_SECRET_KEY": SECRET}


def ok(done: CommandResult) -> str:
    assert done.code == 0, done.err
    return done.out


def lines(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()[1:]]


def test_accounts_are_kept_and_what_is_done_to_them_is_recorded(env: dict[str, str]) -> None:
    added = command("operators", "add", "Grace", "--role", "text", "--role", "act", env=env, stdin=PASSWORD)
    assert ok(added) == "grace can sign in.\n"
    again = command("operators", "add", "grace", env=env, stdin=PASSWORD)
    assert (again.code, again.err) == (2, "There is an operator grace already.\n")
    assert [line[:3] for line in lines(ok(command("operators", "list", env=env)))] == [
        ["grace", "act text", "0"]
    ]
    assert ok(command("operators", "roles", "grace", env=env)) == "grace has the roles: none.\n"
    ok(command("operators", "password", "grace", env=env, stdin=b"another horse battery\n"))
    assert ok(command("operators", "end-sessions", "grace", env=env)) == "0 sessions of grace have ended.\n"
    assert ok(command("operators", "remove", "grace", env=env)) == "grace is removed.\n"
    gone = command("operators", "roles", "grace", env=env)
    assert (gone.code, gone.err) == (2, "There is no operator grace.\n")
    recorded = lines(ok(command("audit", "--operator", "local:root", env=env)))
    assert [(line[2], line[-1]) for line in recorded] == [
        ("remove_operator", "grace"),
        ("change_password", "grace"),
        ("change_roles", "grace"),
        ("add_operator", "grace"),
    ]
    assert "horse" not in repr(recorded)
    assert lines(ok(command("audit", "--since", "2999-01-01", env=env))) == []


@pytest.mark.parametrize("stdin", [b"", b"short\n", b"grace grace grace\n"])
def test_a_weak_password_is_refused(env: dict[str, str], stdin: bytes) -> None:
    done = command("operators", "add", "grace", env=env, stdin=stdin)
    assert done.code == 2
    assert done.err.startswith("password: expected ")
    assert ok(command("operators", "list", env=env)).count("\n") == 1


def test_a_password_is_no_argument(env: dict[str, str]) -> None:
    assert command("operators", "add", "grace", "correct horse battery", env=env).code == 2


def test_a_contact_is_exported_and_a_user_and_a_tenant_are_erased(
    env: dict[str, str], tmp_path: Path
) -> None:
    async def log_some() -> None:
        async with live_server(env["MESSAGELOG_DATABASE_URL"], tmp_path) as here:
            await here.log(body(message(1)))
            here.crm.refuse = lambda call: refusal(422) if call.method != "GET" else None
            await here.log(body(message(2, "it waits"), conversation="waits"))

    asyncio.run(log_some())
    file = tmp_path / "export.json"
    whose = ("acme", "demo")
    ok(command("export", "contact", *whose, "--id", "c-1", "--output", str(file), env=env))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_bytes()) == json.loads(
        ok(command("export", "contact", *whose, "--id", "c-1", env=env))
    )
    assert b"it waits" in file.read_bytes()
    assert command("export", "contact", *whose, "--id", "c-1", "--output", str(file), env=env).code == 2
    assert command("export", "contact", *whose, env=env).code == 2
    assert command("erase", "user", *whose, "u-ada", env=env, stdin=b"n\n").code == 1
    erased = ok(command("erase", "user", *whose, "u-ada", "--yes", env=env))
    assert erased.splitlines()[0] == "users\t1"
    assert "messages\t1" in erased
    assert "kept\t1" in erased
    erased = ok(command("erase", "tenant", "acme", "--yes", env=env))
    assert "messages\t1" in erased
    assert len(ok(command("logs", env=env)).splitlines()) == 1
    acts = [line[2] for line in lines(ok(command("audit", env=env)))]
    assert acts[:2] == ["erase_tenant", "erase_user"]
    assert set(acts[2:]) == {"export"}
