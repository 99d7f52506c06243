"""A page of another origin in a real browser, with real CORS: from the login to the end of the session."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from support.browser import CHROMIUM, PageFailed, browser_page
from support.live_server import SQLITE_ONLY, live_server, payload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="CORS IS NOT TRIED IN A BROWSER: there is no chromium (as root: apt-get install -y chromium)",
)

PAGE = Path(__file__).parent / "client.html"
SHUT = "Please go to Settings and authorize CRM platform"


@asynccontextmanager
async def another_origin() -> AsyncIterator[str]:
    """The URL of a server that has the client's page, and lets no other origin read anything."""
    app = web.Application()
    app.router.add_get("/client.html", _page)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _page(_request: web.Request) -> web.StreamResponse:
    return web.Response(text=PAGE.read_text("utf-8"), content_type="text/html")


@SQLITE_ONLY
async def test_the_journey_in_a_browser(database_url: str, tmp_path: Path) -> None:
    async with (
        live_server(database_url, tmp_path) as here,
        another_origin() as origin,
        browser_page(tmp_path / "profile") as page,
    ):
        await page.open(f"{origin}/client.html")
        answers = await page.run(f"journey({json.dumps(here.url)}, {json.dumps(payload('01-sms'))})")
        activity = await here.only_activity()
    statuses = {name: answer["status"] for name, answer in answers.items()}
    bodies = {name: answer["body"] for name, answer in answers.items()}
    assert statuses == {
        **dict.fromkeys(("manifest", "hashes", "preload", "notes"), 200),
        "wrong key": 400,
        "wrong key, settings": 400,
        "wrong key, admin": 403,
        "login": 200,
        "login, settings": 200,
        "login, admin": 403,
        **dict.fromkeys(("save", "contact", "search", "calls", "new contact", "log", "log again"), 200),
        "nonsense": 400,
        "before the end": 200,
        "log out": 200,
        "after the end": 401,
    }
    assert bodies["after the end"]["errorCode"] == "CRM_SESSION_REVOKED"

    assert bodies["wrong key"]["returnMessage"]["message"] == "Could not load user information"
    assert bodies["wrong key, settings"] == SHUT
    assert bodies["login"]["name"] == "Ada Lovell"
    assert bodies["save"]["userSettings"]["autoLogSMS"] == {"value": True}
    assert [row["id"] for row in bodies["contact"]["contact"]] == ["c-1", "createNewContact"]
    assert bodies["search"]["contact"][0]["name"] == "Maya Patel"
    assert bodies["calls"]["logs"] == []
    assert bodies["new contact"]["contact"]["name"] == "Nina New"
    assert bodies["log"]["logIds"] == ["6424569001"]
    assert bodies["log again"]["logIds"] == []
    assert bodies["nonsense"] == "logInfo: is missing"
    assert activity["body"].count("Can you send the renewal options?") == 1

    asked = {urlsplit(url).path for url in page.preflights}
    assert {"/apiKeyLogin", "/user/settings", "/contact", "/messageLog", "/unAuthorize"} <= asked


async def test_the_browser_keeps_a_page_from_a_server_without_cors(tmp_path: Path) -> None:
    """Otherwise the test above would show nothing."""
    async with another_origin() as origin, another_origin() as other, browser_page(tmp_path / "p") as page:
        await page.open(f"{origin}/client.html")
        assert await page.run(f"fetch('{origin}/client.html').then(answer => answer.status)") == 200
        with pytest.raises(PageFailed, match="Failed to fetch"):
            await page.run(f"fetch('{other}/client.html').then(answer => answer.status)")
