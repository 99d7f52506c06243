"""The client's token stands in the query of every URL, and in no line that is logged, printed or answered."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
import structlog
from uvicorn.logging import TRACE_LOG_LEVEL

from storage.journal import run_sql
from support.live_server import SQLITE_ONLY, live_server
from support.openapi_validation import ROUTES

if TYPE_CHECKING:
    from pathlib import Path

    from support.live_server import LiveServer

pytestmark = SQLITE_ONLY


async def every_route(here: LiveServer, token: str) -> str:
    """Asks every route in every way that a token may come, with bodies that are wrong too; what was answered."""
    told = []
    wrong = f"{token[:-4]}AAAA"
    for route in ROUTES:
        method, path = route.split()
        if path == "/unAuthorize":
            continue
        for sent in (token, wrong):
            query = f"?phoneNumber=+14155550142&platform=demo&platformName=demo&jwtToken={sent}"
            for body in (None, b'{"logInfo": 7}', b"\xff"):
                reply = await here.ask(method, path + query, data=body)
                told.append(repr((reply.raw, dict(reply.headers))))
        bearer = {"authorization": f"Bearer {wrong}"}
        told.append(repr((await here.ask(method, f"{path}?jwtToken={token}", headers=bearer)).raw))
    for path in (f"/nowhere?jwtToken={token}", f"/?jwtToken={token}", f"/messageLog/?jwtToken={token}"):
        told += [repr((await here.ask(method, path)).raw) for method in ("GET", "POST", "DELETE")]
    told += [repr((await here.ask("POST", f"/unAuthorize?jwtToken={token}")).raw) for _ in range(2)]
    return "".join(told)


async def cut_off(here: LiveServer, token: str) -> None:
    """Requests that end early, and one that is no HTTP."""
    port = int(here.url.rpartition(":")[2])
    for lines in (
        f"POST /messageLog?jwtToken={token} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{{",
        f"GET /contact?jwtToken={token} HTTP/9\r\n\r\n",
        f"GET /contact?jwtToken={token}\x01 HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n",
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(lines.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("level", [logging.DEBUG, TRACE_LOG_LEVEL], ids=["debug", "trace"])
async def test_no_token_is_ever_told(
    database_url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    level: int,
) -> None:
    caplog.set_level(level)
    with structlog.testing.capture_logs() as events:
        async with live_server(database_url, tmp_path) as here:
            token = await here.token()
            answered = await every_route(here, token)
            await cut_off(here, token)
            await here.context.runtime.stop()
            run_sql(database_url, 'DROP TABLE "users"')
            failed = await here.ask("GET", f"/user/settings?jwtToken={token}")
            assert failed.status == 500, "nobody has foreseen this"
            answered += repr(failed.raw)
    told = {
        "logging": caplog.text,
        "structlog": repr(events),
        "printed": "".join(capfd.readouterr()),
        "answered": answered,
    }
    for where, text in told.items():
        for secret in (token, token.rpartition(".")[2], token.split(".")[1]):
            assert secret not in text, f"in what was {where}"
    assert caplog.records, "libraries spoke at all"
