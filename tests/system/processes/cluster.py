"""Four servers on one PostgreSQL, with one CRM behind them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from support.live_server import ADA
from support.process_group import Times

if TYPE_CHECKING:
    from support.process_group import Crm, ProcessGroup, Server

SERVERS = 4
TIMES = Times(call=1.5, lease=3.5)


@dataclass
class Cluster:
    """Servers that share a database; requests are spread over them by a number."""

    machine: ProcessGroup
    database_url: str
    crm: Crm
    servers: list[Server]
    token: str

    async def log(self, number: int, body: dict[str, Any]) -> dict[str, Any]:
        """Sends a request to a server, and to the next one when that dies; the answer."""
        for server in (*self.servers[number % SERVERS :], *self.servers):
            try:
                return await server.log(body, self.token)
            except aiohttp.ClientError:
                continue
        raise AssertionError("no server answers")

    async def new_server(self) -> Server:
        """One more."""
        return await self.machine.server(self.database_url, self.crm.url, TIMES)

    async def slow(self, delay_ms: int) -> None:
        """A CRM that takes its time, and takes no external ids: a second create would make a second activity."""
        await self.crm.chaos(ADA, reset=True, delay_ms=delay_ms, external_ids=False)

    async def bodies(self, conversation: str) -> list[str]:
        """The bodies of all activities that hold a text of a conversation."""
        mark = f"{conversation}, text "
        return [made["body"] for made in await self.crm.activities(ADA) if mark in made["body"]]


async def start_cluster(machine: ProcessGroup, database_url: str) -> Cluster:
    """A cluster that answers, and a user who is signed in."""
    crm = await machine.crm()
    servers = (machine.server(database_url, crm.url, TIMES) for _ in range(SERVERS))
    cluster = Cluster(machine, database_url, crm, list(await asyncio.gather(*servers)), "")
    cluster.token = await cluster.servers[0].sign_in(ADA)
    return cluster
