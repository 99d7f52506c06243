"""A body that does not come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.server import ServerState

from messagelog.server.asgi.protocol import LimitedHttpProtocol
from messagelog.server.requests import BODY_COMPLETE, HttpRefusal, read_body

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send


async def test_a_body_that_does_not_come_is_not_waited_for_without_end() -> None:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(HttpRefusal) as refused:
        await read_body(Request({"type": "http", "headers": []}, receive), 100, seconds=0)
    assert (refused.value.status, refused.value.text) == (408, "body: it took too long to arrive")


class Wire(asyncio.Transport):
    """A connection without another end."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Drops an answer."""

    def is_closing(self) -> bool:
        """It stays open."""
        return False

    def close(self) -> None:
        """It stays open."""

    def pause_reading(self) -> None:
        """It is always read."""

    def resume_reading(self) -> None:
        """It is always read."""


async def test_only_a_body_that_is_there_needs_no_clock() -> None:
    """Of two requests on one connection the first is whole, and the second comes bit by bit."""
    begun: asyncio.Queue[bool] = asyncio.Queue()
    bodies: asyncio.Queue[bytes] = asyncio.Queue()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await begun.put(BODY_COMPLETE in scope["state"])
        await bodies.put(await read_body(Request(scope, receive), 100, seconds=60))
        await Response()(scope, receive, send)

    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"
    connection = LimitedHttpProtocol(uvicorn.Config(app, log_config=None), ServerState(), {})
    connection.connection_made(Wire())
    connection.data_received(head + b"done" + head + b"be")
    assert [await begun.get(), await begun.get()] == [True, False]
    assert (await bodies.get(), bodies.empty()) == (b"done", True)
    connection.data_received(b"en")
    assert await bodies.get() == b"been"
    connection.connection_lost(None)


async def test_a_body_that_is_there_is_read_at_once() -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"all of it"}

    scope = {"type": "http", "headers": [], "state": {BODY_COMPLETE: True}}
    assert await read_body(Request(scope, receive), 100, seconds=0) == b"all of it"
    with pytest.raises(HttpRefusal, match="at most 5 bytes"):
        await read_body(Request(scope, receive), 5, seconds=0)
