"""Signing in with OAuth as App Connect's client does it: a window to the CRM, and the page that it comes back to."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from yarl import URL

from messagelog.server.context import REDIRECT_URI
from support.live_server import live_server
from support.oauth_server import REGISTERED, OAuthCrm, oauth_crm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.live_server import LiveServer, Reply

BEHIND = "&hostname=crm.test&rcAccountId=37439510"
"""What the client writes behind the URL of the page, which it does not encode."""


@dataclass
class Browser:
    """The client's side of a sign-in at a server, and the CRM where it happens."""

    here: LiveServer
    crm: OAuthCrm

    async def authorization_url(self, query: str = "") -> str:
        """Where `authUrl` leads to, with what the client writes behind it."""
        manifest = (await self.here.ask("GET", "/crmManifest?platformName=oauth-crm")).body
        auth = manifest["platforms"]["oauth-crm"]["auth"]
        assert auth["type"] == "oauth"
        told = auth["oauth"]
        path = told["authUrl"].removeprefix(self.here.url)
        path += f"?response_type=code&client_id={told['clientId']}"
        path += f"&state=platform=oauth-crm&redirect_uri={told['redirectUri']}"
        reply = await self.here.ask("GET", path + query)
        assert reply.status == 302, reply.body
        return reply.headers["location"]

    async def window(self, url: str | None = None) -> str:
        """Goes to the CRM, grants (or denies) what it asks; the URL that the window ends at."""
        url = url or await self.authorization_url()
        async with self.here.client.get(URL(url, encoded=True), allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
            page = answer.headers["location"]
        assert page.startswith(f"{REDIRECT_URI}?")
        return page

    async def back(self, page: str, behind: str = BEHIND) -> Reply:
        """Hands the URL that the window ended at to our server, as it is."""
        return await self.here.ask("GET", f"/oauth-callback?callbackUri={page}{behind}")

    async def sign_in(self) -> str:
        """The session token of a sign-in without incidents."""
        reply = await self.back(await self.window())
        assert reply.status == 200, reply.body
        token: str = reply.body["jwtToken"]
        return token

    async def log(self, token: str, body: Any) -> Reply:
        return await self.here.ask("POST", f"/messageLog?jwtToken={token}", json=body)


def values_of(url: str) -> dict[str, str]:
    """The values of a URL's query."""
    return {name: each[0] for name, each in parse_qs(urlsplit(url).query).items()}


def encode_url(page: str) -> str:
    """The URL as a client writes it that encodes it."""
    return quote(page, safe="")


@asynccontextmanager
async def browser(
    database_url: str, folder: Path, *, config: dict[str, Any] | None = None, **changes: Any
) -> AsyncIterator[Browser]:
    """A server whose users sign in at an OAuth CRM, which is as `changes` say."""
    async with oauth_crm(folder, **changes) as crm:
        more = {"oauth_clients": {"oauth-crm": REGISTERED}, **(config or {})}
        async with live_server(database_url, folder, more={"oauth-crm": crm.connector}, **more) as here:
            yield Browser(here, crm)
