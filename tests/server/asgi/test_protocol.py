"""A request's head that is too long, or does not come to its end, holds no connection for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from messagelog.server.asgi.protocol import LimitedHttpProtocol
from support.live_server import SQLITE_ONLY, live_server

if TYPE_CHECKING:
    from pathlib import Path

    from support.live_server import LiveServer

pytestmark = SQLITE_ONLY


async def send_raw(here: LiveServer, *sent: bytes) -> bytes:
    """What the server says to these bytes until it closes the connection."""
    port = int(here.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in sent:
            writer.write(part)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


LONG = b"x" * (LimitedHttpProtocol.head_bytes + 1)


@pytest.mark.parametrize(
    "sent",
    [
        (b"GET /isAlive?" + LONG,),
        (b"GET /isAlive HTTP/1.1\r\nx: " + LONG,),
        (b"GET /isAlive HTTP/1.1\r\n", *([b"x: " + 1000 * b"x" + b"\r\n"] * 70)),
    ],
)
async def test_a_head_without_end_is_not_read_on(here: LiveServer, sent: tuple[bytes, ...]) -> None:
    assert await send_raw(here, *sent) == b""
    assert (await here.ask("GET", "/isAlive")).status == 200


async def test_several_requests_on_one_connection_each_have_their_own_room(here: LiveServer) -> None:
    one = b"GET /isAlive HTTP/1.1\r\nhost: x\r\nx: " + b"x" * 40_000 + b"\r\n\r\n"
    last = one.replace(b"host: x", b"host: x\r\nconnection: close")
    assert (await send_raw(here, one, one, last)).count(b"200 OK") == 3


async def test_a_body_may_be_longer_than_a_head(here: LiveServer) -> None:
    reply = await here.ask("POST", f"/messageLog?jwtToken={await here.token()}", data=b" " * 200_000)
    assert reply.status == 400
    assert reply.body.startswith("body: ")


@pytest.mark.parametrize(
    "sent", [(), (b"GET",), (b"GET /isAlive HTTP/1.1\r\n",), (b"GET /isAlive HTTP/1.1\r\nx: y\r\n",)]
)
async def test_a_head_that_does_not_come_is_not_waited_for(
    database_url: str, tmp_path: Path, sent: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LimitedHttpProtocol, "head_seconds", 0.0)
    async with live_server(database_url, tmp_path) as here:
        assert await send_raw(here, *sent) == b""


REFUSED = b"POST /operators/export HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"
"""It is answered 401 before its body is looked at."""


async def test_a_body_that_nobody_waits_for_holds_no_connection(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LimitedHttpProtocol, "head_seconds", 0.2)
    async with live_server(database_url, tmp_path) as here:
        port = int(here.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REFUSED)
        assert b" 401 " in await reader.readline()
        closed = asyncio.create_task(reader.read())
        with suppress(ConnectionError):
            for _ in range(500):  # a little of the body each time
                writer.write(b" ")
                await writer.drain()
                if (await asyncio.wait([closed], timeout=0.01))[0]:
                    break
        assert closed.done(), "it is still read from"
        writer.close()


async def test_a_connection_goes_on_behind_a_body_that_was_not_read(here: LiveServer) -> None:
    last = b"GET /isAlive HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    said = await send_raw(here, REFUSED, b" " * 600_000, b" " * 400_000, last)
    assert said.count(b" 401 ") == said.count(b" 200 OK") == 1
