"""What the client asks about the server, and about what it does not do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import messagelog
from messagelog.connectors import Connector, OAuth
from messagelog.core.users.oauth import OAuthClient
from support.live_server import GRACE, SQLITE_ONLY, FastDemoConnector, live_server

if TYPE_CHECKING:
    from pathlib import Path

    from support.live_server import LiveServer

pytestmark = SQLITE_ONLY

SHUT = "Please go to Settings and authorize CRM platform"


async def test_the_version(here: LiveServer) -> None:
    assert (await here.ask("GET", "/serverVersionInfo")).body == {"version": messagelog.__version__}


async def test_ids_are_hashed_alike_each_time_and_differently_each(here: LiveServer) -> None:
    path = "/userInfoHash?extensionId=178010005&accountId=178009004"
    first, again = (await here.ask("GET", path)).body, (await here.ask("GET", path)).body
    assert first == again
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in first.values())
    swapped = (await here.ask("GET", "/userInfoHash?extensionId=178009004&accountId=178010005")).body
    assert len({*first.values(), *swapped.values()}) == 4, "an account's hash tells nothing of an extension"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "extensionId: expected 1 to 64 characters"),
        ("?extensionId=1", "accountId: expected 1 to 64 characters"),
        (f"?extensionId={'1' * 65}&accountId=1", "extensionId: expected 1 to 64 characters"),
    ],
)
async def test_an_id_that_is_missing_is_named(here: LiveServer, query: str, words: str) -> None:
    reply = await here.ask("GET", f"/userInfoHash{query}")
    assert (reply.status, reply.body) == (400, words)


async def test_the_host_of_the_crm_as_text(here: LiveServer) -> None:
    reply = await here.ask("GET", f"/hostname?jwtToken={await here.token(GRACE)}")
    assert (reply.status, reply.raw) == (200, b"crm.test")
    assert reply.headers["content-type"].startswith("text/plain")


class Bare(FastDemoConnector):
    """A CRM that can do what it must, and nothing else."""

    create_contact = Connector.create_contact
    find_contact_with_name = Connector.find_contact_with_name


async def test_what_a_connector_can_do(here: LiveServer) -> None:
    can = (await here.ask("GET", "/implementedInterfaces?platform=demo")).body
    assert {name for name, able in can.items() if able} == {
        *("getAuthType", "getBasicAuth", "getUserInfo", "getLogFormatType", "refreshUserInfo"),
        *("findContact", "findContactWithName", "createContact", "createMessageLog", "updateMessageLog"),
    }
    assert {"createCallLog", "getLicenseStatus", "cacheCallNote", "unAuthorize"} <= can.keys()
    assert can["getManagedAuthOptions"] is False


async def test_what_a_connector_cannot_do(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, connector=Bare) as here:
        can = (await here.ask("GET", "/implementedInterfaces?platform=demo")).body
        assert (can["createContact"], can["findContactWithName"], can["findContact"]) == (False, False, True)


class Granting(FastDemoConnector):
    """Its users sign in with OAuth, and the access that they grant can be ended."""

    name = "granting"
    oauth = OAuth(
        authorization_url="https://crm.test/authorize",
        token_url="https://crm.test/token",
        revocation_url="https://crm.test/revoke",
    )


class Lasting(Granting):
    """Only the CRM can end the access."""

    name = "lasting"
    oauth = OAuth(authorization_url="https://crm.test/authorize", token_url="https://crm.test/token")


async def test_what_a_connector_with_oauth_can_do(database_url: str, tmp_path: Path) -> None:
    more = {each.name: each("https://crm.test") for each in (Granting, Lasting)}
    clients = dict.fromkeys(more, OAuthClient("client-1"))
    async with live_server(database_url, tmp_path, more=more, oauth_clients=clients) as here:
        for name, ended in (("granting", True), ("lasting", False)):
            can = (await here.ask("GET", f"/implementedInterfaces?platform={name}")).body
            assert (can["getOauthInfo"], can["unAuthorize"]) == (True, ended)
            assert "getBasicAuth" not in can


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "Please provide platform."),
        ("?platform=", "Please provide platform."),
        ("?platform=x", "platform: this server has no connector for it"),
    ],
)
async def test_interfaces_of_no_platform(here: LiveServer, query: str, words: str) -> None:
    reply = await here.ask("GET", f"/implementedInterfaces{query}")
    assert (reply.status, reply.body) == (400, words)


async def test_nobody_manages_logins(here: LiveServer) -> None:
    keys = (await here.ask("GET", "/apiKeyManagedAuthState?platform=demo&rcAccessToken=x")).body
    assert keys["hasManagedAuth"] is keys["allRequiredFieldsSatisfied"] is False
    assert keys["visibleFieldConsts"] is None, "all fields are shown"
    assert keys["missingRequiredFieldConsts"] == []
    oauth = (await here.ask("GET", "/oauthManagedAuthState?platform=demo")).body
    assert oauth == {"isAdmin": False, "hasAccountOAuth": False, "hasPendingOAuth": False}


async def test_no_call_is_logged_and_the_client_keeps_quiet_about_it(here: LiveServer) -> None:
    token = await here.token()
    reply = await here.ask("GET", f"/callLog?jwtToken={token}&sessionIds=1,2&requireDetails=false")
    assert (reply.status, reply.body) == (200, {"successful": True, "logs": [], "returnMessage": None})
    for method, path in [
        ("POST", "/callLog"),
        ("PATCH", "/callLog"),
        ("POST", "/callLog/cacheNote"),
        ("PUT", "/callDisposition"),
        ("GET", "/calldown"),
    ]:
        refused = await here.ask(method, f"{path}?jwtToken={token}", json={})
        assert refused.status == 404, "the client shows any other text"
        assert isinstance(refused.body, str)


@pytest.mark.parametrize("path", ["/user/preloadSettings?rcAccountId=1", "/releaseNotes"])
async def test_nothing_to_tell(here: LiveServer, path: str) -> None:
    assert (await here.ask("GET", path)).body == {}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/hostname"),
        ("GET", "/user/settings"),
        ("POST", "/user/settings"),
        ("POST", "/user/refreshInfo"),
        ("GET", "/contact?phoneNumber=1"),
        ("POST", "/contact"),
        ("GET", "/custom/contact/search?name=x"),
    ],
)
@pytest.mark.parametrize("token", ["", "undefined", "a.b.c"])
async def test_nobody_is_told_to_sign_in(here: LiveServer, method: str, path: str, token: str) -> None:
    joint = "&" if "?" in path else "?"
    reply = await here.ask(method, f"{path}{joint}jwtToken={token}", json={} if method == "POST" else None)
    assert (reply.status, reply.body) == (400, SHUT)
    assert here.crm.calls == []
