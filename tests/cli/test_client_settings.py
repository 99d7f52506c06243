"""`messagelog settings`: what the operator says for all users of a tenant."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from messagelog.storage.database import migrate
from support.cli_process import CommandResult, command
from support.live_server import live_server

if TYPE_CHECKING:
    from pathlib import Path

WHOSE = ("--tenant", "acme", "--platform", "demo")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    url = f"sqlite:///{tmp_path / 'messagelog.sqlite'}"
    migrate(url)
    return {"MESSAGELOG_DATABASE_URL": url}


def settings(env: dict[str, str], *arguments: str) -> CommandResult:
    return command("settings", *arguments, *WHOSE, env=env)


def show_settings(env: dict[str, str]) -> Any:
    done = settings(env, "show")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_settings_are_set_hidden_and_left_to_the_users_again(env: dict[str, str]) -> None:
    assert show_settings(env) == {}
    assert settings(env, "set", "autoLogSMS", "true").code == 0
    assert settings(env, "set", "messagelogTimezone", "Europe/Berlin", "--customizable").code == 0
    assert settings(env, "hide", "autoLogCall").code == 0
    assert show_settings(env) == {
        "autoLogCall": {"isRemoved": True},
        "autoLogSMS": {"value": True},
        "messagelogTimezone": {"value": "Europe/Berlin", "customizable": True},
    }
    assert settings(env, "unset", "autoLogSMS").code == 0
    assert show_settings(env).keys() == {"autoLogCall", "messagelogTimezone"}


def test_a_file_replaces_all_of_them_and_users_see_it(env: dict[str, str], tmp_path: Path) -> None:
    settings(env, "set", "before", "1")
    file = tmp_path / "settings.json"
    wanted = {"autoLogSMS": {"value": True}, "messagelogLanguage": {"value": "de", "customizable": True}}
    file.write_text(json.dumps(wanted))
    done = settings(env, "load", str(file))
    assert (done.code, done.out) == (0, "2 settings for acme at demo.\n")
    assert show_settings(env) == wanted

    async def users_see() -> Any:
        async with live_server(env["MESSAGELOG_DATABASE_URL"], tmp_path) as here:
            return (await here.ask("GET", f"/user/settings?jwtToken={await here.token()}")).body

    assert asyncio.run(users_see()) == {
        "autoLogSMS": {"value": True, "customizable": False},
        "messagelogLanguage": {"value": "de", "customizable": True},
    }


def test_a_setting_that_cannot_be_is_refused_by_its_name(env: dict[str, str], tmp_path: Path) -> None:
    refused = settings(env, "set", "messagelogTimezone", "Mars")
    assert refused.code == 2
    assert refused.err == (
        "userSettings.messagelogTimezone.value: expected an IANA time zone, such as Europe/Berlin.\n"
    )
    file = tmp_path / "settings.json"
    file.write_text('{"autoLogSMS": {"valeu": true}}')
    refused = settings(env, "load", str(file))
    assert (refused.code, refused.err) == (
        2,
        "userSettings.autoLogSMS: object contains unknown field `valeu`.\n",
    )
    assert show_settings(env) == {}
