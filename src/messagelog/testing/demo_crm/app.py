"""The demo CRM's app: its file, its routes, and its answers to errors."""

import asyncio
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from messagelog.testing.demo_crm import api
from messagelog.testing.demo_crm.chaos import Chaos
from messagelog.testing.demo_crm.contacts import ContactDraft, insert_contact
from messagelog.testing.demo_crm.people import API_KEYS, TENANTS, User
from messagelog.testing.demo_crm.records import stats
from messagelog.testing.demo_crm.store import DemoCrmStore, StoreUnavailableError
from messagelog.testing.demo_crm.switch import Switch
from messagelog.testing.demo_crm.wire import RefusedError, json_answer, read_json

_log = logging.getLogger(__name__)

_DAY_S = 86_400
_AGE_OF_SEEDS_S = 30 * _DAY_S  # old enough for every search lag


def create_demo_crm(
    path: Path | str,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    random: Random | None = None,
) -> Starlette:
    """Make a CRM whose data lives in the SQLite file at `path`, with routes below `/api`.

    The first call makes the file (and its folder), with the contacts of `TENANTS`; one process at a time may use it.
    `app.state.store.close()` closes it, as the end of an app does that is served alone; the next call opens it again.
    `clock` returns the time in seconds since 1970, `sleep` waits for seconds (the switch's `delay_ms`), and `random`
    draws for its rates.
    """
    store = DemoCrmStore(Path(path), lambda connection: _prepare(connection, clock()))
    generator = random or Random()  # noqa: S311 - chances of failure, not secrets
    chaos = Chaos(store, random=generator, sleep=sleep, clock=clock)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(store.close)

    routes = _DemoCrm(store, chaos, clock).routes()
    app = Starlette(routes=routes, exception_handlers=_ERRORS, lifespan=lifespan)
    app.state.store = store
    app.state.chaos = chaos
    return app


class _DemoCrm:
    """Answers callers who have a key, under the chaos of their tenant."""

    def __init__(self, store: DemoCrmStore, chaos: Chaos, clock: Callable[[], float]) -> None:
        self._store = store
        self._chaos = chaos
        self._clock = clock
        self._calls: Counter[str] = Counter()

    def routes(self) -> list[Route]:
        """Return the routes of the whole API."""
        activity = "/api/activities/{id}"
        return [
            self._route("GET", "/api/me", api.me),
            self._route("GET", "/api/contacts", api.list_contacts),
            self._route("POST", "/api/contacts", api.add_contact),
            self._route("GET", "/api/contacts/{id}", api.show_contact),
            self._route("GET", "/api/activities", api.list_activities),
            self._route("POST", "/api/activities", api.add_activity),
            self._route("GET", activity, api.show_activity),
            self._route("PATCH", activity, api.edit_activity),
            self._route("DELETE", activity, api.remove_activity),
            self._route("POST", f"{activity}/entries", api.add_entry),
            self._route("POST", f"{activity}/attachments", api.add_attachment),
            self._route("GET", "/api/attachments/{id}", api.send_attachment),
            Route("/api/stats", self._show_stats, methods=["GET"]),
            Route("/api/chaos", self._show_chaos, methods=["GET"]),
            Route("/api/chaos", self._change_chaos, methods=["POST"]),
        ]

    def _route(self, method: str, path: str, answer: Callable[[api.Call], Awaitable[Response]]) -> Route:
        async def endpoint(request: Request) -> Response:
            user = _authenticate(request)
            self._calls[user.tenant] += 1
            return await self._under_chaos(request, user, answer, writes=method != "GET")

        return Route(path, endpoint, methods=[method])

    async def _under_chaos(
        self, request: Request, user: User, answer: Callable[[api.Call], Awaitable[Response]], *, writes: bool
    ) -> Response:
        async def work(switch: Switch) -> Response:
            return await answer(api.Call(request, user, switch, self._store, self._clock))

        return await self._chaos.apply(user.tenant, work, writes=writes)

    async def _show_stats(self, request: Request) -> Response:
        """Answer with the tenant's counts since the file was made, and its calls since this app was."""
        user = _authenticate(request)

        async def answer(call: api.Call) -> Response:
            return json_answer(await call.do(stats) | {"calls": self._calls[user.tenant]})

        return await self._under_chaos(request, user, answer, writes=False)

    async def _show_chaos(self, request: Request) -> Response:
        return json_answer(await self._chaos.switch(_authenticate(request).tenant))

    async def _change_chaos(self, request: Request) -> Response:
        user = _authenticate(request)
        changes = await read_json(request, dict[str, Any])
        return json_answer(await self._chaos.change(user.tenant, changes))


def _authenticate(request: Request) -> User:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    user = API_KEYS.get(key.strip())
    if scheme.lower() != "bearer" or user is None:
        raise RefusedError(401, "an API key is needed", headers={"WWW-Authenticate": "Bearer"})
    return user


def _prepare(connection: sqlite3.Connection, now: float) -> None:
    """Make missing tables, and the first contacts of tenants that are new to the file."""
    schema = resources.files(__package__).joinpath("schema.sql").read_text("utf-8")
    connection.executescript(f"BEGIN; {schema}")
    for tenant in TENANTS.values():
        known = connection.execute("INSERT OR IGNORE INTO tenant (id) VALUES (?)", (tenant.id,)).rowcount == 0
        if not known:
            for seed in tenant.contacts:
                draft = ContactDraft(seed.name, seed.phone, seed.type, dict(seed.fields))
                insert_contact(connection, tenant.id, draft, now - _AGE_OF_SEEDS_S)
    connection.execute("COMMIT")


async def _answer_error(_: Request, error: Exception) -> Response:
    match error:
        case RefusedError():
            return json_answer(error.payload, error.status, error.headers)
        case HTTPException():
            return json_answer({"error": error.detail}, error.status_code, error.headers)
        case StoreUnavailableError():
            _log.error("%s", error)
            return json_answer({"error": "the demo CRM cannot use its file"}, 503)
        case _:
            return Response(status_code=400)  # the client left during its request, and does not read this


_ERRORS = dict.fromkeys((RefusedError, HTTPException, StoreUnavailableError, ClientDisconnect), _answer_error)
