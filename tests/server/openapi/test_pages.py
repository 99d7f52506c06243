"""The page that shows the description of the API: it loads nothing from elsewhere, and may not."""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

import pytest

from messagelog.server import create_app
from messagelog.server.context import ServerConfig
from messagelog.server.openapi.pages import FILES, SWAGGER_UI, documentation_pages
from support.live_server import SQLITE_ONLY

if TYPE_CHECKING:
    from support.live_server import LiveServer

OF_THE_PACKAGE: Final = {
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
    "swagger-ui-bundle.js.LICENSE.txt": "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
}
"""SHA-256 of the files of swagger-ui-dist 5.35.0, as npm gives them out."""
OURS: Final = {"index.html", "start.js"}
ELSEWHERE = re.compile(rb"(?:https?:)?//[A-Za-z0-9\[]")


class Loads(HTMLParser):
    """What a page loads and leads to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            value or "" for name, value in attrs if name in {"src", "href", "action", "srcset", "data"}
        ]
        assert not [name for name, _ in attrs if name == "style" or name.startswith("on")]
        assert tag not in {"style", "base", "iframe", "object", "embed", "form"}

    def handle_data(self, data: str) -> None:
        self.inline += data if self.get_starttag_text() == "<script>" else ""


def test_the_files_are_those_of_the_package_with_its_licence() -> None:
    assert SWAGGER_UI == "5.35.0"
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FILES.iterdir()}
    assert found.keys() == OF_THE_PACKAGE.keys() | OURS
    assert found.items() >= OF_THE_PACKAGE.items()


def test_the_page_names_no_other_host() -> None:
    page = Loads()
    page.feed((FILES / "index.html").read_text("utf-8"))
    served = documentation_pages().keys() | {"/openapi.json"}
    assert {urljoin("/docs", each) for each in page.found} <= served | {"data:,"}
    assert page.inline.strip() == ""
    for name in OURS:
        assert ELSEWHERE.search((FILES / name).read_bytes()) is None, name
    loaded = re.findall(rb"url\(\s*[\"']?([^\"')]{0,5})|@import", (FILES / "swagger-ui.css").read_bytes())
    assert set(loaded) == {b"data:"}


@SQLITE_ONLY
async def test_the_browser_is_told_to_ask_no_other_host(here: LiveServer) -> None:
    for path in documentation_pages():
        reply = await here.ask("GET", path)
        assert reply.status == 200
        policy = dict(
            each.strip().split(" ", 1) for each in reply.headers["Content-Security-Policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        allowed = {source for sources in policy.values() for source in sources.split()}
        assert allowed == {"'none'", "'self'", "data:"}, (
            "no other host, and nothing that stands in the page itself"
        )
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert (await here.ask("GET", "/docs")).headers["Content-Type"] == "text/html; charset=utf-8"
    assert (await here.ask("GET", "/docs/start.js")).headers["Content-Type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "path", ["/redoc", "/docs/", "/docs/oauth2-redirect", "/docs/LICENSE", "/docs/..%2f..%2fapp.py"]
)
@SQLITE_ONLY
async def test_nothing_else_is_there(here: LiveServer, path: str) -> None:
    assert (await here.ask("GET", path)).status == 404


@SQLITE_ONLY
async def test_cors_is_what_it_is_everywhere(here: LiveServer) -> None:
    origin = {"Origin": "https://page.example"}
    replies = [await here.ask("GET", path, headers=origin) for path in ("/docs", "/openapi.json", "/isAlive")]
    assert {reply.headers["Access-Control-Allow-Origin"] for reply in replies} == {"*"}


def test_the_page_is_no_part_of_the_description() -> None:
    app = create_app(ServerConfig(database_url="", secret_key="", connectors={}, public_url=""))
    assert not [path for path in app.openapi()["paths"] if path.startswith(("/docs", "/openapi"))]
