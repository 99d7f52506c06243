"""Connections to the database are lost in every way: all is delivered once, without a restart, and the server ends."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from support import MATRIX
from support.forwarder import forwarding
from support.live_server import ADA
from support.postgres import PostgresServer
from system.connections.scene import Clock, Scene, open_scene

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from support.process_group import ProcessGroup

    Disturb = Callable[[Scene], Awaitable[None]]

SHORT, LONG = 1.0, 12.0
"""In seconds: an outage that is over before anybody has given up, and one that every wait has met its end in."""

MANY: Final = 12

_END_OF_ALL = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE application_name = 'messagelog' AND pid <> pg_backend_pid()"
)
_END_BETWEEN_STATEMENTS = """
DO $$
BEGIN
    FOR round IN 1..20000 LOOP
        PERFORM pg_stat_clear_snapshot();
        PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = 'messagelog' AND state = 'idle in transaction';
    END LOOP;
END $$
"""


async def end_while_idle(scene: Scene) -> None:
    assert await asyncio.to_thread(scene.postgres.run, _END_OF_ALL)
    await asyncio.sleep(SHORT)


async def end_while_used(scene: Scene) -> None:
    work = asyncio.create_task(scene.at_work("used", MANY))
    while not work.done():
        await asyncio.to_thread(scene.postgres.run, _END_OF_ALL)
        await asyncio.sleep(0.15)
    await work


async def end_between_two_statements(scene: Scene) -> None:
    ending = asyncio.create_task(asyncio.to_thread(scene.postgres.run, _END_BETWEEN_STATEMENTS))
    await scene.at_work("between", MANY)
    await ending


async def restart(scene: Scene) -> None:
    await asyncio.to_thread(scene.postgres.restart)


async def kill(scene: Scene) -> None:
    await asyncio.to_thread(scene.postgres.kill)
    await asyncio.sleep(SHORT)
    await asyncio.to_thread(scene.postgres.start)


async def kill_for_long(scene: Scene) -> None:
    await asyncio.to_thread(scene.postgres.kill)
    await asyncio.sleep(LONG)
    await asyncio.to_thread(scene.postgres.start)


async def stop(scene: Scene) -> None:
    scene.postgres.pause()
    await asyncio.sleep(SHORT)
    scene.postgres.resume()


async def stop_for_long(scene: Scene) -> None:
    scene.postgres.pause()
    await asyncio.sleep(LONG)
    scene.postgres.resume()


async def silence(scene: Scene) -> None:
    scene.proxy.silence()
    await asyncio.sleep(SHORT)
    scene.proxy.resume()


async def silence_for_long(scene: Scene) -> None:
    """What was silent never speaks again: a firewall has forgotten its connections."""
    scene.proxy.silence()
    await asyncio.sleep(LONG)
    scene.proxy.reset()
    scene.proxy.resume()


async def reset(scene: Scene) -> None:
    for _ in range(10):
        scene.proxy.reset()
        await asyncio.sleep(0.1)


async def refuse_for_long(scene: Scene) -> None:
    scene.proxy.refuse()
    await asyncio.sleep(LONG)
    scene.proxy.refuse(refusing=False)


async def cut_half_way(scene: Scene) -> None:
    for size in (1, 50, 200, 1000, 3000) * 3:
        scene.proxy.cut_after(size)
        await asyncio.sleep(0.1)


async def exhaust_pool(scene: Scene) -> None:
    """Every connection waits for a lock that another program holds."""
    with _lock_out(scene):
        await asyncio.sleep(LONG)


@contextmanager
def _lock_out(scene: Scene) -> Iterator[None]:
    with psycopg.connect(scene.direct_url) as other:
        other.execute('LOCK TABLE "conversationLogs" IN EXCLUSIVE MODE')
        yield


@contextmanager
def _successor(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A server with the data of one that is stopped for good."""
    folder = Path(tempfile.mkdtemp(prefix="mlpg-"))
    postgres.stop("fast")
    subprocess.run(["/bin/cp", "-a", f"{postgres.folder}/.", str(folder)], check=True)
    successor = PostgresServer(folder)
    try:
        yield successor
    finally:
        successor.end()
        shutil.rmtree(folder, ignore_errors=True)


WAYS: tuple[Disturb, ...] = (
    end_while_idle,
    end_while_used,
    end_between_two_statements,
    restart,
    kill,
    kill_for_long,
    stop,
    stop_for_long,
    silence,
    silence_for_long,
    reset,
    refuse_for_long,
    cut_half_way,
    exhaust_pool,
)


@pytest.mark.parametrize("disturb", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "at work"])
async def test_all_is_delivered_once_and_the_server_ends(
    machine: ProcessGroup,
    postgres: PostgresServer,
    disturb: Disturb,
    busy: bool,
    record_property: Callable[[str, object], None],
) -> None:
    async with forwarding(postgres.port) as proxy:
        scene = await open_scene(machine, postgres, proxy)
        await scene.crm.chaos(ADA, delay_ms=100)
        work = asyncio.create_task(scene.at_work("meanwhile", MANY if busy else 0))
        await disturb(scene)
        after = Clock()
        await work
        await scene.log("afterwards")
        await scene.all_logged()
        delivered = after.seconds
        ending = Clock()
        assert await scene.server.process.end(signal.SIGTERM) == -signal.SIGTERM
        assert "shutdown_hung" not in scene.server.process.err.read_text()
    row = (disturb.__name__, "at work" if busy else "idle", len(scene.sent), scene.refusals)
    record_property(MATRIX, (*row, delivered, ending.seconds))


async def test_a_failover_to_another_port(
    machine: ProcessGroup, postgres: PostgresServer, record_property: Callable[[str, object], None]
) -> None:
    """The database goes on elsewhere, with what was committed; where it was there is nothing any more."""
    async with forwarding(postgres.port) as proxy:
        scene = await open_scene(machine, postgres, proxy)
        await scene.crm.chaos(ADA, delay_ms=100)
        work = asyncio.create_task(scene.at_work("meanwhile", MANY))
        with _successor(postgres) as successor:
            scene.postgres, proxy.target = successor, successor.port
            after = Clock()
            await work
            await scene.log("afterwards")
            await scene.all_logged()
            delivered = after.seconds
            ending = Clock()
            assert await scene.server.process.end(signal.SIGTERM) == -signal.SIGTERM
        postgres.start()
    record_property(
        MATRIX, ("failed over", "at work", len(scene.sent), scene.refusals, delivered, ending.seconds)
    )
