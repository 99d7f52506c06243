"""Routes, and the application that has them. Starlette serves them, and FastAPI describes them when somebody asks.

FastAPI and Pydantic take a sixth of a server's memory. A server whose description is never looked at does without.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.applications import Starlette
from starlette.routing import Route

from messagelog.server.openapi.pages import documentation_pages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

Handler = TypeVar("Handler", bound="Callable[[Request], Awaitable[Response]]")


class Router:
    """The routes of a module, by method and path."""

    def __init__(self) -> None:
        self.routes: list[Route] = []

    def get(self, path: str) -> Callable[[Handler], Handler]:
        """Answers GET."""
        return self._at(path, "GET")

    def post(self, path: str) -> Callable[[Handler], Handler]:
        """Answers POST."""
        return self._at(path, "POST")

    def patch(self, path: str) -> Callable[[Handler], Handler]:
        """Answers PATCH."""
        return self._at(path, "PATCH")

    def delete(self, path: str) -> Callable[[Handler], Handler]:
        """Answers DELETE."""
        return self._at(path, "DELETE")

    def _at(self, path: str, method: str) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            self.routes.append(route_of(path, handler, method))
            return handler

        return register


def route_of(path: str, handler: Callable[..., Any], method: str) -> Route:
    """A route for one method alone: HEAD, which Starlette adds to GET, is answered in front of all routes."""
    route = Route(path, handler, methods=[method])
    route.methods = {method}
    return route


class DescribedApp(Starlette):
    """An application that answers what its routes are asked, and describes them."""

    def __init__(self, routers: list[Router], lifespan: Lifespan[Any] | None = None) -> None:
        self._described = [route for router in routers for route in router.routes]
        self._description: FastAPI | None = None
        pages: dict[str, Callable[..., Any]] = {"/openapi.json": _Description(self), **documentation_pages()}
        shown = [route_of(path, page, "GET") for path, page in pages.items()]
        super().__init__(routes=[*shown, *self._described], lifespan=lifespan)
        self.router.redirect_slashes = (
            False  # a redirect would repeat the query, and the query holds the token
        )

    def openapi(self) -> dict[str, Any]:
        """The description of the routes."""
        return self.description().openapi()

    def description(self) -> FastAPI:
        """The application that describes the routes. Made when it is first asked."""
        if self._description is None:
            from messagelog.server.openapi.document import description_app  # noqa: PLC0415 - FastAPI and Pydantic

            self._description = description_app(self._described)
        return self._description


class _Description:
    """Answers with the description. It is made aside, since loading FastAPI takes the processor a while."""

    def __init__(self, app: DescribedApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler: ASGIApp = await asyncio.to_thread(self._app.description)
        await handler(scope, receive, send)
