"""`/docs`: a page that shows the description of the API. It loads nothing from other hosts.

The page is Swagger UI: unchanged files of the npm package `swagger-ui-dist`, and `index.html` and `start.js`, which are
ours. The page's policy does not let the browser send a request to another host.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.responses import FileResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

SWAGGER_UI: Final = "5.35.0"
"""The version of the package that the files are from."""

FILES: Final = Path(__file__).with_name("swagger_ui")

_TYPES: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "start.js": "text/javascript",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; "  # its icons are in its style sheet
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def documentation_pages() -> dict[str, Callable[[Request], Awaitable[Response]]]:
    """Return the handlers of the page and of each file that it loads, by path."""
    return {
        "/docs": _file("index.html", "text/html"),
        **{f"/docs/{name}": _file(name, type_) for name, type_ in _TYPES.items()},
    }


def _file(name: str, type_: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        return FileResponse(FILES / name, headers=_HEADERS, media_type=type_)

    return answer
