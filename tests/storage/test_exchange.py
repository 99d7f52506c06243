"""A connection's socket is watched by the event loop between exchanges, and by psycopg when it waits itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import pytest
import uvloop

from messagelog.storage.exchange import Connection, Exchange
from messagelog.storage.statements import Statement
from storage.journal import end_all_connections
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from typing import Any

    Run = Callable[[Coroutine[Any, Any, None]], None]

ONE = Statement("one", "SELECT 1", ())
ECHO = Statement("echo", "SELECT $1::text", ("text",))


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda work: runner.run(asyncio.wait_for(work, 20))


async def opened(url: str) -> Connection:
    return await Connection.connect(url, autocommit=True, application_name="messagelog")


async def asked(connection: Connection) -> None:
    exchange = Exchange(connection)
    exchange.add(ONE, {})
    assert await exchange.send() == [[(1,)]]


def test_psycopg_waits_in_between(postgres_url: str, run: Run) -> None:
    async def main() -> None:
        async with await opened(postgres_url) as connection:
            await asked(connection)
            watched = [connection.arrivals.watched]
            await connection.execute("SELECT 2")
            watched.append(connection.arrivals.watched)
            await asked(connection)
        assert watched == [True, False]

    run(main())


def test_a_connection_that_is_ended_while_nobody_waits_is_not_watched_on(postgres_url: str, run: Run) -> None:
    """Its socket stays readable for ever: the loop would turn and turn."""

    async def main() -> None:
        connection = await opened(postgres_url)
        await asked(connection)
        await asyncio.to_thread(end_all_connections, postgres_url)
        await until(lambda: not connection.arrivals.watched)
        with pytest.raises(psycopg.OperationalError):
            await asked(connection)
        assert connection.closed

    run(main())


def test_a_socket_of_the_same_number_is_watched_for_the_next_connection(postgres_url: str, run: Run) -> None:
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
        connection = await opened(postgres_url)
        exchange = Exchange(connection)
        exchange.add(Statement("slow", "SELECT pg_sleep(60)", ()), {})
        waiting = asyncio.create_task(exchange.send())
        await until(lambda: connection.arrivals.watched)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert connection.closed
        assert not connection.arrivals.watched

    run(main())


def test_more_than_a_socket_holds_goes_both_ways(postgres_url: str, run: Run) -> None:
    async def main() -> None:
        async with await opened(postgres_url) as connection:
            exchange = Exchange(connection)
            text = "x" * 3_000_000
            for _ in range(3):
                exchange.add(ECHO, {"text": text})
            assert await exchange.send() == [[(text,)]] * 3

    run(main())
