"""`messagelog serve` as a process, with its CRM in another one."""

from __future__ import annotations

import asyncio
import re
import signal
from typing import TYPE_CHECKING

import aiohttp

from support.cli_process import command, running
from support.external_user import ExternalUser, request
from support.live_server import ADA, CLIENT_HEADERS

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


async def test_a_server_and_a_crm_that_is_a_process_of_its_own(tmp_path: Path) -> None:
    with running(tmp_path, "demo-crm", "--port", "0", "--data", str(tmp_path)) as crm:
        (crm_url,) = re.findall(r"answers at (\S+) ", await crm.wait_for_output("answers at"))
        env = {
            "MESSAGELOG_DATABASE_URL": f"sqlite:///{tmp_path / 'messagelog.sqlite'}",
            "MESSAGELOG_SECRET_KEY": SECRET,
            "MESSAGELOG_PUBLIC_URL": "https://log.example.com/",
            "MESSAGELOG_CONNECTORS": "demo",
            "MESSAGELOG_DEMO_CRM_URL": crm_url,
            "MESSAGELOG_PORT": "0",
        }
        migrated = await asyncio.to_thread(command, "migrate", env=env)
        assert migrated.code == 0
        with running(tmp_path, "serve", env=env) as server:
            text = await server.wait_for_output("messagelog serves demo at ")
            url = f"http://{text.split()[-1]}"
            ada = await sign_in(url, crm_url)
            manifest = await request("GET", f"{url}/crmManifest", None, CLIENT_HEADERS)
            assert manifest.body["serverUrl"] == "https://log.example.com"
            assert (await ada.log()).body["logIds"] == ["6424569001"]
            (activity,) = await ada.activities()
            assert "Can you send the renewal options?" in activity["body"]
            listed = await asyncio.to_thread(command, "logs", env=env)
            assert "8031152018338945839/7/13/2026\tacme\tdemo" in listed.out
            assert await server.end(signal.SIGTERM) == -signal.SIGTERM
        await crm.end(signal.SIGTERM)
    told = server.out.read_text() + server.err.read_text() + crm.err.read_text()
    assert server.err.read_text() == crm.err.read_text() == ""
    assert SECRET not in told
    assert ada.token not in told


CONNECTOR = """
from messagelog.connectors import Connector, OAuth


class TicketCrm(Connector):
    name = "ticket-crm"
    base_url = "https://crm.test/api"
    oauth = OAuth(authorization_url="https://crm.test/authorize", token_url="https://crm.test/token")
"""


async def test_a_server_whose_users_sign_in_with_oauth(tmp_path: Path) -> None:
    (tmp_path / "ticket_crm.py").write_text(CONNECTOR)
    env = {
        "PYTHONPATH": str(tmp_path),
        "MESSAGELOG_DATABASE_URL": f"sqlite:///{tmp_path / 'messagelog.sqlite'}",
        "MESSAGELOG_SECRET_KEY": SECRET,
        "MESSAGELOG_PUBLIC_URL": "https://log.example.com/",
        "MESSAGELOG_CONNECTORS": "ticket_crm:TicketCrm",
        "MESSAGELOG_PORT": "0",
        "MESSAGELOG_OAUTH_TICKET_CRM_CLIENT_ID": "client-1",
        "MESSAGELOG_OAUTH_TICKET_CRM_CLIENT_SECRET": "hidden",
        "MESSAGELOG_OAUTH_REDIRECT_URI": "https://client.example.com/back",
        "MESSAGELOG_OAUTH_BARE_STATE": "true",
    }
    assert (await asyncio.to_thread(command, "migrate", env=env)).code == 0
    with running(tmp_path, "serve", env=env) as server:
        text = await server.wait_for_output("messagelog serves ticket-crm at ")
        url = f"http://{text.split()[-1]}"
        manifest = (await request("GET", f"{url}/crmManifest", None, CLIENT_HEADERS)).body
        assert manifest["redirectUri"] == "https://client.example.com/back"
        assert manifest["platforms"]["ticket-crm"]["auth"] == {
            "type": "oauth",
            "oauth": {
                "authUrl": "https://log.example.com/oauth/start",
                "clientId": "messagelog",
                "redirectUri": "https://client.example.com/back",
                "scope": "",
            },
        }
        async with aiohttp.ClientSession() as client:
            start = f"{url}/oauth/start?state=platform=ticket-crm"
            async with client.get(start, allow_redirects=False) as answer:
                location = answer.headers["location"]
            assert location.startswith("https://crm.test/authorize?response_type=code&client_id=client-1&")
            assert "redirect_uri=https%3A%2F%2Fclient.example.com%2Fback" in location
            back = (
                f"{url}/oauth-callback?callbackUri=https://client.example.com/back?state=platform=ticket-crm"
            )
            async with client.get(back) as answer:
                assert await answer.json() == "callbackUri: expected a code in it", (
                    "its own state is accepted"
                )
        assert await server.end(signal.SIGTERM) == -signal.SIGTERM
    told = server.out.read_text() + server.err.read_text()
    assert "hidden" not in told


async def test_a_second_server_of_a_file_is_refused_and_commands_are_not(tmp_path: Path) -> None:
    env = {
        "MESSAGELOG_DATABASE_URL": f"sqlite:///{tmp_path / 'messagelog.sqlite'}",
        "MESSAGELOG_SECRET_KEY": SECRET,
        "MESSAGELOG_PUBLIC_URL": "https://log.example.com/",
        "MESSAGELOG_CONNECTORS": "demo",
        "MESSAGELOG_DEMO_CRM_URL": "http://127.0.0.1:9/api",
        "MESSAGELOG_PORT": "0",
    }
    assert (await asyncio.to_thread(command, "migrate", env=env)).code == 0
    with running(tmp_path, "serve", env=env) as first:
        await first.wait_for_output("messagelog serves demo at ")
        with running(tmp_path, "serve", env=env) as second:
            assert await second.wait_for_exit() == 2
        told = second.err.read_text()
        assert told.startswith(f"Another server (process {first.process.pid}) has the database {tmp_path}")
        for name in ("migrate", "logs", "keys list", "keys rotate", f"backup {tmp_path / 'copy'}"):
            done = await asyncio.to_thread(command, *name.split(), env=env)
            assert (done.code, done.err) == (0, ""), name
        assert await first.end(signal.SIGKILL) == -signal.SIGKILL
        with running(tmp_path, "serve", env=env) as third:
            await third.wait_for_output("messagelog serves demo at ")


OF_COMMANDS = {
    "typer",
    "rich.console",
    "pygments",
    "messagelog.cli",
    "messagelog.commands.tables",
    "messagelog.demo",
}
OF_DESCRIPTIONS = {"messagelog.server.openapi.document"}
OF_NUMBERS = {"phonenumbers"}  # until one lacks its country code
OF_MIGRATIONS = {"alembic", "sqlalchemy", "messagelog.storage.schema"}


async def test_a_server_keeps_nothing_in_memory_that_it_does_not_need(
    tmp_path: Path, database_url: str
) -> None:
    env = {
        "PYTHONPROFILEIMPORTTIME": "1",
        "MESSAGELOG_DATABASE_URL": database_url,
        "MESSAGELOG_SECRET_KEY": SECRET,
        "MESSAGELOG_PUBLIC_URL": "https://log.example.com",
        "MESSAGELOG_CONNECTORS": "demo",
        "MESSAGELOG_DEMO_CRM_URL": "http://127.0.0.1:9/api",
        "MESSAGELOG_PORT": "0",
    }
    with running(tmp_path, "serve", env=env) as server:
        url = f"http://{(await server.wait_for_output('messagelog serves demo at ')).split()[-1]}"
        for method, path, status in (("GET", "/crmManifest", 200), ("POST", "/messageLog", 400)):
            assert (await request(method, f"{url}{path}", None, CLIENT_HEADERS)).status == status
        await server.end(signal.SIGTERM)
    loaded = set(re.findall(r"^import time:.*\| +(\S+)$", server.err.read_text(), re.MULTILINE))
    ours, other = ("sqlite3", "psycopg") if database_url.startswith("sqlite") else ("psycopg", "sqlite3")
    assert {"structlog", "messagelog.server", ours} <= loaded
    assert loaded & {*OF_COMMANDS, *OF_DESCRIPTIONS, *OF_MIGRATIONS, *OF_NUMBERS, other} == set()


async def sign_in(url: str, crm_url: str) -> ExternalUser:
    """Sign a user in at a server that is just starting."""
    form = {"apiKey": ADA, "platform": "demo", "hostname": "crm.test", "additionalInfo": {"apiKey": ADA}}
    reply = await request("POST", f"{url}/apiKeyLogin", form, CLIENT_HEADERS)
    assert reply.status == 200
    return ExternalUser(url, reply.body["jwtToken"], ADA, crm_url)
