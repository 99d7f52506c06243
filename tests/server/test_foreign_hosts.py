"""What a stranger says of hosts, of addresses and of debugging changes nothing about where secrets go."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from support.live_server import ADA, SQLITE_ONLY, FastDemoConnector, live_server
from support.oauth_browser import browser
from support.requests import body, message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.live_server import LiveServer

pytestmark = SQLITE_ONLY


# ----------------------------------------------------------------------------------------- a foreign host


@asynccontextmanager
async def foreign() -> AsyncIterator[tuple[str, list[bytes]]]:
    """The address of a host that is none of ours, and all that it has heard."""
    heard: list[bytes] = []

    async def on_connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1000))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(on_connect, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", heard


@pytest.mark.parametrize("encoded", [True, False])
async def test_an_address_in_the_query_is_not_told_a_secret(
    database_url: str, tmp_path: Path, encoded: bool
) -> None:
    """In the original `tokenUrl` wins over the configured one, so that anybody can have the client's secret."""
    async with foreign() as (host, heard), browser(database_url, tmp_path) as there:
        names = ("tokenUrl", "token_url", "apiUrl", "api_url", "accessTokenUri", "revocationUrl")
        urls = "".join(
            f"&{name}={quote(f'http://{host}/x', safe='') if encoded else f'http://{host}/x'}"
            for name in names
        )
        page = await there.window(await there.authorization_url(urls))
        reply = await there.back(page, f"{urls}&username=eve&hostname=127.0.0.1")
        assert reply.status == 200
        (form,) = there.crm.forms
        assert form["grant_type"] == "authorization_code"
        token = reply.body["jwtToken"]
        assert (await there.log(token, body(message(1)))).body["logIds"] == ["1"]
        assert (await there.here.ask("POST", f"/unAuthorize?jwtToken={token}")).status == 200
        assert heard == []


@pytest.mark.parametrize("name", ["hostname", "tokenUrl", "apiUrl"])
async def test_an_address_in_a_login_is_not_told_the_key(
    database_url: str, tmp_path: Path, name: str
) -> None:
    async with foreign() as (host, heard), live_server(database_url, tmp_path) as here:
        form = {"apiKey": ADA, "platform": "demo", name: host, "additionalInfo": {name: f"http://{host}/"}}
        reply = await here.ask("POST", f"/apiKeyLogin?{name}=http://{host}/", json=form)
        assert reply.status == (400 if name == "hostname" else 200)
        assert heard == []


# --------------------------------------------------------------------------------------- a CRM that is inside


class Wherever(FastDemoConnector):
    """A connector that calls any host that the user names as the CRM's."""

    elsewhere = ""

    def base_url_for(self, hostname: str) -> str:
        return f"https://{hostname}:{self.elsewhere}/api" if hostname else self.base_url


@pytest.mark.parametrize("hostname", ["127.0.0.1", "localhost", "0x7f.1", "127.1", "2130706433", "0"])
async def test_a_user_does_not_lead_her_connector_inside(
    database_url: str, tmp_path: Path, hostname: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with foreign() as (host, heard):
        monkeypatch.setattr(Wherever, "elsewhere", host.partition(":")[2])
        async with live_server(database_url, tmp_path, connector=Wherever, private_hosts=frozenset()) as here:
            form = {"apiKey": ADA, "platform": "demo", "hostname": hostname}
            reply = await here.ask("POST", "/apiKeyLogin", json=form)
            assert reply.status == 400
            assert heard == []


async def test_a_log_to_an_address_inside_fails_and_says_why(here: LiveServer) -> None:
    await here.token()
    here.context.config.connectors["demo"].base_url = "https://10.0.0.1/api/secret-path"
    reply = await here.log(body(message(1)))
    assert reply.body["successful"] is False
    (log,) = await here.logs()
    assert log.reason is not None
    assert log.reason.startswith("rejected: ")
    assert "the address of 10.0.0.1 is not a public one" in log.reason
    assert "secret" not in log.reason
    assert await here.states() == {"1": "failed"}


# -------------------------------------------------------------------------------------------------- debugging


async def test_the_debug_header_does_nothing(here: LiveServer) -> None:
    token = await here.token()
    for method, path, sent in (
        ("GET", "/isAlive", None),
        ("GET", "/no/such/path", None),
        ("GET", f"/contact?jwtToken={token}&phoneNumber=%2B14155550142", None),
        ("POST", "/messageLog", b"{}"),
        ("POST", f"/messageLog?jwtToken={token}", b'{"logInfo":'),
        ("POST", "/apiKeyLogin", b'{"apiKey":"guess","platform":"demo"}'),
        ("GET", "/oauth-callback?callbackUri=x", None),
    ):
        plain, *debugged = [
            await here.ask(method, path, data=sent, headers=headers)
            for headers in ({}, {"is-debug": "true"}, {"Is-Debug": "1", "x-debug": "true"})
        ]
        for reply in debugged:
            assert (reply.status, reply.raw) == (plain.status, plain.raw)
            assert reply.headers.keys() == plain.headers.keys()
