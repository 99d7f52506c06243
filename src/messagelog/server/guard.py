"""The layer around all routes: methods that every path has, renewed tokens, and whatever nobody else answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from messagelog.errors import place_of
from messagelog.server.http import HEAD, RENEWED, RESTARTING
from messagelog.server.refusals import refusal_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_ALLOW: Final = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
_RENEWED_HEADER: Final = b"x-refreshed-jwt-token"
_FAILED: Final = "The server could not do this now. What was accepted before is kept."

_log = structlog.get_logger(__name__)


class Guard:
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
            await self._answered({**scope, "method": "GET", HEAD: True}, receive, send)
        else:
            await self._answered(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Any) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], *renewed_token(scope)]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, see `answer_to`
            answer = answer_to(error, scope)
            if answer is not None and not started:
                await answer(scope, receive, send)


def renewed_token(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The header with the token that takes the place of the one that came along; most answers have none."""
    token: str | None = scope.get(RENEWED)
    return [] if token is None else [(_RENEWED_HEADER, token.encode())]


def answer_to(error: BaseException, scope: Scope) -> Response | None:
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
    _log.error("request_failed", path=scope["path"], error=type(error).__name__, place=place_of(error))
    return refusal_response(scope, 500, _FAILED)
