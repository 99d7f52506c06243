"""Ready means ready: while nothing can be committed a server says so, with the cause, and refuses at once."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import sqlite3
import subprocess
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from messagelog.storage.database import migrate
from messagelog.storage.urls import sqlite_path
from support.live_server import ADA
from support.postgres import PostgresServer
from support.process_group import journal, until
from support.requests import body, message
from system.connections.scene import TIMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.process_group import Crm, ProcessGroup, Server

KIB = 1024


@contextmanager
def small_disk(size: int) -> Iterator[Path]:
    """A file system of so many bytes; skips the test where none may be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="mldisk-"))
    mounting = ["/bin/mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", str(folder)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        folder.rmdir()
        pytest.skip("NO DISK IS FILLED: this user may not mount one (it takes root)")
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", "-l", str(folder)], check=True)
        folder.rmdir()


@contextmanager
def another_postgres() -> Iterator[PostgresServer]:
    """A server for one test."""
    folder = Path(tempfile.mkdtemp(prefix="mlpg-"))
    server = PostgresServer(folder)
    try:
        yield server
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)


def random_words() -> str:
    """A text that nothing makes smaller."""
    return os.urandom(10_000).hex()


def fill(folder: Path) -> Path:
    """A file that takes all the room that is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (64 * KIB, KIB, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


async def not_ready(server: Server, cause: str) -> None:
    """Waits until the server says that it is not ready, for this cause."""

    async def told() -> bool:
        status, answer = await server.ready()
        return status == 503 and cause in answer

    await until(told, f"not ready: {cause}")


async def ready(server: Server) -> None:
    async def told() -> bool:
        return (await server.ready())[0] == 200

    await until(told, "ready")


async def wait_until_refused(server: Server, token: str) -> None:
    """Waits until requests are refused, and sees to it that it is done at once: long before any wait has its end."""

    async def is_refused() -> bool:
        status, answer = await server.try_to_log(body(message(1), conversation="refused"), token)
        return status == 503 and "cannot use its database" in str(answer)

    await until(is_refused, "requests are refused")
    for _ in range(3):
        async with asyncio.timeout(5):
            assert await is_refused()


async def deliver(server: Server, crm: Crm, url: str, token: str, name: str) -> None:
    """Sends something, and waits until it is in the CRM once."""
    number = abs(hash(name)) % 10_000

    async def taken() -> bool:
        try:
            status, _ = await server.try_to_log(
                body(message(number, f"{name} end"), conversation=name), token
            )
        except (aiohttp.ClientError, TimeoutError):
            return False
        return status == 200

    async def logged() -> bool:
        log = journal(url).get(f"{name}/7/13/2026")
        return log is not None and set(log.rows.values()) == {"logged"}

    await until(taken, f"{name} is accepted")
    await until(logged, f"{name} is logged")
    written = "\n".join(made["body"] for made in await crm.activities(ADA))
    assert written.count(f"{name} end") == 1


async def test_a_disk_that_is_full_below_sqlite(machine: ProcessGroup) -> None:
    with small_disk(1024 * KIB) as disk:
        url = f"sqlite:///{disk / 'journal.sqlite'}"
        await asyncio.to_thread(migrate, url)
        crm = await machine.crm()
        server = await machine.server(url, crm.url, TIMES)
        token = await server.sign_in(ADA)
        await deliver(server, crm, url, token, "before")
        filler = fill(disk)
        await not_ready(server, "SQLITE_FULL")
        await wait_until_refused(server, token)
        filler.unlink()
        await ready(server)
        await deliver(server, crm, url, token, "after")
        assert "SQLITE_FULL: database or disk is full" in server.process.err.read_text()
        await server.kill()


async def test_a_disk_that_is_full_below_postgres(machine: ProcessGroup) -> None:
    with small_disk(48 * 1024 * KIB) as disk, another_postgres() as postgres:
        space = disk / "space"
        space.mkdir()
        shutil.chown(space, postgres.folder.owner(), postgres.folder.group())
        space.chmod(0o700)
        postgres.run(f"CREATE TABLESPACE small LOCATION '{space}'")
        postgres.run("CREATE DATABASE on_a_small_disk TABLESPACE small")
        url = postgres.url_of("on_a_small_disk")
        await asyncio.to_thread(migrate, url)
        crm = await machine.crm()
        server = await machine.server(url, crm.url, TIMES)
        token = await server.sign_in(ADA)
        await deliver(server, crm, url, token, "before")
        filler = fill(disk)
        numbers = itertools.count(1)

        async def is_refused() -> bool:
            number = next(numbers)
            large = body(message(number, random_words()), conversation=f"large {number}")
            return (await server.try_to_log(large, token))[0] == 503

        await until(is_refused, "what needs room is refused")
        await not_ready(server, "53100")
        await wait_until_refused(server, token)
        filler.unlink()
        await ready(server)
        await deliver(server, crm, url, token, "after")
        assert "53100: could not extend file" in server.process.err.read_text()
        await server.kill()


async def test_a_postgres_that_only_reads(machine: ProcessGroup, postgres: PostgresServer) -> None:
    database = postgres.new_database()
    url = postgres.url_of(database)
    await asyncio.to_thread(migrate, url)
    crm = await machine.crm()
    server = await machine.server(url, crm.url, TIMES)
    token = await server.sign_in(ADA)
    await deliver(server, crm, url, token, "before")
    postgres.configure(default_transaction_read_only="on")
    postgres.reload()
    await not_ready(server, "25006")
    await wait_until_refused(server, token)
    postgres.configure(default_transaction_read_only="off")
    postgres.reload()
    await ready(server)
    await deliver(server, crm, url, token, "after")
    assert "25006: cannot execute" in server.process.err.read_text()


async def test_a_file_that_another_program_holds(machine: ProcessGroup, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    await asyncio.to_thread(migrate, url)
    crm = await machine.crm()
    server = await machine.server(url, crm.url, TIMES)
    token = await server.sign_in(ADA)
    await deliver(server, crm, url, token, "before")
    with closing(sqlite3.connect(sqlite_path(url), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await not_ready(server, "NO_COMMIT")
        await wait_until_refused(server, token)
        await not_ready(server, "SQLITE_BUSY")
        other.execute("COMMIT")
    await ready(server)
    await deliver(server, crm, url, token, "after")
    assert "SQLITE_BUSY: database is locked" in server.process.err.read_text()


async def test_a_server_is_alive_and_not_ready_without_its_database(
    machine: ProcessGroup, postgres: PostgresServer
) -> None:
    database = postgres.new_database()
    url = postgres.url_of(database)
    await asyncio.to_thread(migrate, url)
    crm = await machine.crm()
    server = await machine.server(url, crm.url, TIMES)
    token = await server.sign_in(ADA)
    await asyncio.to_thread(postgres.stop)
    await not_ready(server, "08001")
    await wait_until_refused(server, token)
    async with aiohttp.request("GET", f"{server.url}/healthz") as alive:
        assert (alive.status, await alive.text()) == (200, "OK")
    async with aiohttp.request("GET", f"{server.url}/metrics") as metrics:
        assert "messagelog_database_up 0.0" in await metrics.text()
    await asyncio.to_thread(postgres.start)
    await ready(server)
    await deliver(server, crm, url, token, "after")
