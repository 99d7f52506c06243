"""The layer around all routes: OPTIONS and HEAD on every path, renewed tokens, and unforeseen errors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from messagelog.errors import error_location
from messagelog.server.refusals import refusal_response
from messagelog.server.requests import HEAD_ONLY, RENEWED_TOKEN, RESTARTING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_ALLOW: Final = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
_RENEWED_HEADER: Final = b"x-refreshed-jwt-token"
_INTERNAL_ERROR: Final = "The server could not do this now. What was accepted before is kept."

_log = structlog.get_logger(__name__)


class ErrorMiddleware:
    """Answers OPTIONS and HEAD on every path, adds renewed tokens, and answers uncaught errors."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and make sure that it gets an answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await Response(status_code=204, headers={"Allow": _ALLOW})(scope, receive, send)
        elif scope["method"] == "HEAD":
            # The server sends only the head of the answer to this GET.
            await self._run({**scope, "method": "GET", HEAD_ONLY: True}, receive, send)
        else:
            await self._run(scope, receive, send)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_with_token(message: Any) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], *token_headers(scope)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_token)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - any error, see `error_response`
            answer = error_response(error, scope)
            if answer is not None and not started:
                await answer(scope, receive, send)


def token_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return the header with a new token in place of the request's; most answers have none."""
    token: str | None = scope.get(RENEWED_TOKEN)
    return [] if token is None else [(_RENEWED_HEADER, token.encode())]


def error_response(error: BaseException, scope: Scope) -> Response | None:
    """Return the answer to a request that ended with an uncaught error; None if the client has gone.

    Only the type and place of the error are logged: its text may quote a message or a secret. It is not raised again,
    because Starlette and uvicorn would print it whole. If an answer has already begun, the server notices that it is
    incomplete, and closes the connection.
    """
    if isinstance(error, ClientDisconnect):
        return None  # the client left before its request was complete
    if isinstance(error, asyncio.CancelledError):
        # The server is stopping and waits no longer. This is the task's outermost layer, so it may end here.
        return refusal_response(scope, 503, RESTARTING)
    _log.error("request_failed", path=scope["path"], error=type(error).__name__, place=error_location(error))
    return refusal_response(scope, 500, _INTERNAL_ERROR)
