"""A real browser: Debian's Chromium without a window, spoken to over its DevTools protocol.

What drives browsers usually brings one along; this one is there already, and aiohttp speaks websockets.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium")

_LISTENS = re.compile(rb"DevTools listening on (ws://127\.0\.0\.1:\S+)")
_SECONDS = 30.0


class PageFailed(Exception):
    """The page's script threw an error, which is the text."""


class Page:
    """A page that is open in a browser.

    `preflights` are the URLs that the browser asked about with OPTIONS, `asked` all that it asked for, and `complaints`
    what its console says of errors and of what the page's policy forbids.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.preflights: list[str] = []
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self._socket = socket
        self._session = ""
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()

    async def open(self, url: str) -> None:
        """Goes to a URL, and waits until the page is there."""
        target = await self._send("Target.createTarget", {"url": "about:blank"})
        attached = await self._send(
            "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True}
        )
        self._session = attached["sessionId"]
        await self._send("Page.enable")
        await self._send("Network.enable")
        await self._send("Log.enable")
        self._loaded.clear()
        await self._send("Page.navigate", {"url": url})
        async with asyncio.timeout(_SECONDS):
            await self._loaded.wait()

    async def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, once its promise is kept. Raises `PageFailed`."""
        told = await self._send(
            "Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True}
        )
        if "exceptionDetails" in told:
            raise PageFailed(told["exceptionDetails"].get("exception", {}).get("description", "no words"))
        return told["result"].get("value")

    async def listen(self) -> None:
        """Hands out what the browser says, until it says no more."""
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            elif said["method"] == "Page.loadEventFired":
                self._loaded.set()
            elif said["method"] == "Network.requestWillBeSent":
                request = said["params"]["request"]
                self.asked.append(request["url"])
                if request["method"] == "OPTIONS":
                    self.preflights.append(request["url"])
            elif said["method"] == "Log.entryAdded":
                self.complaints.append(said["params"]["entry"]["text"])

    async def _send(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        number = next(self._numbers)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        session = {"sessionId": self._session} if self._session else {}
        await self._socket.send_json({"id": number, "method": method, "params": params or {}, **session})
        async with asyncio.timeout(_SECONDS):
            said = await answer
        if "error" in said:
            raise PageFailed(f"{method}: {said['error']['message']}")
        result: dict[str, Any] = said["result"]
        return result


@asynccontextmanager
async def browser_page(folder: Path) -> AsyncIterator[Page]:
    """A page in a browser of its own, whose profile is in `folder`. The browser is ended at the end, by its id."""
    assert CHROMIUM is not None, "whoever has no browser skips the test"
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        "--headless=new",
        "--no-sandbox",  # it cannot be had as root, and it is our own page that is shown
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--remote-debugging-address=127.0.0.1",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # so that its own processes can be ended with it
    )
    draining: asyncio.Task[None] | None = None
    try:
        assert process.stderr is not None
        async with asyncio.timeout(_SECONDS):
            url = await _devtools(process.stderr)
        draining = asyncio.create_task(_drain(process.stderr))
        async with aiohttp.ClientSession() as client, client.ws_connect(url, max_msg_size=0) as socket:
            page = Page(socket)
            listening = asyncio.create_task(page.listen())
            try:
                yield page
            finally:
                listening.cancel()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if draining is not None:
            await draining


async def _devtools(output: asyncio.StreamReader) -> str:
    """Where the browser listens, as it says at its start."""
    told = b""
    while line := await output.readline():
        told += line
        if found := _LISTENS.search(line):
            return found[1].decode()
    raise PageFailed(f"the browser ended: {told[-2000:].decode(errors='replace')}")


async def _drain(output: asyncio.StreamReader) -> None:
    """Reads what the browser goes on to say: with a full pipe it would wait."""
    while await output.read(65_536):
        pass
