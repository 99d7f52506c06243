"""A server whose way to its database goes through a proxy, people who write to it, and a CRM that counts."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

from messagelog.storage.database import migrate
from support.live_server import ADA
from support.process_group import Times, journal, until
from support.requests import body, message

if TYPE_CHECKING:
    from support.forwarder import Forwarder
    from support.postgres import PostgresServer
    from support.process_group import Crm, ProcessGroup, Server

TIMES = Times(call=1.5, lease=3.5, sweep=0.2)
REFUSED = 503


@dataclass
class Scene:
    """Everything of a test, and the conversations that were sent: what became of each is looked for in the end."""

    postgres: PostgresServer
    database: str
    proxy: Forwarder
    crm: Crm
    server: Server
    token: str
    sent: list[str] = field(default_factory=list)
    refusals: int = 0
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def direct_url(self) -> str:
        """The database, past the proxy."""
        return self.postgres.url_of(self.database)

    async def log(self, name: str) -> None:
        """Has a person send a conversation of two messages, again and again until the server takes it."""
        self.sent.append(name)
        first = next(self.numbers) * 10
        messages = [message(first + each, f"{name}, text {each} end") for each in (1, 2)]
        request = body(*messages, conversation=name)
        await until(lambda: self._is_taken(request), f"{name} is accepted")

    async def _is_taken(self, request: dict[str, Any]) -> bool:
        try:
            status, answer = await self.server.try_to_log(request, self.token)
        except (aiohttp.ClientError, TimeoutError):
            return False
        if status == REFUSED:
            self.refusals += 1
            assert re.search(r"The server (cannot use its database now|is busy)", str(answer)), answer
            return False
        assert status == 200, answer
        return bool(answer["successful"])

    async def at_work(self, name: str, count: int) -> None:
        """Several people send at once."""
        await asyncio.gather(*(self.log(f"{name} {number}") for number in range(count)))

    async def all_logged(self) -> None:
        """Waits until the server is ready and everything that was sent is logged; all of it must be there once."""
        await until(self._is_ready, "the server is ready")
        await until(self._is_logged, "everything is logged")
        written = "\n".join(made["body"] for made in await self.crm.activities(ADA))
        texts = [f"{name}, text {each} end" for name in self.sent for each in (1, 2)]
        assert {text: written.count(text) for text in texts} == dict.fromkeys(texts, 1)

    async def _is_ready(self) -> bool:
        return (await self.server.ready())[0] == 200

    async def _is_logged(self) -> bool:
        known = journal(self.direct_url)
        logs = [known.get(f"{name}/7/13/2026") for name in self.sent]
        return all(log is not None and set(log.rows.values()) == {"logged"} for log in logs)


async def open_scene(machine: ProcessGroup, postgres: PostgresServer, proxy: Forwarder) -> Scene:
    """A scene on a database of its own, with a user who is signed in and has logged something."""
    database = postgres.new_database()
    await asyncio.to_thread(migrate, postgres.url_of(database))
    crm = await machine.crm()
    url = postgres.url_of(database, port=proxy.port)
    server = await machine.server(url, crm.url, TIMES, MESSAGELOG_DRAIN_SECONDS="3")
    scene = Scene(postgres, database, proxy, crm, server, await server.sign_in(ADA))
    await scene.log("before")
    return scene


class Clock:
    """Measures how long something took, for people to read."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self._began, 1)
