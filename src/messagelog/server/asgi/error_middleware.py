"""The layer around all routes: methods that every path has, renewed tokens, and whatever nobody else answered."""

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
    """Answers OPTIONS and HEAD on every path, brings renewed tokens, and answers errors that nobody caught."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes requests on, and sees to it that each has an answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await Response(status_code=204, headers={"Allow": _ALLOW})(scope, receive, send)
        elif scope["method"] == "HEAD":
            # Of the answer to a GET the server sends the head alone.
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
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, see `error_response`
            answer = error_response(error, scope)
            if answer is not None and not started:
                await answer(scope, receive, send)


def token_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The header with the token that takes the place of the one that came along; most answers have none."""
    token: str | None = scope.get(RENEWED_TOKEN)
    return [] if token is None else [(_RENEWED_HEADER, token.encode())]


def error_response(error: BaseException, scope: Scope) -> Response | None:
    """The answer to a request that ended with an error which nobody caught; None where nobody waits for one.

    Such an error is told of by its type and place, in one line: its text may quote a message or a secret. It goes no
    further, since those outside (Starlette, uvicorn) would print it whole. Where an answer has begun already, the
    server sees that it is not whole, and closes the connection.
    """
    if isinstance(error, ClientDisconnect):
        return None  # she left before her request was whole
    if isinstance(error, asyncio.CancelledError):
        # The server ends and waits no longer. This is the task's outermost layer, so it ends here as it should.
        return refusal_response(scope, 503, RESTARTING)
    _log.error("request_failed", path=scope["path"], error=type(error).__name__, place=error_location(error))
    return refusal_response(scope, 500, _INTERNAL_ERROR)
