"""Our server on a real socket, with the demo CRM mounted into it, and a client that speaks as App Connect does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import aiohttp
import msgspec
import pytest
from argon2 import PasswordHasher
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from yarl import URL

from messagelog.connectors.demo import DemoConnector
from messagelog.core import Times
from messagelog.core.operators.accounts import Role, local_operator
from messagelog.core.operators.passwords import Passwords
from messagelog.server import create_app
from messagelog.server.asgi.uvicorn_server import UvicornServer, bind_socket
from messagelog.server.context import ServerConfig
from messagelog.storage import transactions
from messagelog.testing.demo_crm import create_demo_crm
from support.openapi_validation import RENEWED_TOKEN_HEADER, OpenApiDescription

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from messagelog.connectors import Connector
    from messagelog.server import AppContext
    from messagelog.server.routing import DescribedApp
    from messagelog.storage import LogRow, MessageRow

SQLITE_ONLY = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For tests that no database can change the outcome of."""

SECRET = "a-secret-for-tests-0123456789-abcdef"
ADA, GRACE, OTTO = "demo-ada", "demo-grace", "demo-otto"
CLIENT_HEADERS = {
    "accept": "application/json, text/plain, */*",
    "rc-extension-id": "8b8eae4db98e269a14d7e21d1b179afda3cddfa0a9fc894efae00e3a3af1207c",
    "rc-account-id": "0d6fa7a0d4ea2cd0c0348ec1f25228112fab2cd60050a77d574cfdf8e472ebba",
    "developer-author-name": "Example CRM",
}
PAYLOADS = Path(__file__).parent.parent / "messages" / "payloads"

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Hashes passwords with the cheapest parameters, for tests only."""

LOOPBACK = frozenset({"127.0.0.0/8"})
"""Where the CRMs of the tests are."""

_OBSERVER = "x-observer"
_PATIENCE = 10.0


class FastDemoConnector(DemoConnector):
    """The demo's connector for a CRM whose search is up to date at once."""

    settle_seconds: ClassVar[float] = 0.05


def payload(name: str) -> Any:
    """A captured request body, by the beginning of its name."""
    (path,) = PAYLOADS.glob(f"{name}*.json")
    return json.loads(path.read_bytes())


@dataclass(frozen=True)
class Reply:
    """An answer: `body` is the decoded JSON, or the text where it is none."""

    status: int
    body: Any
    headers: Mapping[str, str]
    raw: bytes


@dataclass
class CrmCall:
    """One request of the connector to the CRM."""

    method: str
    path: str
    query: str
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


class RecordingApp:
    """The CRM's application, with every request noted that is not a test's own.

    `refuse` may give an answer to be given instead of the CRM's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.calls: list[CrmCall] = []
        self.refuse: Callable[[CrmCall], Response | None] = lambda _call: None

    @property
    def writes(self) -> list[CrmCall]:
        """The calls that change something."""
        return [call for call in self.calls if call.method != "GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or any(name == _OBSERVER.encode() for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        call = CrmCall(scope["method"], path, scope["query_string"].decode(), headers=tuple(scope["headers"]))
        self.calls.append(call)
        if (refusal := self.refuse(call)) is not None:
            await refusal(scope, receive, send)
            return

        async def noting() -> Message:
            message = await receive()
            call.body += message.get("body", b"")
            return message

        await self._app(scope, noting, send)


def refusal(status: int, **headers: str) -> Response:
    """An error of the CRM; a header's name has `_` for `-`."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse({"error": "refused by the test"}, status, sent)


class InLoopServer(UvicornServer):
    """The server in a test's own event loop: it leaves signals alone and ends as soon as it is told to."""

    def __init__(self, app: DescribedApp, *, trusted_proxies: Collection[str] = ()) -> None:
        super().__init__(app, trusted_proxies=trusted_proxies)
        self.listens, self.leave = asyncio.Event(), asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.listens.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.leave.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self.drain()
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_PATIENCE)
        await self.lifespan.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class LiveServer:
    """A server that answers at `url`, and what a test asks of it."""

    url: str
    app: DescribedApp
    server: InLoopServer
    crm: RecordingApp
    client: aiohttp.ClientSession
    description: OpenApiDescription
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def context(self) -> AppContext:
        context: AppContext = self.app.state.context
        return context

    # ------------------------------------------------------------------------------------ the client

    async def ask(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Sends a request; `path` holds the query as it is to stand on the wire.

        Whatever the answer is, the OpenAPI description says that it may be.
        """
        sent = {**CLIENT_HEADERS, **(headers or {})}
        if json is not None:
            data = msgspec.json.encode(json)
            sent.setdefault("content-type", "application/json")
        if isinstance(data, bytes):
            data = BytesIO(data)  # aiohttp warns of large bodies that are bytes
        url = URL(self.url + path, encoded=True)
        async with self.client.request(method, url, data=data, headers=sent, allow_redirects=False) as answer:
            raw = await answer.read()
            is_json = answer.content_type == "application/json" and raw
            body = msgspec.json.decode(raw) if is_json else raw.decode()
            route, _, _ = path.partition("?")
            self.description.check_answer(
                method,
                route,
                answer.status,
                answer.content_type,
                body,
                renewed=RENEWED_TOKEN_HEADER in answer.headers,
            )
            return Reply(answer.status, body, answer.headers, raw)

    async def token(self, user: str = ADA) -> str:
        """A session token, from a login with the user's API key."""
        if user not in self.tokens:
            form = {
                "apiKey": user,
                "platform": "demo",
                "hostname": "crm.test",
                "additionalInfo": {"apiKey": user},
            }
            reply = await self.ask("POST", "/apiKeyLogin?state=platform=demo", json=form)
            assert reply.status == 200, reply.body
            self.tokens[user] = reply.body["jwtToken"]
        return self.tokens[user]

    async def operator(self, name: str, *roles: Role) -> dict[str, str]:
        """The headers of a new operator who has signed in."""
        password = "correct horse battery"
        await self.context.operators.add(local_operator("test"), name, password, roles)
        form = {"name": name, "password": password}
        reply = await self.ask("POST", "/operators/session", json=form)
        assert reply.status == 200, reply.body
        return {"authorization": f"Bearer {reply.body['token']}"}

    async def log(self, body: Any, user: str = ADA) -> Reply:
        """`POST /messageLog` as the client sends it: a value as JSON, or bytes as they are."""
        path = f"/messageLog?jwtToken={await self.token(user)}"
        if isinstance(body, bytes):
            return await self.ask("POST", path, data=body, headers={"content-type": "application/json"})
        return await self.ask("POST", path, json=body)

    # ------------------------------------------------------------------------------------ the CRM

    async def crm_api(self, method: str, path: str, *, json: Any = None, user: str = ADA) -> Any:
        """The CRM's own API, not noted as a call of the connector."""
        headers = {"authorization": f"Bearer {user}", _OBSERVER: "test"}
        return (await self.ask(method, f"/demo-crm/api{path}", json=json, headers=headers)).body

    async def activities(self, user: str = ADA) -> list[dict[str, Any]]:
        """All activities of the user's tenant, oldest first."""
        found: list[dict[str, Any]] = await self.crm_api("GET", "/activities", user=user)
        return found

    async def only_activity(self) -> dict[str, Any]:
        """The one activity there is."""
        (activity,) = await self.activities()
        return activity

    async def chaos(self, **changes: Any) -> None:
        """Changes the CRM's switch; without changes it behaves again."""
        await self.crm_api("POST", "/chaos", json=changes or {"reset": True})

    # ------------------------------------------------------------------------------------ the journal

    async def logs(self) -> list[LogRow]:
        """All conversation logs."""
        return [each.log for each in await self.context.store.read(lambda: transactions.list_logs(1000))]

    async def rows(self) -> dict[str, MessageRow]:
        """All `messageLogs` rows, by the id that is shown."""
        found: dict[str, MessageRow] = {}
        for log in await self.logs():
            shown = await self.context.store.read(
                partial(transactions.show_logs, log.key.conversation_log_id)
            )
            found |= {held.key.display_id(row.id): row for held, rows in shown for row in rows}
        return found

    async def states(self) -> dict[str, str]:
        """The state of every row, by id."""
        return {id_: str(row.state) for id_, row in (await self.rows()).items()}

    async def until_logged(self, *ids: str) -> None:
        """Waits until these rows are logged."""
        await until(lambda: self._are_logged(ids), f"{ids} are logged")

    async def _are_logged(self, ids: tuple[str, ...]) -> bool:
        states = await self.states()
        return all(states.get(id_) == "logged" for id_ in ids)


async def until(condition: Callable[[], Any], what: str, *, patience: float = _PATIENCE) -> None:
    """Waits until a condition (a coroutine function) holds."""
    deadline = time.monotonic() + patience
    while not await condition():
        assert time.monotonic() < deadline, f"not within {patience:g} s: {what}"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def live_server(
    database_url: str,
    folder: Path,
    *,
    connector: type[DemoConnector] = FastDemoConnector,
    times: Times | None = None,
    body_limit: int = 10_000_000,
    more: Mapping[str, Connector] | None = None,
    secrets: tuple[str, ...] = (SECRET,),
    trusted_proxies: Collection[str] = (),
    **config_fields: Any,
) -> AsyncIterator[LiveServer]:
    """A running server on a database; the CRM's file is in `folder`, the first of `secrets` is the newest.

    What else there is goes into its `ServerConfig`.
    """
    listener = bind_socket("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = ServerConfig(
        database_url=database_url,
        secret_key=secrets[0],
        old_secret_keys=secrets[1:],
        connectors={"demo": connector(f"{url}/demo-crm/api"), **(more or {})},
        public_url=f"{url}/",
        times=times or Times(answer=5.0, call=5.0, lease=60.0, sweep=0.2),
        body_limit=body_limit,
        **{"private_hosts": LOOPBACK, "passwords": lambda: Passwords(CHEAP), **config_fields},
    )
    crm = create_demo_crm(folder / "demo-crm.sqlite")
    recorded = RecordingApp(crm)
    mounted = Starlette(routes=[Mount("/", recorded)], lifespan=crm.router.lifespan_context)
    app = create_app(config, mounts={"/demo-crm": mounted}, start_at_once=False)
    server = InLoopServer(app, trusted_proxies=trusted_proxies)
    serving = asyncio.create_task(server.serve([listener]))
    connection_pool = aiohttp.TCPConnector(limit=0)
    try:
        async with aiohttp.ClientSession(connector=connection_pool) as client:
            await server.listens.wait()
            yield LiveServer(url, app, server, recorded, client, OpenApiDescription(app))
    finally:
        server.leave.set()
        await serving
        listener.close()
