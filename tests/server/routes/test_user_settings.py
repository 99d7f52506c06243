"""`/user/settings`, `/user/refreshInfo` and `/admin/settings`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from messagelog.connectors import Session, UserInfo
from messagelog.core.users.settings import AdminSetting
from support.live_server import ADA, GRACE, OTTO, SQLITE_ONLY, FastDemoConnector, live_server

if TYPE_CHECKING:
    from pathlib import Path

    from support.live_server import LiveServer, Reply


async def read(here: LiveServer, user: str = ADA) -> Any:
    return (await here.ask("GET", f"/user/settings?jwtToken={await here.token(user)}")).body


async def write(here: LiveServer, body: Any, user: str = ADA) -> Reply:
    return await here.ask("POST", f"/user/settings?jwtToken={await here.token(user)}", json=body)


async def test_settings_are_kept_for_the_user_alone(here: LiveServer) -> None:
    assert await read(here) == {}
    mine = {"autoLogSMS": {"value": True}, "serverSideLogging": {"enable": False}}
    assert (await write(here, {"userSettings": mine})).body == {"userSettings": mine}
    assert await read(here) == mine
    assert await read(here, GRACE) == await read(here, OTTO) == {}


async def test_the_operators_settings_are_told_and_win(here: LiveServer) -> None:
    settings = here.context.settings
    await settings.change_admins("acme", "demo", {"autoLogSMS": AdminSetting(value=True)})
    fixed = {"autoLogSMS": {"value": True, "customizable": False}}
    assert await read(here) == await read(here, GRACE) == fixed
    assert await read(here, OTTO) == {}, "she is of another tenant"
    reply = await write(here, {"userSettings": {"autoLogSMS": {"value": False}, "x": {"value": 1}}})
    assert reply.body == {"userSettings": {**fixed, "x": {"value": 1}}}


@SQLITE_ONLY
async def test_settings_can_be_removed(here: LiveServer) -> None:
    await write(here, {"userSettings": {"a": {"value": 1}, "b": {"value": 2}}})
    reply = await write(here, {"userSettings": {}, "settingKeysToRemove": ["a"]})
    assert reply.body == {"userSettings": {"b": {"value": 2}}}


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "body: expected `object`, got `array`"),
        ({"userSettings": []}, "userSettings: expected `object`, got `array`"),
        ({"settingKeysToRemove": "a"}, "settingKeysToRemove: expected `array`, got `str`"),
    ],
)
async def test_settings_that_are_not_right_are_refused(here: LiveServer, body: Any, words: str) -> None:
    reply = await write(here, body)
    assert (reply.status, reply.body) == (400, words)
    assert await read(here) == {}


async def test_one_bad_value_does_not_lose_the_rest_of_a_save(here: LiveServer) -> None:
    await write(here, {"userSettings": {"messagelogLanguage": {"value": "es"}}})
    tree = {
        "language": {"value": "auto"},
        "autoLogSMS": {"value": True},
        "messagelogTimezone": {"value": "Moon"},
        "messagelogLanguage": {"value": "Klingon!"},
        "odd": 1,
    }
    reply = await write(here, {"userSettings": tree})
    kept = {
        "language": {"value": "auto"},
        "autoLogSMS": {"value": True},
        "messagelogLanguage": {"value": "es"},
    }
    assert (reply.status, reply.body["userSettings"]) == (200, kept)
    notice = reply.body["returnMessage"]
    assert notice["messageType"] == "warning"
    for id_ in ("messagelogTimezone", "messagelogLanguage", "odd"):
        assert f"userSettings.{id_}" in notice["message"]
    assert "Moon" not in notice["message"]
    assert await read(here) == kept


@SQLITE_ONLY
async def test_a_warning_names_few_of_many(here: LiveServer) -> None:
    reply = await write(here, {"userSettings": {f"s{n}": n for n in range(7)}})
    assert reply.body["returnMessage"]["message"].endswith("; and 2 more")


@SQLITE_ONLY
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nobody_is_an_administrator(here: LiveServer, method: str) -> None:
    path = f"/admin/settings?jwtToken={await here.token()}&rcAccessToken=x"
    reply = await here.ask(method, path, json={} if method == "POST" else None)
    assert (reply.status, reply.body) == (403, "Admin validation failed")


class Renamed(FastDemoConnector):
    """A CRM in which the user has married and moved."""

    name_now = "Ada King"
    id_now = "u-ada"

    async def get_user_info(self, session: Session) -> UserInfo:
        info = await super().get_user_info(session)
        if not session.user_id:
            return info
        return UserInfo(id=self.id_now, name=self.name_now, tenant=info.tenant, timezone="Europe/London")


async def test_what_the_crm_says_of_the_user_is_read_anew(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, connector=Renamed) as here:
        path = f"/user/refreshInfo?jwtToken={await here.token()}"
        reply = await here.ask("POST", path, json={})
        assert (reply.status, reply.body["successful"]) == (200, True)
        user = await here.context.users.find("acme", "demo", "u-ada")
        assert user is not None, "she is signed in still"
        assert (user.name, user.timezone, user.hostname) == ("Ada King", "Europe/London", "crm.test")


@SQLITE_ONLY
async def test_what_was_read_anew_counts_at_once(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, connector=Renamed) as here:
        users, connector = here.context.users, here.context.runtime.connector("demo")
        token = await here.token()
        assert (await users.session(connector, "acme", "u-ada")).user_name == "Ada Lovell"
        await here.ask("POST", f"/user/refreshInfo?jwtToken={token}")
        assert (await users.session(connector, "acme", "u-ada")).user_name == "Ada King"


class Replaced(Renamed):
    """A CRM in which the user's key is another user's now."""

    id_now = "u-eve"


@SQLITE_ONLY
async def test_somebody_else_is_not_taken_for_the_user(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, connector=Replaced) as here:
        reply = await here.ask("POST", f"/user/refreshInfo?jwtToken={await here.token()}")
        assert (reply.status, reply.body["successful"]) == (200, False)
        assert reply.body["returnMessage"]["messageType"] == "warning"
        user = await here.context.users.find("acme", "demo", "u-ada")
        assert user is not None
        assert user.name == "Ada Lovell"
        assert await here.context.users.find("acme", "demo", "u-eve") is None


@SQLITE_ONLY
async def test_a_crm_that_fails_is_told_and_changes_nothing(here: LiveServer) -> None:
    token = await here.token()
    await here.chaos(failure_rate=1, status=503)
    reply = await here.ask("POST", f"/user/refreshInfo?jwtToken={token}")
    assert (reply.status, reply.body["successful"]) == (200, False)
    assert reply.body["returnMessage"]["message"].startswith("Your details could not be read. ")
