"""The application: the client's routes, CORS on every answer, refusals in the client's conventions."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from starlette.middleware.cors import CORSMiddleware

import messagelog
from messagelog.core.runtime import Stopping
from messagelog.messages import BadRequest
from messagelog.server import contacts, login, manifest, message_log
from messagelog.server.assembly import Parts, assembled
from messagelog.server.http import Guard, Refused, json_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.types import ASGIApp


def create_app(
    parts: Parts, *, mounts: Mapping[str, ASGIApp] | None = None, start_at_once: bool = True
) -> FastAPI:
    """The server as an ASGI application.

    `mounts` are further applications by path (the demo's CRM). With `start_at_once=False` whoever serves the
    application starts the runtime itself, once it can be reached.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with assembled(parts) as assembly:
            app.state.assembly = assembly
            if start_at_once:
                await assembly.runtime.start()
            yield

    app = FastAPI(
        title="messagelog", version=messagelog.__version__, summary=messagelog.__doc__, lifespan=lifespan
    )
    for router in (message_log.router, contacts.router, login.router, manifest.router):
        app.include_router(router)
    for path, mounted in (mounts or {}).items():
        app.mount(path, mounted)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(BadRequest, _bad_request)
    app.add_exception_handler(Stopping, _stopping)
    app.add_middleware(Guard)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"],
        allow_headers=["*"],
        expose_headers=["x-refreshed-jwt-token"],
        max_age=600,
    )
    return app


def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - the handler is registered for this type alone
    return json_response(error.text, error.status)


def _bad_request(_request: Request, error: Exception) -> Response:
    return json_response(str(error), 400)


def _stopping(_request: Request, _error: Exception) -> Response:
    return json_response("The server is restarting. Please log again in a moment.", 503)
