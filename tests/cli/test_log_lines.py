"""Each line of a server's log is one JSON object, from every library, and for any input."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from support.cli_process import command, running
from support.external_user import request

if TYPE_CHECKING:
    from pathlib import Path

STRANGE = (
    b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    b"CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    b"\x00" * 100,
    b"GET\r\n\r\n",
    b"GET http:// HTTP/1.1\r\n\r\n",
    b"GET //\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%00%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
    b"POST /messageLog HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"POST /messageLog HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: \xff\xfe\x00\r\n\r\n",
)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log, which must all be objects."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        assert {"event", "level", "timestamp"} <= line.keys(), line
    return lines


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Return the settings of a server with a database of its own and a CRM that is not there."""
    env = {
        "MESSAGELOG_DATABASE_URL": f"sqlite:///{folder / 'messagelog.sqlite'}",
        "MESSAGELOG_SECRET_KEY": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "MESSAGELOG_PUBLIC_URL": "https://log.example.com",
        "MESSAGELOG_CONNECTORS": "demo",
        "MESSAGELOG_DEMO_CRM_URL": "http://127.0.0.1:9/api",
        "MESSAGELOG_PORT": "0",
        **settings,
    }
    assert command("migrate", env=env).code == 0
    return env


async def send(port: int, sent: bytes) -> None:
    """Send bytes and read until the server closes, or has said nothing for a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(0.2):
                await reader.read()
    finally:
        writer.close()


async def test_strangers_make_no_traceback_and_every_line_is_an_object(tmp_path: Path) -> None:
    env = await asyncio.to_thread(environment, tmp_path, MESSAGELOG_ACCESS_LOG="true")
    with running(tmp_path, "serve", env=env) as server:
        url = f"http://{(await server.wait_for_output('messagelog serves demo at ')).split()[-1]}"
        port = int(url.rpartition(":")[2])
        await asyncio.gather(*(send(port, each) for each in STRANGE))
        login = {"platform": "demo", "apiKey": "a-key-that-no-line-may-hold"}
        assert (await request("POST", f"{url}/apiKeyLogin", login, {})).status == 400
        answer = await request(
            "GET", f"{url}/serverVersionInfo?jwtToken=tell-nobody", None, {"x-request-id": "from-the-proxy"}
        )
        assert answer.headers["x-request-id"] == "from-the-proxy"
        assert await server.end(signal.SIGTERM) == -signal.SIGTERM
    text = server.err.read_text()
    for secret in ("a-key-that-no-line-may-hold", "tell-nobody", "Traceback"):
        assert secret not in text
    lines = lines_of(server.err)
    (alive,) = [line for line in lines if line.get("path") == "/serverVersionInfo"]
    assert (alive["event"], alive["request_id"], alive["status"]) == ("answered", "from-the-proxy", 200)
    (failed,) = [line for line in lines if line["event"] == "login_failed"]
    (answered,) = [line for line in lines if line.get("path") == "/apiKeyLogin"]
    assert (failed["platform"], failed["outcome"]) == ("demo", "unavailable")
    assert failed["request_id"] == answered["request_id"]


async def test_without_the_setting_there_is_no_access_log(tmp_path: Path) -> None:
    env = await asyncio.to_thread(environment, tmp_path)
    with running(tmp_path, "serve", env=env) as server:
        url = f"http://{(await server.wait_for_output('messagelog serves demo at ')).split()[-1]}"
        answer = await request("GET", f"{url}/serverVersionInfo", None, {"x-request-id": "two words"})
        assert len(answer.headers["x-request-id"]) == 24, "an id that cannot be one is not kept"
        assert await server.end(signal.SIGTERM) == -signal.SIGTERM
    assert [line for line in lines_of(server.err) if line["event"] == "answered"] == []


SCRIPT = """
import asyncio, logging, sys, warnings
from messagelog.log_lines import configure_log, report_crashes
configure_log()
report_crashes()
logging.getLogger("uvicorn.error").warning("Invalid HTTP request received: %s", "SECRET")
logging.getLogger("aiohttp").warning({"SECRET": 1})
try:
    raise ValueError("SECRET")
except ValueError:
    logging.getLogger("psycopg.pool").exception("it failed\\nfuture: SECRET")
warnings.warn("a library is old")

async def lose():
    asyncio.get_running_loop().create_future().set_exception(ValueError("SECRET"))

asyncio.run(lose())
import gc; gc.collect()
raise RuntimeError("SECRET")
"""


@pytest.mark.parametrize("warnings", ["default"])
def test_libraries_and_the_end_of_the_process_speak_in_lines_too(warnings: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", warnings, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "SECRET" not in done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    told = {line.get("logger"): line for line in lines}
    assert told["uvicorn.error"]["message"] == "Invalid HTTP request received: %s"
    assert told["aiohttp"]["message"] == "dict"
    assert (told["psycopg.pool"]["message"], told["psycopg.pool"]["error"]) == ("it failed", "ValueError")
    assert told["asyncio"]["message"] == "Future exception was never retrieved"
    assert "py.warnings" in told
    assert (lines[-1]["event"], lines[-1]["error"]) == ("crashed", "RuntimeError")


def test_a_library_is_heard_from_warnings_on() -> None:
    assert logging.getLogger("uvicorn.error").getEffectiveLevel() >= logging.INFO
