"""The demo CRM on a real socket, and clients for it, for tests of connectors and of the CRM itself."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from messagelog.testing.demo_crm.app import create_demo_crm

_log = logging.getLogger(__name__)

MOUNT_PATH = "/demo-crm"


@dataclass(frozen=True, slots=True)
class ApiReply:
    """An answer; `body` is the decoded JSON, the bytes of anything else, or None when there is none."""

    status: int
    body: Any
    headers: Mapping[str, str]


class DemoCrmClient:
    """A client with an API key and a connection pool of its own."""

    def __init__(self, url: str, api_key: str) -> None:
        self._url = url
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {api_key}"},
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=30),
        )

    async def ask(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ApiReply:
        """Send a request to `path`, which may have a query.

        Raises aiohttp.ClientError when there is no whole answer.
        """
        headers = dict(headers or {})
        if json is not None:
            data = msgspec.json.encode(json)
            headers.setdefault("Content-Type", "application/json")
        body = None if data is None else BytesIO(data)  # aiohttp warns of large bodies that are bytes
        async with self._session.request(
            method, f"{self._url}{path}", data=body, headers=headers
        ) as response:
            content = await response.read()
            if response.content_type == "application/json":
                return ApiReply(response.status, await response.json(), response.headers)
            return ApiReply(response.status, content or None, response.headers)

    async def chaos(self, **changes: object) -> dict[str, Any]:
        """Change the tenant's switch and return the whole of it."""
        answer = await self.ask("POST", "/api/chaos", json=changes)
        if answer.status != HTTPStatus.OK:
            raise ValueError(answer.body["error"])
        switch: dict[str, Any] = answer.body
        return switch

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()


@dataclass(frozen=True, slots=True)
class DemoCrmServer:
    """A demo CRM that is being served: its `url` (with the mount path, without a slash at the end) and its app."""

    url: str
    app: Starlette

    def api_client(self, api_key: str = "demo-ada") -> DemoCrmClient:
        """Return a client for it, to be used with `async with`."""
        return DemoCrmClient(self.url, api_key)


@contextlib.asynccontextmanager
async def serve_demo_crm(
    path: Path | str,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    random: Random | None = None,
) -> AsyncIterator[DemoCrmServer]:
    """Serve the demo CRM of the file at `path` on a free loopback port, in the running event loop."""
    app = create_demo_crm(path, clock=clock, sleep=sleep, random=random)
    try:
        async with _serve_app(Starlette(routes=[Mount(MOUNT_PATH, app=app)])) as origin:
            yield DemoCrmServer(f"{origin}{MOUNT_PATH}", app)
    finally:
        await asyncio.to_thread(app.state.store.close)


@contextlib.asynccontextmanager
async def _serve_app(app: ASGIApp) -> AsyncIterator[str]:
    # asyncio sends small packets at once only on sockets that are marked as TCP, and `create_server`'s are not.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = _LoopbackServer(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        host, port = listener.getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.leave.set()
        await serving


class _LoopbackServer(uvicorn.Server):
    """uvicorn inside a test: it does not handle the process's signals, and ends as soon as it should."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.leave = asyncio.Event()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.leave.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down as uvicorn does, but at once when no answer is under way, and within a second."""
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if answering := set(self.server_state.tasks):
            _, late = await asyncio.wait(answering, timeout=1)
            for task in late:
                _log.error("A call was still under way when the demo CRM ended: %s", task)
                task.cancel()
        await asyncio.sleep(0)  # closed transports notify their protocols in the loop's next iteration

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
