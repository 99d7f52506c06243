"""Serves an application with uvicorn. A shutdown ends the work first, then the listener.

While the work comes to its end its calls still reach a CRM that this very server mounts (the demo's), and those who
ask are told that the server is restarting.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI

_GRACE_SECONDS = 5


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that listens at `host` and `port`; with port 0 the system chooses one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, so that asyncio switches off the delay of small packets (40 ms for each answer otherwise).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


class Serving(uvicorn.Server):
    """A uvicorn server that starts the runtime when it can be reached, and stops it before it cannot."""

    def __init__(self, app: FastAPI, on_ready: Callable[[], Awaitable[None]] | None = None) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,  # its lines would hold the query, and the query holds the client's token
            timeout_graceful_shutdown=_GRACE_SECONDS,
            server_header=False,
        )
        super().__init__(config)
        self._app = app
        self._on_ready = on_ready
        self._ready: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens, then starts the runtime and what waits for a server that answers."""
        await super().startup(sockets=sockets)
        if not self.should_exit:
            self._ready = asyncio.create_task(self._begin())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Brings the work to its end, then closes the listener and the connections."""
        if self._ready is not None:
            self._ready.cancel()
            await asyncio.wait([self._ready])
        assembly = getattr(self._app.state, "assembly", None)
        if assembly is not None:
            await assembly.runtime.stop()
        await super().shutdown(sockets=sockets)

    async def _begin(self) -> None:
        await self._app.state.assembly.runtime.start()
        if self._on_ready is not None:
            await self._on_ready()


def run(server: Serving, listener: socket.socket) -> None:
    """Serves until a signal asks to stop."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listener]))


def _loop_factory() -> Any:
    try:
        import uvloop  # noqa: PLC0415 - not there on Windows
    except ImportError:
        return None
    return uvloop.new_event_loop
