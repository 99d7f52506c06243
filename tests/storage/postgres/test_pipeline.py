"""Exchanges over TCP, on the event loop that ships and on asyncio's: answers, connections that end, and time limits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import uvloop

from messagelog.storage.postgres.pipeline import Connection, NoAnswer, PipelineBatch
from messagelog.storage.sql import Statement
from storage.journal import end_all_connections
from support.forwarder import forwarding
from support.postgres import port_of, with_port

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    Run = Callable[[Coroutine[Any, Any, None]], None]

ONE = Statement("one", "SELECT 1", ())
ECHO = Statement("echo", "SELECT $1::text", ("text",))
SLOW = Statement("slow", "SELECT pg_sleep(60)", ())


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda work: runner.run(asyncio.wait_for(work, 20))


async def opened(url: str, **more: Any) -> Connection:
    return await Connection.connect(url, autocommit=True, application_name="messagelog", **more)


async def asked(connection: Connection, statement: Statement = ONE, **params: Any) -> list[Any]:
    pipeline = PipelineBatch(connection)
    pipeline.add(statement, params)
    return await pipeline.send()


async def ended(url: str, connection: Connection) -> None:
    """Ends the connection's process in the server, and waits until the news is there."""
    await asyncio.to_thread(end_all_connections, url)
    loop, there = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(connection.pgconn.socket, there.set)
    await there.wait()
    loop.remove_reader(connection.pgconn.socket)


def test_psycopg_waits_in_between(postgres_url: str, run: Run) -> None:
    async def main() -> None:
        async with await opened(postgres_url) as connection:
            for _ in range(3):
                assert await asked(connection) == [[(1,)]]
                await connection.execute("SELECT 2")

    run(main())


def test_a_connection_that_was_ended_while_idle_is_found_out_by_the_next_exchange(
    postgres_url: str, run: Run
) -> None:
    async def main() -> None:
        connection = await opened(postgres_url)
        await asked(connection)
        await ended(postgres_url, connection)
        with pytest.raises(psycopg.OperationalError):
            await asked(connection)
        assert connection.closed
        assert connection.lost

    run(main())


def test_a_connection_that_was_ended_while_idle_is_found_out_by_psycopg(postgres_url: str, run: Run) -> None:
    async def main() -> None:
        connection = await opened(postgres_url)
        await asked(connection)
        await ended(postgres_url, connection)
        with pytest.raises(psycopg.OperationalError):
            await connection.execute("SELECT 2")
        assert connection.closed

    run(main())


def test_a_connection_that_is_ended_in_the_middle_of_an_exchange(postgres_url: str, run: Run) -> None:
    async def main() -> None:
        connection = await opened(postgres_url)
        waiting = asyncio.create_task(asked(connection, SLOW))
        await asyncio.to_thread(_until_asleep, postgres_url)
        await asyncio.to_thread(end_all_connections, postgres_url)
        with pytest.raises(psycopg.OperationalError):
            await waiting
        assert connection.closed

    run(main())


def test_an_answer_that_is_cut_in_the_middle(postgres_url: str, run: Run) -> None:
    async def main() -> None:
        async with forwarding(port_of(postgres_url)) as proxy:
            for size in (1, 7, 300):
                connection = await opened(with_port(postgres_url, proxy.port))
                await asked(connection, ECHO, text="x")
                proxy.cut_after(size)
                with pytest.raises(psycopg.OperationalError):
                    await asked(connection, ECHO, text="x" * 10_000)
                assert connection.closed

    run(main())


@pytest.mark.parametrize("way", ["silence", "reset"])
def test_a_network_that_goes_away(postgres_url: str, run: Run, way: str) -> None:
    async def main() -> None:
        async with forwarding(port_of(postgres_url)) as proxy:
            url = with_port(postgres_url, proxy.port)
            ours, psycopgs = [await opened(url, answer_seconds=0.1) for _ in range(2)]
            await asked(ours)
            getattr(proxy, way)()
            with pytest.raises(NoAnswer if way == "silence" else psycopg.OperationalError):
                await asked(ours)
            with pytest.raises(NoAnswer if way == "silence" else psycopg.OperationalError):
                await psycopgs.execute("SELECT 2")
            assert ours.closed
            assert psycopgs.closed

    run(main())


def test_a_server_that_takes_too_long_is_not_waited_for(postgres_url: str, run: Run) -> None:
    async def main() -> None:
        connection = await opened(postgres_url, answer_seconds=0.1)
        with pytest.raises(NoAnswer):
            await asked(connection, SLOW)
        assert connection.closed
        assert connection.lost

    run(main())


def test_a_socket_of_the_same_number_belongs_to_the_next_connection(postgres_url: str, run: Run) -> None:
    async def main() -> None:
        numbers = set()
        for _ in range(3):
            connection = await opened(postgres_url)
            await asked(connection)
            numbers.add(connection.pgconn.socket)
            await connection.close()
        assert len(numbers) == 1, "the system gives the lowest number that is free"

    run(main())


def test_a_wait_that_is_cancelled_closes_the_connection(postgres_url: str, run: Run) -> None:
    async def main() -> None:
        for work in (lambda each: asked(each, SLOW), lambda each: each.execute("SELECT pg_sleep(60)")):
            connection = await opened(postgres_url)
            waiting = asyncio.create_task(work(connection))
            await asyncio.to_thread(_until_asleep, postgres_url)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert connection.closed
            assert not connection.lost
            await asyncio.to_thread(end_all_connections, postgres_url)

    run(main())


def _until_asleep(url: str) -> None:
    """Waits until the server is at the slow statement."""
    with psycopg.connect(url, autocommit=True) as other:
        while not other.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchall():
            pass


def test_more_than_a_socket_holds_goes_both_ways(postgres_url: str, run: Run) -> None:
    async def main() -> None:
        async with await opened(postgres_url) as connection:
            pipeline = PipelineBatch(connection)
            text = "x" * 3_000_000
            for _ in range(3):
                pipeline.add(ECHO, {"text": text})
            assert await pipeline.send() == [[(text,)]] * 3

    run(main())
