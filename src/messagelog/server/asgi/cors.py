"""CORS: pages of the origins that the operator allows may read our answers, but not those of some routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cachetools import LRUCache
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from messagelog.server.context import ANY_ORIGIN

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MOST_ORIGINS: Final = 64


class Cors:
    """Adds CORS to every answer, errors and preflights too, except on paths that begin with one of `without`.

    `origins` are exact, or `*`: the client is a browser extension, whose origin differs between browsers, and
    nothing is done without a token, which no page has by itself. No cookie is ever set.
    """

    def __init__(self, app: ASGIApp, *, origins: Collection[str], without: Collection[str] = ()) -> None:
        self._app = app
        self._without = tuple(without)
        self._with = _middleware(app, origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with CORS or without."""
        bare = scope["type"] == "http" and scope["path"].startswith(self._without)
        await (self._app if bare else self._with)(scope, receive, send)


class CorsHeaders:
    """The headers that Starlette's CORS adds to an answer, cached for the origins that sent the last requests.

    They are right for answers without a `Vary` of their own.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self._with = _middleware(Response(), origins)
        self._cache: LRUCache[str | None, list[tuple[bytes, bytes]]] = LRUCache(_MOST_ORIGINS)

    async def headers_for(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        """Return the headers of an answer to a page of this origin; None if the request names no origin."""
        headers = self._cache.get(origin)
        if headers is None:
            answer: Message = {"type": "http.response.start", "headers": []}
            request = Headers({} if origin is None else {"origin": origin})
            await self._with.send(answer, _discard, request)
            self._cache[origin] = headers = list(answer["headers"])
        return headers


async def _discard(_message: Message) -> None:
    """Send nothing: the message itself has the headers that CORS added."""


def _middleware(app: ASGIApp, origins: Collection[str]) -> CORSMiddleware:
    return CORSMiddleware(
        app,
        allow_origins=list(origins),
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["x-refreshed-jwt-token", "x-request-id"],
        allow_private_network=True,  # the extension may speak to a server on the user's own machine or network
        max_age=600,
    )


def is_origin(text: str) -> bool:
    """Return whether a text is an origin as browsers send it, `scheme://host` or with a port; or `*`."""
    if text == ANY_ORIGIN:
        return True
    try:
        parts = urlsplit(text)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return False
    # Browsers leave out the default port of a scheme.
    default_port = (parts.scheme, parts.port) in {("https", 443), ("http", 80)}
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return (
        bool(host)
        and "*" not in text
        and text.isascii()
        and not default_port
        and text == f"{parts.scheme}://{host}{port}"
    )
