"""Operators list tenants and move them over HTTP."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from messagelog.core.operators.accounts import Role
from messagelog.storage import transactions
from support.live_server import ADA, SQLITE_ONLY, FastDemoConnector, live_server
from support.requests import body, message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.live_server import LiveServer, Reply


class Hosted(FastDemoConnector):
    """The demo's connector, whose users say a host: it is the same CRM at each, by two names of this machine."""

    def base_url_for(self, hostname: str) -> str:
        return self.base_url.replace("127.0.0.1", hostname)


@asynccontextmanager
async def open_hosted_server(database_url: str, folder: Path) -> AsyncIterator[LiveServer]:
    hosts = frozenset({"127.0.0.1", "localhost", "::1"})
    async with live_server(database_url, folder, connector=Hosted, private_hosts=hosts) as here:
        yield here


async def sign_in(here: LiveServer, host: str) -> Reply:
    return await here.ask("POST", "/apiKeyLogin", json={"apiKey": ADA, "platform": "demo", "hostname": host})


async def test_a_tenant_is_moved_and_nothing_is_logged_again(database_url: str, tmp_path: Path) -> None:
    async with open_hosted_server(database_url, tmp_path) as here:
        token = (await sign_in(here, "127.0.0.1")).body["jwtToken"]
        await here.ask("POST", f"/messageLog?jwtToken={token}", json=body(message(1)))
        headers = await here.operator("grace", Role.ADMINISTER)
        listed = await here.ask("POST", "/operators/tenants", json={}, headers=headers)
        ((tenant, host),) = [(each["tenant"], each["host"]) for each in listed.body["tenants"]]
        assert host == here.url
        assert listed.headers["cache-control"] == "no-store"
        form = {"tenant": tenant, "platform": "demo", "hostname": "localhost"}
        moved = await here.ask("POST", "/operators/tenants/move", json=form, headers=headers)
        there = here.url.replace("127.0.0.1", "localhost")
        assert (moved.status, moved.body) == (200, {"before": [host], "host": there, "users": 1})
        token = (await sign_in(here, "localhost")).body["jwtToken"]
        sent = await here.ask("POST", f"/messageLog?jwtToken={token}", json=body(message(1), message(2)))
        assert sent.body["logIds"] == ["2"]
        assert len(await here.activities()) == 1
        (entry, *_) = await here.context.store.read(lambda: transactions.read_audit(0, 10))
        assert (entry.operator, entry.act, entry.tenant) == ("grace", "move_tenant", tenant)


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"tenant": "nobody"}, 404, "There is no such tenant."),
        ({"platform": "nowhere"}, 400, "platform: this server has no connector for it"),
        ({"hostname": "a b"}, 400, "hostname: expected the name of a host, such as crm.example.com"),
        ({"hostname": "localhost"}, 409, "This is the host of another tenant: acme@http://localhost:"),
        ({"tenant": "a\0"}, 400, "tenant: "),
    ],
)
async def test_what_is_no_move_is_refused(
    database_url: str, tmp_path: Path, changes: dict[str, str], status: int, words: str
) -> None:
    async with open_hosted_server(database_url, tmp_path) as here:
        for host in ("127.0.0.1", "localhost"):
            assert (await sign_in(here, host)).status == 200
        headers = await here.operator("grace", Role.ADMINISTER)
        tenant = f"acme@{here.url}"
        form = {"tenant": tenant, "platform": "demo", "hostname": "127.0.0.1", **changes}
        reply = await here.ask("POST", "/operators/tenants/move", json=form, headers=headers)
        assert reply.status == status
        assert reply.body.startswith(words)
        page = await here.ask("POST", "/operators/tenants", json={"limit": 1}, headers=headers)
        assert len(page.body["tenants"]) == 1
        rest = {"limit": 1, "after": page.body["next"]}
        page = await here.ask("POST", "/operators/tenants", json=rest, headers=headers)
        assert [each["tenant"] for each in page.body["tenants"]] == [
            f"acme@{here.url.replace('127.0.0.1', 'localhost')}"
        ]
        wrong = await here.ask("POST", "/operators/tenants", json={"after": "x"}, headers=headers)
        assert (wrong.status, wrong.body) == (400, "after: this is no page's next")
