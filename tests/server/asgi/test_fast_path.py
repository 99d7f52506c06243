"""A route in front of all layers: however its function ends, there is one answer, or none if the client has gone."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import ClientDisconnect

from messagelog.server.asgi.cors import CorsHeaders
from messagelog.server.asgi.fast_path import FastPathApp
from messagelog.server.requests import RENEWED_TOKEN, RESTARTING, json_response

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Message


class Lost(Exception):
    """The connection broke, in the middle of an answer."""


async def run_route(ending: BaseException | None, *, sent_whole: bool = True) -> list[Message]:
    """What is sent by a route that renews the token and then ends so; without an error it answers."""
    sent: list[Message] = []

    async def fast_path(request: Request) -> Response:
        request.scope[RENEWED_TOKEN] = "new-token"
        if ending is not None:
            raise ending
        return json_response({"successful": True})

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)
        if not sent_whole:
            raise Lost("SECRET")

    app = FastPathApp([], None, fast_path={("POST", "/hot"): fast_path}, cors=CorsHeaders(["*"]))
    head = [(b"origin", b"chrome-extension://abc")]
    await app({"type": "http", "method": "POST", "path": "/hot", "headers": head}, receive, send)
    return sent


@pytest.mark.parametrize(
    ("ending", "status", "told"),
    [
        (None, 200, {"successful": True}),
        (KeyError("SECRET"), 500, "The server could not do this now. What was accepted before is kept."),
        (asyncio.CancelledError(), 503, RESTARTING),
    ],
)
async def test_each_end_has_its_answer(
    ending: BaseException | None, status: int, told: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    start, body = await run_route(ending)
    assert (start["status"], json.loads(body["body"])) == (status, told)
    headers = dict(start["headers"])
    assert headers[b"x-refreshed-jwt-token"] == b"new-token"
    assert headers[b"access-control-allow-origin"] == b"*"
    assert headers[b"content-length"] == str(len(body["body"])).encode()
    assert "SECRET" not in str(capsys.readouterr())


async def test_who_has_left_is_sent_nothing() -> None:
    assert await run_route(ClientDisconnect()) == []


async def test_an_answer_that_breaks_off_is_not_followed_by_another() -> None:
    (start,) = await run_route(None, sent_whole=False)
    assert start["status"] == 200


async def test_other_methods_and_paths_are_the_frameworks() -> None:
    sent: list[Message] = []

    async def fast_path(_request: Request) -> Response:
        raise AssertionError

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    app = FastPathApp([], None, fast_path={("POST", "/hot"): fast_path}, cors=CorsHeaders(["*"]))
    for method, path in (("GET", "/hot"), ("POST", "/hot/"), ("POST", "/")):
        await app({"type": "http", "method": method, "path": path, "headers": []}, receive, send)
    assert [message["status"] for message in sent if "status" in message] == [404, 404, 404]
