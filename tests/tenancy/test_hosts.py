"""Two hosts that answer alike are two tenants: a stranger's host takes over no user, whenever it comes.

The server is the real one, and the CRMs are real ones on loopback. One is the user's. The other one is a stranger's: it
says of every caller that this is the very same user of the very same tenant, and records all that it gets.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from messagelog.connectors import Rejected, Unavailable
from messagelog.core.operators.accounts import local_operator
from messagelog.core.users.tenants import Tenants
from messagelog.testing.demo_crm.serving import _serve_app, serve_demo_crm
from storage.journal import run_sql
from support.live_server import ADA, SQLITE_ONLY, FastDemoConnector, live_server
from support.oauth_browser import Browser
from support.oauth_server import REGISTERED, OAuthCrm, OAuthDemo, oauth_crm
from support.requests import body, message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request

    from messagelog.testing.demo_crm.serving import DemoCrmServer
    from support.live_server import LiveServer, Reply

SECRET = "words that only the user's CRM may hear"
TAKEN_OVER = "strangers-key"


@dataclass
class Stranger:
    """A host that answers as the demo CRM answers Ada, whatever the key is, and has noted all that it heard."""

    url: str = ""
    heard: list[str] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        sent = (await request.body()).decode()
        self.heard.append(f"{request.method} {request.url} {request.headers.items()} {sent}")
        if request.method != "GET":
            return JSONResponse({"id": f"a-{len(self.heard)}"}, 201)
        if request.url.path.endswith("/me"):
            me = {"id": "u-ada", "name": "Ada Lovell", "tenant": "acme"}
            return JSONResponse({**me, "timezone": "America/Los_Angeles", "timezone_offset": None})
        return JSONResponse([])

    @property
    def all_heard(self) -> str:
        return "\n".join(self.heard)


@dataclass(frozen=True)
class Hosts:
    """Where users may say that their CRM is, and the CRM at each."""

    urls: dict[str, str]

    def base_url_for(self, hostname: str) -> str:
        if hostname not in self.urls:
            raise Rejected("no such host")
        return self.urls[hostname]


class SelfHosted(FastDemoConnector):
    """The demo's connector, for a CRM that everybody hosts."""

    name = "hosted"

    def __init__(self, hosts: Hosts) -> None:
        super().__init__("")
        self.hosts = hosts

    def base_url_for(self, hostname: str) -> str:
        return self.hosts.base_url_for(hostname)


class SelfHostedOAuth(OAuthDemo):
    """The same with one authorization server for all, as a maker of self-hosted CRMs may run it."""

    def __init__(self, crm: OAuthCrm, hosts: Hosts) -> None:
        super().__init__(crm)
        self.hosts = hosts

    def base_url_for(self, hostname: str) -> str:
        return self.hosts.base_url_for(hostname)


@dataclass
class Place:
    """A server, the CRM of Ada's company at `crm.test`, and the stranger's host `stranger.test`."""

    here: LiveServer
    crm: DemoCrmServer
    stranger: Stranger

    async def sign_in(self, host: str, key: str = ADA) -> str:
        reply = await self.try_sign_in(host, key)
        assert reply.status == 200, reply.body
        token: str = reply.body["jwtToken"]
        return token

    async def try_sign_in(self, host: str, key: str = ADA) -> Reply:
        return await self.here.ask(
            "POST", "/apiKeyLogin", json={"apiKey": key, "platform": "hosted", "hostname": host}
        )

    async def log(self, token: str, *messages: dict[str, Any], **more: Any) -> Reply:
        return await self.here.ask("POST", f"/messageLog?jwtToken={token}", json=body(*messages, **more))

    async def written(self) -> list[str]:
        """The bodies of the activities in the CRM of Ada's company."""
        async with self.crm.api_client(ADA) as api_client:
            return [each["body"] for each in (await api_client.ask("GET", "/api/activities")).body]

    async def chaos(self, **changes: Any) -> None:
        async with self.crm.api_client(ADA) as api_client:
            await api_client.chaos(**changes)


@asynccontextmanager
async def place(database_url: str, folder: Path) -> AsyncIterator[Place]:
    stranger = Stranger()
    async with AsyncExitStack() as stack:
        stranger.url = await stack.enter_async_context(_serve_app(_app(stranger)))
        crm = await stack.enter_async_context(serve_demo_crm(folder / "hosted.sqlite"))
        hosts = Hosts({"crm.test": f"{crm.url}/api", "stranger.test": f"{stranger.url}/api"})
        more = {"hosted": SelfHosted(hosts)}
        here = await stack.enter_async_context(live_server(database_url, folder, more=more))
        await here.context.runtime.start()
        yield Place(here, crm, stranger)


def _app(stranger: Stranger) -> Starlette:
    methods = ["GET", "POST", "PATCH", "PUT", "DELETE"]
    return Starlette(routes=[Route("/{path:path}", stranger.answer, methods=methods)])


def users_of(url: str) -> set[tuple[str, str, str]]:
    """The tenant, the id and the host of every user."""
    return {tuple(row) for row in run_sql(url, 'SELECT "tenant", "id", "hostname" FROM "users"')}


# ------------------------------------------------------------------------------------------ takes over no user


async def test_two_hosts_that_answer_alike_are_two_tenants(database_url: str, tmp_path: Path) -> None:
    async with place(database_url, tmp_path) as there:
        ada = await there.sign_in("crm.test")
        assert (await there.log(ada, message(1, SECRET))).body["logIds"] == ["1"]
        stranger = await there.sign_in("stranger.test", TAKEN_OVER)
        assert (await there.log(stranger, message(1, "other words"))).body["logIds"] == ["1"], (
            "what Ada has logged is not logged for a stranger"
        )
        assert (await there.log(ada, message(1), message(2, SECRET))).body["logIds"] == ["2"], (
            "her session is her own still, and goes to her own CRM"
        )
        (written,) = await there.written()
        assert written.count(SECRET) == 2
        assert "other words" not in written
        assert SECRET not in there.stranger.all_heard
        assert ADA not in there.stranger.all_heard
        tenants = {tenant for tenant, _, _ in users_of(database_url)}
        assert tenants == {f"acme@{_host(there.crm.url)}", f"acme@{_host(there.stranger.url)}"}


def _host(url: str) -> str:
    return url.removesuffix("/demo-crm")


async def test_nobody_squats_on_a_tenant_that_is_not_there_yet(database_url: str, tmp_path: Path) -> None:
    async with place(database_url, tmp_path) as there:
        stranger = await there.sign_in("stranger.test", TAKEN_OVER)
        await there.log(stranger, message(1, "a snare"))
        own = {"userSettings": {"snare": {"value": "theirs"}}}
        await there.here.ask("POST", f"/user/settings?jwtToken={stranger}", json=own)
        ada = await there.sign_in("crm.test")
        assert (await there.here.ask("GET", f"/user/settings?jwtToken={ada}")).body == {}
        assert (await there.log(ada, message(1, SECRET))).body["logIds"] == ["1"], "and not logged already"
        (written,) = await there.written()
        assert SECRET in written
        assert SECRET not in there.stranger.all_heard


@pytest.mark.parametrize(("status", "state"), [(503, "unknown"), (429, "planned"), (401, "unknown")])
async def test_what_waits_never_goes_to_a_strangers_host(
    database_url: str, tmp_path: Path, status: int, state: str
) -> None:
    """It waits for the CRM, or for Ada to sign in again."""
    async with place(database_url, tmp_path) as there:
        ada = await there.sign_in("crm.test")
        await there.chaos(failure_rate=1.0, status=status)
        await there.log(ada, message(1, SECRET))
        assert await there.here.states() == {"1": state}
        stranger = await there.sign_in("stranger.test", TAKEN_OVER)
        await there.log(stranger, message(2, "other words"))
        await there.here.context.runtime.sweep()
        await there.here.context.runtime.idle()
        assert "other words" in there.stranger.all_heard
        assert SECRET not in there.stranger.all_heard
        await there.chaos(reset=True)
        await there.sign_in("crm.test")
        await there.here.until_logged("1", "2")
        (written,) = await there.written()
        assert SECRET in written
        assert SECRET not in there.stranger.all_heard


@SQLITE_ONLY
async def test_sessions_and_settings_of_one_are_not_the_others(database_url: str, tmp_path: Path) -> None:
    async with place(database_url, tmp_path) as there:
        here = there.here
        ada, stranger = await there.sign_in("crm.test"), await there.sign_in("stranger.test", TAKEN_OVER)
        for token, note in ((ada, "ada's"), (stranger, "the stranger's")):
            form = {"userSettings": {"note": {"value": note}}}
            await here.ask("POST", f"/user/settings?jwtToken={token}", json=form)
        assert (await here.ask("GET", f"/user/settings?jwtToken={ada}")).body["note"]["value"] == "ada's"
        assert (await here.ask("GET", f"/hostname?jwtToken={ada}")).body == "crm.test"
        assert (await here.ask("GET", f"/hostname?jwtToken={stranger}")).body == "stranger.test"
        for token in (ada, stranger):
            refreshed = await here.ask("POST", f"/user/refreshInfo?jwtToken={token}")
            assert refreshed.body["successful"] is True, "the CRM calls the tenant as it did"
        assert (await here.ask("POST", f"/unAuthorize?jwtToken={stranger}")).status == 200
        assert (await there.log(stranger, message(1))).status == 401
        assert (await there.log(ada, message(1))).body["successful"] is True
        found = await here.ask("GET", f"/contact?jwtToken={ada}&phoneNumber=+14155550142")
        assert "Maya Patel" in found.raw.decode(), "and no empty list that a stranger's CRM has answered"


@SQLITE_ONLY
async def test_a_host_that_redirects_vouches_for_nobody(database_url: str, tmp_path: Path) -> None:
    """Neither is anything asked where it leads to: the key is for the host that the user named."""
    async with place(database_url, tmp_path) as there:
        connector = there.here.context.config.connectors["hosted"]
        assert isinstance(connector, SelfHosted)
        to = connector.hosts.urls["crm.test"]

        async def redirect(request: Request) -> Response:
            return RedirectResponse(f"{to}{request.url.path}", 307)

        async with _serve_app(Starlette(routes=[Route("/{path:path}", redirect)])) as url:
            connector.hosts.urls["moved.test"] = url
            reply = await there.try_sign_in("moved.test")
        assert (reply.status, reply.body["returnMessage"]["message"]) == (
            400,
            "Could not load user information",
        )
        assert run_sql(database_url, 'SELECT * FROM "tenants"') == []
        assert users_of(database_url) == set()


@SQLITE_ONLY
@pytest.mark.parametrize("spelling", ["CRM.test", "crm.TEST.", " crm.test ", "\uff43\uff52\uff4d.test"])
async def test_spellings_of_one_host_are_one_tenant(database_url: str, tmp_path: Path, spelling: str) -> None:
    async with place(database_url, tmp_path) as there:
        await there.log(await there.sign_in("crm.test"), message(1))
        again = await there.log(await there.sign_in(spelling), message(1), message(2))
        assert again.body["logIds"] == ["2"]
        assert len(users_of(database_url)) == 1


# --------------------------------------------------------------------------------------------------------- OAuth


@asynccontextmanager
async def oauth_place(
    database_url: str, folder: Path, now: list[float]
) -> AsyncIterator[tuple[Browser, Stranger]]:
    """Users of one authorization server, whose CRM is where they say."""
    stranger = Stranger()
    async with AsyncExitStack() as stack:
        stranger.url = await stack.enter_async_context(_serve_app(_app(stranger)))
        crm = await stack.enter_async_context(oauth_crm(folder, clock=lambda: now[0]))
        hosts = Hosts({"crm.test": f"{crm.url}/crm/api", "stranger.test": f"{stranger.url}/api"})
        here = await stack.enter_async_context(
            live_server(
                database_url,
                folder,
                more={"oauth-crm": SelfHostedOAuth(crm, hosts)},
                oauth_clients={"oauth-crm": REGISTERED},
                now=lambda: now[0],
            )
        )
        yield Browser(here, crm), stranger


async def sign_in_at(there: Browser, host: str) -> str:
    reply = await there.back(await there.window(), f"&hostname={host}")
    assert reply.status == 200, reply.body
    token: str = reply.body["jwtToken"]
    return token


@pytest.mark.parametrize("first", ["crm.test", "stranger.test"])
async def test_two_hosts_that_answer_alike_are_two_tenants_with_oauth(
    database_url: str, tmp_path: Path, first: str
) -> None:
    now = [time.time()]
    async with oauth_place(database_url, tmp_path, now) as (there, stranger):
        second = "stranger.test" if first == "crm.test" else "crm.test"
        tokens = {host: await sign_in_at(there, host) for host in (first, second)}
        hers = there.crm.grants[0 if first == "crm.test" else 1]
        now[0] += 3590  # time to refresh
        sent = await there.log(tokens["crm.test"], body(message(1, SECRET)))
        assert sent.body["logIds"] == ["1"]
        assert there.crm.refreshed_with == [hers.refresh_token]
        sent = await there.log(tokens["stranger.test"], body(message(1, "other words")))
        assert sent.body["logIds"] == ["1"]
        assert "other words" in stranger.all_heard
        assert SECRET not in stranger.all_heard
        given_to_her = {hers.access_token, there.crm.grants[2].access_token}
        assert not [token for token in given_to_her if token in stranger.all_heard]
        assert {host for _, _, host in users_of(database_url)} == {"crm.test", "stranger.test"}
        assert (
            await there.here.ask("POST", f"/unAuthorize?jwtToken={tokens['stranger.test']}")
        ).status == 200
        assert (await there.log(tokens["crm.test"], body(message(2)))).body["successful"] is True


@SQLITE_ONLY
async def test_renewed_credentials_are_not_shown_to_the_host_of_before(
    database_url: str, tmp_path: Path
) -> None:
    """The tenant's CRM moves while a request is under way at the old host, which answers 401."""
    now = [time.time()]
    async with oauth_place(database_url, tmp_path, now) as (there, stranger):
        users, connector = there.here.context.users, there.here.context.config.connectors["oauth-crm"]
        await sign_in_at(there, "crm.test")
        ((tenant, id_, _),) = users_of(database_url)
        session = await users.session(connector, tenant, id_)
        there.crm.grants[0].access_revoked = True
        now[0] += 120
        operator = local_operator("test")
        await Tenants(there.here.context.store).move(operator, connector, tenant, "stranger.test")
        with pytest.raises(Unavailable, match="another host"):
            await session.http.get("/me")
        moved = await users.session(connector, tenant, id_)
        assert (await moved.http.get("/me"))["tenant"] == "acme"
        old_host = [repr(call.headers) for call in there.crm.recorded.calls if call.path.startswith("/crm")]
        assert old_host
        assert not [heard for heard in old_host if there.crm.grants[-1].access_token in heard]
        assert there.crm.grants[-1].access_token in stranger.all_heard
