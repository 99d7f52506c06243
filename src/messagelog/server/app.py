"""Puts the application together: routes, CORS, and refusals in the form that the client shows."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import structlog
from starlette.exceptions import HTTPException

from messagelog.core.errors import Stopping
from messagelog.core.intake.answer import ReturnMessage
from messagelog.core.intake.plugins import PluginBlocked, RefusedByPlugin
from messagelog.core.operators.accounts import RoleMissing
from messagelog.messages import BadRequest
from messagelog.server.asgi.cors import Cors, CorsHeaders
from messagelog.server.asgi.error_middleware import ErrorMiddleware
from messagelog.server.asgi.fast_path import FastPathApp
from messagelog.server.lifespan import open_context
from messagelog.server.refusals import refusal_response
from messagelog.server.requests import (
    DATABASE_AWAY,
    DATABASE_GONE,
    RESTARTING,
    HttpRefusal,
    SessionEnded,
    json_response,
)
from messagelog.server.routes import (
    client_info,
    contacts,
    health,
    inbox,
    login,
    manifest,
    message_log,
    oauth,
    operators,
    privacy,
    tenants,
    user_settings,
)
from messagelog.storage import StoreClosed, StoreUnavailable
from messagelog.storage.store import UnusableFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from messagelog.server.context import ServerConfig

_log = structlog.get_logger(__name__)

_SESSION_ENDED: Final = {
    "successful": False,
    "returnMessage": ReturnMessage(
        message="User session expired. Please connect again.", message_type="warning", ttl=5000
    ),
    "errorCode": "CRM_SESSION_REVOKED",
}
_WITHOUT_CORS: Final = (operators.PREFIX,)
"""Path prefixes that never get CORS headers: the browser client does not call the routes of operators."""

_MODULES: Final = (
    message_log,
    contacts,
    login,
    oauth,
    user_settings,
    manifest,
    client_info,
    operators,
    privacy,
    tenants,
    inbox,
    health,
)
_REFUSALS: Final = (
    *(HttpRefusal, SessionEnded, BadRequest, PluginBlocked, Stopping, HTTPException, RoleMissing),
    *(StoreClosed, StoreUnavailable, UnusableFile),
)


def create_app(
    config: ServerConfig, *, mounts: Mapping[str, Starlette] | None = None, start_at_once: bool = True
) -> FastPathApp:
    """Return the server as an ASGI application.

    `mounts` are further applications by path (the demo's CRM), which start and stop with this one. With
    `start_at_once=False` the caller starts the runtime itself, after the application can be reached.
    """
    mounts = mounts or {}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for mounted in mounts.values():
                await stack.enter_async_context(mounted.router.lifespan_context(mounted))
            app.state.context = await stack.enter_async_context(open_context(config))
            for name, connector in config.connectors.items():
                if not connector.manifest.get("contactPageUrl"):
                    _log.warning("contact_page_missing", platform=name)
            if start_at_once:
                await app.state.context.runtime.start()
            yield

    app = FastPathApp(
        [module.router for module in _MODULES],
        lifespan,
        fast_path={("POST", "/messageLog"): _log_messages},
        cors=CorsHeaders(config.cors_origins),
        access_log=config.access_log,
    )
    for path, mounted in mounts.items():
        app.mount(path, mounted)
    for refusal in _REFUSALS:
        app.add_exception_handler(refusal, _to_response)
    app.add_middleware(ErrorMiddleware)
    app.add_middleware(Cors, origins=config.cors_origins, without=_WITHOUT_CORS)
    return app


async def _log_messages(request: Request) -> Response:
    try:
        return await message_log.log_messages(request)
    except _REFUSALS as error:
        return await _to_response(request, error)


async def _to_response(request: Request, error: Exception) -> Response:
    """Return the answer to a refused request: a status with a text, or with a notice for the newest client."""
    headers: Mapping[str, str] = {}
    match error:
        case SessionEnded():
            return json_response(_SESSION_ENDED, 401)
        case HttpRefusal():
            status, text = error.status, error.text
            headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        case BadRequest() | RoleMissing():
            status, text = 403 if isinstance(error, RoleMissing) else 400, str(error)
        case PluginBlocked():
            # With an error's status, since the client shows nothing of an answer that says `successful: false`.
            status, text = 422 if isinstance(error, RefusedByPlugin) else 503, str(error)
        case StoreUnavailable():
            status, text = 503, DATABASE_AWAY
        case HTTPException():
            status, text, headers = error.status_code, error.detail, error.headers or {}
        case _:
            status, text = 503, DATABASE_GONE if isinstance(error, UnusableFile) else RESTARTING
    answer = refusal_response(request.scope, status, text)
    answer.headers.update(headers)
    return answer
