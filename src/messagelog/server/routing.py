"""Routes with their descriptions, and the application that serves both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from messagelog.server.openapi.operations import Operation
from messagelog.server.openapi.pages import documentation_pages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Unpack

    from starlette.requests import Request
    from starlette.types import Lifespan

    from messagelog.server.openapi.operations import RouteOptions

Handler = TypeVar("Handler", bound="Callable[[Request], Awaitable[Response]]")


class Router:
    """The routes of a module, each with what its decorator says of it."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def get(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[Handler], Handler]:
        """Register the handler of a GET."""
        return self._register("GET", path, options)

    def post(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[Handler], Handler]:
        """Register the handler of a POST."""
        return self._register("POST", path, options)

    def patch(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[Handler], Handler]:
        """Register the handler of a PATCH."""
        return self._register("PATCH", path, options)

    def delete(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[Handler], Handler]:
        """Register the handler of a DELETE."""
        return self._register("DELETE", path, options)

    def _register(self, method: str, path: str, options: RouteOptions) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            self.operations.append(Operation(method, path, handler, **options))
            return handler

        return register


class DescribedApp(Starlette):
    """An application that serves routes, and a description of them at `/openapi.json` and `/docs`."""

    def __init__(self, routers: list[Router], lifespan: Lifespan[Any] | None = None) -> None:
        self.operations = [operation for router in routers for operation in router.operations]
        self._document: bytes | None = None
        pages = {"/openapi.json": self._serve_document, **documentation_pages()}
        routes = [_route(path, page, "GET") for path, page in pages.items()]
        routes += [_route(each.path, each.handler, each.method) for each in self.operations]
        super().__init__(routes=routes, lifespan=lifespan)
        # A redirect would repeat the query, and the query holds the token.
        self.router.redirect_slashes = False

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of the routes."""
        from messagelog.server.openapi.document import build_document  # noqa: PLC0415 - few servers need it

        return build_document(self.operations)

    async def _serve_document(self, _request: Request) -> Response:
        if self._document is None:
            self._document = msgspec.json.encode(self.openapi())
        return Response(self._document, media_type="application/json")


def _route(path: str, handler: Callable[..., Any], method: str) -> Route:
    """Return a route for one method alone: HEAD, which Starlette adds to GET, is answered in front of all routes."""
    route = Route(path, handler, methods=[method])
    route.methods = {method}
    return route
