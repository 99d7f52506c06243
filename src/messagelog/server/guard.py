"""The layer around all routes: methods that every path has, renewed tokens, and whatever nobody else answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from messagelog.core.asking import place_of
from messagelog.server.http import RENEWED, RESTARTING, json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

_ALLOW: Final = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
_RENEWED_HEADER: Final = b"x-refreshed-jwt-token"
_FAILED: Final = "The server could not do this now. What was accepted before is kept."

_log = structlog.get_logger(__name__)


class Guard:
    """Answers OPTIONS and HEAD on every path, brings renewed tokens, and answers errors that nobody caught.

    Such an error is told of by its type and place, in one line: its text may quote a message or a secret. It goes no
    further, since those outside (Starlette, uvicorn) would print it whole.

    `hot` are functions by method and path that answer without the way through the routes, which costs more than
    many an answer. The routes have them too, for the description of the API.
    """

    def __init__(
        self, app: ASGIApp, hot: Mapping[tuple[str, str], Callable[[Request], Awaitable[Response]]]
    ) -> None:
        self._app = app
        self._hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes requests on, and sees to it that each has an answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await Response(status_code=204, headers={"Allow": _ALLOW})(scope, receive, send)
        elif scope["method"] == "HEAD":
            # Of the answer to a GET the server sends the head alone.
            await self._answered({**scope, "method": "GET"}, receive, send)
        else:
            await self._answered(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Any) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if (token := scope.get(RENEWED)) is not None:
                    message["headers"] = [*message["headers"], (_RENEWED_HEADER, token.encode())]
            await send(message)

        hot = self._hot.get((scope["method"], scope["path"]))
        try:
            if hot is None:
                await self._app(scope, receive, watched)
            else:
                await (await hot(Request(scope, receive)))(scope, receive, watched)
        except ClientDisconnect:
            return  # she left before her request was whole: nobody waits for an answer
        except asyncio.CancelledError:
            # The server ends and waits no longer. This is the task's outermost layer, so it ends here as it should.
            answer = json_response(RESTARTING, 503)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not be printed with its text
            _log.error(
                "request_failed", path=scope["path"], error=type(error).__name__, place=place_of(error)
            )
            answer = json_response(_FAILED, 500)
        else:
            return
        if not started:  # otherwise the server sees that the answer is not whole, and closes the connection
            await answer(scope, receive, send)
