"""A TCP proxy between a server and its database, which can do to connections what networks do."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self, cast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Forwarder:
    """Forwards connections to a port of 127.0.0.1. `target` may be changed: it is meant for connections to come.

    `connections` counts them, also those that were refused.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.connections = 0
        self._links: set[_Link] = set()
        self._silent = False
        self._refusing = False
        self._left: int | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> Self:
        """Listens at a port that the system chooses."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Link(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        """Ends all connections."""
        if self._server is not None:
            self._server.close()
        self.reset()

    def silence(self) -> None:
        """From now on nothing is forwarded, either way; connections stay open, and new ones are taken."""
        self._silent = True
        for link in self._links:
            link.pause()

    def resume(self) -> None:
        """Forwards again, also what has waited."""
        self._silent = False
        for link in list(self._links):
            link.resume()

    def reset(self) -> None:
        """Resets every connection (RST)."""
        for link in list(self._links):
            link.reset()

    def refuse(self, *, refusing: bool = True) -> None:
        """Resets every connection, and new ones at once."""
        self._refusing = refusing
        if refusing:
            self.reset()

    def cut_after(self, size: int) -> None:
        """Forwards so many more bytes of the database's answers, then cuts the connection in the middle of them."""
        self._left = size

    # ------------------------------------------------------------------------------------ for the links

    def joins(self, link: _Link) -> bool:
        """Takes up a new connection; whether it is forwarded now."""
        self.connections += 1
        if self._refusing:
            link.reset()
            return False
        self._links.add(link)
        return not self._silent

    def leaves(self, link: _Link) -> None:
        """A connection has ended."""
        self._links.discard(link)

    def passing(self, data: bytes) -> tuple[bytes, bool]:
        """What of an answer is forwarded, and whether the connection is cut after it."""
        if self._left is None:
            return data, False
        passed, self._left = data[: self._left], self._left - len(data)
        if self._left > 0:
            return passed, False
        self._left = None
        return passed, True


class _Link(asyncio.Protocol):
    """One forwarded connection: this is the client's side of it."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._client: asyncio.Transport | None = None
        self._server: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._early: list[bytes] = []  # what has come before there was anywhere to send it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._client = cast("asyncio.Transport", transport)
        if self._forwarder.joins(self):
            self._connect()

    def data_received(self, data: bytes) -> None:
        if self._server is None:
            self._early.append(data)
        else:
            self._server.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forwarder.leaves(self)
        if self._server is not None:
            self._server.close()

    def forward_back(self, data: bytes) -> None:
        """The database's side says something."""
        passed, cut = self._forwarder.passing(data)
        if self._client is not None:
            self._client.write(passed)
            if cut:
                self._client.close()

    def hang_up(self) -> None:
        """The database's side has hung up."""
        if self._client is not None:
            self._client.close()

    def pause(self) -> None:
        """Forwards nothing."""
        for side in (self._client, self._server):
            if side is not None and side.is_reading():
                side.pause_reading()

    def resume(self) -> None:
        """Forwards again."""
        if self._server is None:
            self._connect()
        for side in (self._client, self._server):
            if side is not None and not side.is_closing() and not side.is_reading():
                side.resume_reading()

    def reset(self) -> None:
        """Ends both sides, the client's by a reset."""
        if self._client is not None:
            sock: socket.socket = self._client.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._client.abort()
        if self._server is not None:
            self._server.abort()

    def _connect(self) -> None:
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._open_connection())

    async def _open_connection(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            made, _ = await loop.create_connection(
                lambda: _Answers(self), "127.0.0.1", self._forwarder.target
            )
        except OSError:
            self.reset()
            return
        self._server = made
        if self._client is None or self._client.is_closing():
            made.abort()
        else:
            made.writelines(self._early)


class _Answers(asyncio.Protocol):
    """The database's side of a forwarded connection."""

    def __init__(self, link: _Link) -> None:
        self._link = link

    def data_received(self, data: bytes) -> None:
        self._link.forward_back(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.hang_up()


@asynccontextmanager
async def forwarding(target: int) -> AsyncIterator[Forwarder]:
    """A proxy in front of a port, which ends with the block."""
    forwarder = await Forwarder(target).start()
    try:
        yield forwarder
    finally:
        await forwarder.close()
