"""Routes that are answered in front of all layers, because the layers take longer than many an answer.

CORS, renewed tokens and uncaught errors, which are the layers' work for other routes, are handled here in one place,
with the same code: a change to one of them is made here too. The routes are also registered by decorators, which
describe them (`/openapi.json`), but no request arrives there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from messagelog.server.asgi.error_middleware import error_response, token_headers
from messagelog.server.asgi.request_ids import Exchange
from messagelog.server.routing import DescribedApp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.responses import Response
    from starlette.types import Lifespan, Receive, Scope, Send

    from messagelog.server.asgi.cors import CorsHeaders
    from messagelog.server.routing import Router

    Handler = Callable[[Request], Awaitable[Response]]


class FastPathApp(DescribedApp):
    """An application that answers the routes of `fast_path`, by method and path, itself, and routes all others.

    With `access_log` it writes a log line for each answer.
    """

    def __init__(
        self,
        routers: list[Router],
        lifespan: Lifespan[Any] | None,
        *,
        fast_path: Mapping[tuple[str, str], Handler],
        cors: CorsHeaders,
        access_log: bool = False,
    ) -> None:
        super().__init__(routers, lifespan)
        self._access_log = access_log
        self._fast_paths = fast_path
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        exchange = Exchange(scope, send, timed=self._access_log)
        try:
            handler = self._fast_paths.get((scope["method"], scope["path"]))
            if handler is None:
                await super().__call__(scope, receive, exchange.send)
            else:
                await self._serve(handler, scope, receive, exchange.send)
        finally:
            exchange.end()

    async def _serve(self, handler: Handler, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        request = Request(scope, receive)
        started = False
        try:
            answer = await handler(request)
            started = True
            await self._send(answer, request, send)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - any error, see `error_response`
            error_answer = error_response(error, scope)
            if error_answer is not None and not started:
                await self._send(error_answer, request, send)

    async def _send(self, answer: Response, request: Request, send: Send) -> None:
        cors = await self._cors.headers_for(request.headers.get("origin"))
        headers = [*answer.raw_headers, *token_headers(request.scope), *cors]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})
