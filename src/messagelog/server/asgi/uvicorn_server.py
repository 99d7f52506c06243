"""Serves an application with uvicorn. A shutdown drains the work first, then closes the listener.

During the drain the calls still reach a CRM that this very server mounts (the demo's), and new requests are answered
that the server is restarting.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
from typing import TYPE_CHECKING, Final

import uvicorn

from messagelog.core import Times
from messagelog.errors import MessagelogError
from messagelog.server.asgi.protocol import LimitedHttpProtocol
from messagelog.server.shutdown import LAST_SECONDS, ShutdownWatchdog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from types import FrameType

    from starlette.applications import Starlette

_GRACE_SECONDS: Final = 5
_SHORTEST_GRACE: Final = 0.3


class CannotListen(MessagelogError):
    """Nothing can listen at this address; the text says why."""


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens at `host` and `port`; with port 0 the system chooses one. Raises `CannotListen`.

    Connections that are made before the server has started wait for it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, so that asyncio switches off the delay of small packets (40 ms for each answer otherwise).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except (OSError, UnicodeError) as error:
        listener.close()
        why = error.strerror if isinstance(error, OSError) and error.strerror else "this is no host"
        raise CannotListen(f"Cannot listen at {url_host(host)}:{port}: {why}.") from error
    return listener


def url_host(host: str) -> str:
    """Return a host as URLs have it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


class UvicornServer(uvicorn.Server):
    """A uvicorn server that starts the runtime after it can be reached, and stops it before it no longer can.

    `on_ready` is awaited after the runtime has started; an error in it ends the server. Only the `X-Forwarded-For` of
    `trusted_proxies` (addresses and networks) is trusted. After a signal the process ends within `drain_seconds` and
    two more.
    """

    def __init__(
        self,
        app: Starlette,
        on_ready: Callable[[], Awaitable[None]] | None = None,
        *,
        trusted_proxies: Collection[str] = (),
        drain_seconds: float | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=LimitedHttpProtocol,
            log_config=None,
            access_log=False,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=sorted(trusted_proxies),  # never left out: uvicorn would ask the environment
            timeout_graceful_shutdown=_GRACE_SECONDS,
            server_header=False,
        )
        # Their lines would hold the query, and the query holds the client's token: no handler may have them back.
        # The second one speaks when the process's log level is uvicorn's TRACE, or below.
        for name in ("uvicorn.access", "uvicorn.asgi"):
            logging.getLogger(name).disabled = True
        super().__init__(config)
        self._app = app
        self._on_ready = on_ready
        self._start_task: asyncio.Task[None] | None = None
        self._drain_seconds = Times().drain if drain_seconds is None else drain_seconds
        self._watchdog = ShutdownWatchdog()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then start the runtime and `on_ready`."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets=sockets)
        # The collector should not look at objects that a server never drops, nor run all the time: a request of a
        # hundred messages makes thousands of objects, and none of them needs it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        if not self.should_exit:
            self._start_task = asyncio.create_task(self._start_runtime())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop. From here on the process ends in time, even if something hangs."""
        self._arm_watchdog(128 + sig)
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain the work, then close the listener and the connections."""
        self._arm_watchdog(1)
        await self.drain()
        # After the drain time no time is left for clients that still wait for an answer.
        left = self._app.state.context.runtime.stops_by - asyncio.get_running_loop().time()
        self.config.timeout_graceful_shutdown = min(_GRACE_SECONDS, max(left, 0.0) + _SHORTEST_GRACE)
        await super().shutdown(sockets=sockets)
        if self._start_task is not None and self._start_task.done() and not self._start_task.cancelled():
            self._start_task.result()

    async def drain(self) -> None:
        """Take no new work and let the calls under way finish, while requests are still answered."""
        if self._start_task is not None:
            self._start_task.cancel()
            await asyncio.wait([self._start_task], timeout=_SHORTEST_GRACE)
        await self._app.state.context.runtime.stop()

    def _arm_watchdog(self, code: int) -> None:
        self._watchdog.arm(self._drain_seconds + LAST_SECONDS, code, self._loop)

    async def _start_runtime(self) -> None:
        try:
            await self._app.state.context.runtime.start()
            if self._on_ready is not None:
                await self._on_ready()
        except Exception:
            self.should_exit = True  # raised again at the end of the shutdown
            raise


def run(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve until a signal asks to stop, on uvloop where there is one."""
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415 - not there on Windows

        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(server.serve(sockets=[listener]))
