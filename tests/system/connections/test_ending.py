"""SIGTERM ends a server within its drain time and two seconds, whatever hangs, and a line says what that was."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from messagelog.storage.database import migrate
from messagelog.storage.urls import sqlite_path
from support.forwarder import forwarding
from support.live_server import ADA
from support.process_group import until
from support.requests import body, message
from system.connections.scene import TIMES

if TYPE_CHECKING:
    from pathlib import Path

    from support.postgres import PostgresServer
    from support.process_group import ProcessGroup, Server

BY_ITSELF = -signal.SIGTERM
BY_THE_LAST_RESORT = 128 + signal.SIGTERM
DRAIN = "1"

STUCK = """
import asyncio
import os
import sys
import time

from messagelog.connectors.demo import DemoConnector


def says_that_it_hangs():
    print("it hangs", flush=True)


class StuckCrm(DemoConnector):
    name = "stuck"

    def __init__(self):
        super().__init__(os.environ["STUCK_CRM_URL"])

    async def create_message_log(self, session, log):
        says_that_it_hangs()
        await getattr(self, os.environ["STUCK_WAY"])()

    async def waits(self):
        await asyncio.Event().wait()

    async def is_deaf(self):
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    async def turns(self):
        while True:
            pass

    async def blocks(self):
        while True:
            time.sleep(3600)

    async def blocks_a_thread(self):
        await asyncio.to_thread(time.sleep, 3600)
"""


def hung(server: Server) -> list[dict[str, Any]]:
    """The lines that say what hung."""
    lines = map(json.loads, server.process.err.read_text().splitlines())
    return [line for line in lines if line["event"] == "shutdown_hung"]


async def sending(server: Server, token: str) -> asyncio.Task[Any]:
    """A request without an answer."""
    return asyncio.create_task(server.try_to_log(body(message(1)), token))


async def give_up(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("way", "code", "what"),
    [
        ("waits", BY_ITSELF, "call"),
        ("is_deaf", BY_ITSELF, "call"),
        ("blocks_a_thread", BY_ITSELF, "call"),
        ("turns", BY_THE_LAST_RESORT, "process"),
        ("blocks", BY_THE_LAST_RESORT, "process"),
    ],
)
async def test_a_connector_that_hangs(
    machine: ProcessGroup, tmp_path: Path, way: str, code: int, what: str
) -> None:
    (tmp_path / "stuck_crm.py").write_text(STUCK)
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    await asyncio.to_thread(migrate, url)
    crm = await machine.crm()
    more = {
        "PYTHONPATH": str(tmp_path),
        "MESSAGELOG_CONNECTORS": "stuck_crm:StuckCrm",
        "MESSAGELOG_PRIVATE_HOSTS": "127.0.0.1",
        "STUCK_CRM_URL": crm.url,
        "STUCK_WAY": way,
        "MESSAGELOG_CALL_SECONDS": "600",
        "MESSAGELOG_LEASE_SECONDS": "1300",
        "MESSAGELOG_DRAIN_SECONDS": DRAIN,
    }
    server = await machine.server(url, crm.url, TIMES, **more)
    task = await sending(server, await server.sign_in(ADA, platform="stuck"))
    await server.process.wait_for_output("it hangs")
    assert await server.process.end(signal.SIGTERM) == code
    await give_up(task)
    told = hung(server)
    assert what in {line["what"] for line in told}
    assert "stuck" in json.dumps(told), "the platform, or the place in its file"


async def test_a_crm_that_does_not_answer(machine: ProcessGroup, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    await asyncio.to_thread(migrate, url)
    crm = await machine.crm()
    more = {
        "MESSAGELOG_CALL_SECONDS": "600",
        "MESSAGELOG_LEASE_SECONDS": "1300",
        "MESSAGELOG_DRAIN_SECONDS": DRAIN,
    }
    server = await machine.server(url, crm.url, TIMES, **more)
    token = await server.sign_in(ADA)
    await crm.chaos(ADA, hold=True)
    task = await sending(server, token)

    async def is_held() -> bool:
        return bool(await crm.activities(ADA))

    await until(is_held, "the call is under way")
    assert await server.process.end(signal.SIGTERM) == BY_ITSELF
    assert (await task)[0] == 200, "it was accepted"
    assert [line["what"] for line in hung(server)] == ["call"]


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "at work"])
@pytest.mark.parametrize("way", ["silent", "stopped", "refused"])
async def test_a_database_that_is_away(
    machine: ProcessGroup, postgres: PostgresServer, way: str, busy: bool
) -> None:
    database = postgres.new_database()
    await asyncio.to_thread(migrate, postgres.url_of(database))
    crm = await machine.crm()
    async with forwarding(postgres.port) as proxy:
        url = postgres.url_of(database, port=proxy.port)
        server = await machine.server(url, crm.url, TIMES, MESSAGELOG_DRAIN_SECONDS=DRAIN)
        token = await server.sign_in(ADA)
        task = None
        if busy:
            await crm.chaos(ADA, delay_ms=500)
            task = await sending(server, token)
        if way == "stopped":
            postgres.pause()
        else:
            {"silent": proxy.silence, "refused": proxy.refuse}[way]()
        try:
            assert await server.process.end(signal.SIGTERM) == BY_ITSELF
        finally:
            postgres.resume()
        if task is not None:
            await give_up(task)


async def test_a_file_that_another_program_holds(machine: ProcessGroup, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    await asyncio.to_thread(migrate, url)
    crm = await machine.crm()
    server = await machine.server(url, crm.url, TIMES, MESSAGELOG_DRAIN_SECONDS=DRAIN)
    token = await server.sign_in(ADA)
    with closing(sqlite3.connect(sqlite_path(url), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        task = await sending(server, token)
        await asyncio.sleep(0.2)
        assert await server.process.end(signal.SIGTERM) == BY_ITSELF
    await give_up(task)
    assert "database" in {line["what"] for line in hung(server)}


async def test_a_client_that_never_ends_its_request(machine: ProcessGroup, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    await asyncio.to_thread(migrate, url)
    crm = await machine.crm()
    server = await machine.server(url, crm.url, TIMES, MESSAGELOG_DRAIN_SECONDS=DRAIN)
    token = await server.sign_in(ADA)
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST /messageLog HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 9\r\n\r\n{{".encode()
    )
    await writer.drain()
    async with aiohttp.request("GET", f"{server.url}/isAlive") as alive:
        assert alive.status == 200
    assert await server.process.end(signal.SIGTERM) == BY_ITSELF
    writer.close()
