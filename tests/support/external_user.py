"""A user of a server in another process, and a look into its journal from outside."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from support.live_server import CLIENT_HEADERS, Reply, payload

if TYPE_CHECKING:
    from pathlib import Path

_USER = re.compile(r"^  .+ \(tenant \w+, key (?P<key>[\w-]+)\): (?P<token>\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class ExternalUser:
    """A user with a session token, and their key of the CRM at `crm`."""

    url: str
    token: str
    key: str
    crm: str

    async def log(self, body: Any = None) -> Reply:
        """`POST /messageLog`; without a body, a captured SMS."""
        headers = {**CLIENT_HEADERS, "authorization": f"Bearer {self.token}"}
        return await request("POST", f"{self.url}/messageLog", body or payload("01-sms"), headers)

    async def activities(self) -> list[dict[str, Any]]:
        """Return the activities in the user's CRM."""
        found: list[dict[str, Any]] = (await self._crm("GET", "/activities")).body
        return found

    async def chaos(self, **changes: Any) -> None:
        """Change the switch of the user's CRM; without changes, reset it."""
        await self._crm("POST", "/chaos", changes or {"reset": True})

    async def _crm(self, method: str, path: str, body: Any = None) -> Reply:
        return await request(method, f"{self.crm}{path}", body, {"authorization": f"Bearer {self.key}"})


def demo_users(welcome: str) -> dict[str, ExternalUser]:
    """The users that a demo's welcome names, by their keys."""
    (url,) = re.findall(r"^messagelog demo: (\S+)", welcome)
    found = (match.groupdict() for match in _USER.finditer(welcome))
    return {
        user["key"]: ExternalUser(url, user["token"], user["key"], f"{url}/demo-crm/api") for user in found
    }


async def request(method: str, url: str, json: Any, headers: dict[str, str]) -> Reply:
    """One request on a connection of its own."""
    async with aiohttp.request(method, url, json=json, headers=headers) as answer:
        return Reply(answer.status, await answer.json(), answer.headers, await answer.read())


def states(file: Path) -> dict[str, int]:
    """How many rows of a journal are in each state."""
    with closing(sqlite3.connect(file)) as journal:
        return dict(journal.execute('SELECT "state", count(*) FROM "messageLogs" GROUP BY "state"'))


def let_leases_run_out(file: Path) -> None:
    """Make every claim due, as if its holder had been killed a minute ago."""
    with closing(sqlite3.connect(file)) as journal, journal:
        journal.execute('UPDATE "conversationLogs" SET "dueAt" = 0 WHERE "dueAt" IS NOT NULL')


def behave_again(file: Path) -> None:
    """Resets every tenant's switch of a demo CRM that is not running."""
    with closing(sqlite3.connect(file)) as crm, crm:
        crm.execute("UPDATE tenant SET chaos = '{}'")
