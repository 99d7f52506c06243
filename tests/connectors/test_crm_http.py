"""`session.http`: what a status, a broken connection and a wait mean for what is to be done next."""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from messagelog.connectors import (
    AuthExpired,
    ConnectorError,
    CrmHttp,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from messagelog.connectors.errors import SignInRenewed
from messagelog.connectors.http import retry_after_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def crm(handler: Handler, *, call_timeout: float = 5.0, **more: Any) -> AsyncIterator[CrmHttp]:
    """A connection to a CRM that answers every request with `handler`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    server = TestServer(app)
    await server.start_server()
    try:
        async with aiohttp.ClientSession() as client:
            headers = {"Authorization": "Bearer key"}
            url = f"{server.make_url('/api')}/"
            yield CrmHttp(client, url, headers=headers, call_timeout=call_timeout, **more)
    finally:
        await server.close()


def answering(status: int, text: str = "{}", **headers: str) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers=headers)

    return handler


@pytest.mark.parametrize(
    ("status", "read", "write"),
    [
        (300, Rejected, OutcomeUnknown),
        (301, Rejected, OutcomeUnknown),
        (302, Rejected, OutcomeUnknown),
        (303, Rejected, OutcomeUnknown),
        (304, Rejected, OutcomeUnknown),
        (307, Rejected, Rejected),
        (308, Rejected, Rejected),
        (400, Rejected, Rejected),
        (401, AuthExpired, AuthExpired),
        (403, Rejected, Rejected),
        (404, NotFound, NotFound),
        (408, Unavailable, OutcomeUnknown),
        (409, Rejected, Rejected),
        (410, NotFound, NotFound),
        (422, Rejected, Rejected),
        (429, RateLimited, RateLimited),
        (500, Unavailable, OutcomeUnknown),
        (502, Unavailable, OutcomeUnknown),
        (503, Unavailable, OutcomeUnknown),
        (504, Unavailable, OutcomeUnknown),
    ],
)
async def test_a_status_is_an_error_that_says_what_to_do(
    status: int, read: type[ConnectorError], write: type[ConnectorError]
) -> None:
    async with crm(answering(status, "a customer's words")) as http:
        for call, kind in (
            (http.get("/x"), read),
            (http.post("/x", json={}), write),
            (http.delete("/x"), write),
            (http.post("/search", json={}, reads=True), read),
            (http.put("/query", json={}, reads=True), read),
            (http.request("SEARCH", "/x", reads=True), read),
            (http.request("GET", "/x/delete", reads=False), write),
        ):
            with pytest.raises(ConnectorError) as raised:
                await call
            assert type(raised.value) is kind
            assert raised.value.status == status
            assert raised.value.detail == f"HTTP {status}"
            assert "customer" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "text", "value"), [(200, '{"id": 1}', {"id": 1}), (201, "[]", []), (204, "", None)]
)
async def test_a_good_answer_is_its_json_or_nothing(status: int, text: str, value: Any) -> None:
    async with crm(answering(status, text)) as http:
        assert await http.get("/x") == value
        assert await http.put("/x", json={}) == value


async def test_a_good_status_without_json_tells_nothing() -> None:
    async with crm(answering(200, "<html>Please sign in</html>")) as http:
        with pytest.raises(Unavailable, match="HTTP 200 without JSON"):
            await http.get("/x")
        with pytest.raises(Unavailable, match="HTTP 200 without JSON"):
            await http.post("/search", json={}, reads=True)
        with pytest.raises(OutcomeUnknown, match="HTTP 200 without JSON"):
            await http.patch("/x", json={})


@pytest.mark.parametrize("text", ["[" * 100_000, '"\\ud800"', "[1"])
async def test_an_answer_that_cannot_be_decoded_tells_nothing(text: str) -> None:
    async with crm(answering(200, text)) as http:
        with pytest.raises(Unavailable, match="without JSON"):
            await http.get("/x")
        with pytest.raises(OutcomeUnknown, match="without JSON"):
            await http.post("/x", json={})


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("status", [200, 401, 500])
async def test_an_answer_without_end_is_not_read_on(status: int, packed: bool) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(status=status)
        if packed:
            answer.enable_compression(web.ContentCoding.gzip)
        await answer.prepare(request)
        with suppress(ConnectionError):
            while True:
                await answer.write(b" " * 10_000)
        return answer

    async with crm(endless, longest=100_000) as http:
        with pytest.raises(Unavailable, match="longer than 100,000 bytes"):
            await http.get("/x")
        with pytest.raises(OutcomeUnknown, match="longer than 100,000 bytes"):
            await http.post("/x", json={})


async def test_the_longest_answer_is_read_and_no_longer_one() -> None:
    async with crm(answering(200, '"' + "x" * 98 + '"'), longest=100) as http:
        assert await http.get("/x") == "x" * 98
    async with crm(answering(200, '"' + "x" * 99 + '"'), longest=100) as http:
        with pytest.raises(Unavailable, match="longer than 100 bytes"):
            await http.get("/x")


async def test_a_connection_that_breaks_before_the_answer() -> None:
    async def drop(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with crm(drop) as http:
        with pytest.raises(Unavailable):
            await http.get("/x")
        with pytest.raises(Unavailable):
            await http.post("/search", json={}, reads=True)
        with pytest.raises(OutcomeUnknown):
            await http.post("/x", json={})


async def test_a_crm_that_takes_too_long() -> None:
    async def sleep(_: web.Request) -> web.Response:
        await asyncio.sleep(0.5)
        return web.Response()

    async with crm(sleep, call_timeout=0.05) as http:
        with pytest.raises(Unavailable):
            await http.get("/x")
        with pytest.raises(Unavailable):
            await http.post("/search", json={}, reads=True)
        with pytest.raises(OutcomeUnknown):
            await http.post("/x", json={})


async def test_a_crm_that_is_not_there_has_done_nothing() -> None:
    async with aiohttp.ClientSession() as client:
        http = CrmHttp(client, "http://127.0.0.1:9")
        for call in (http.get("/x"), http.post("/x", json={})):
            with pytest.raises(Unavailable, match="no connection"):
                await call


async def test_what_is_sent() -> None:
    seen: list[tuple[str, str, str | None, bytes]] = []

    async def note(request: web.Request) -> web.Response:
        body = await request.read()
        seen.append((request.method, request.path_qs, request.headers.get("Authorization"), body))
        return web.Response(text="{}")

    async with crm(note) as http:
        await http.get("/contacts", params={"phone": "+1 415 & more"})
        await http.post("/contacts", json={"name": "Förster"})
    assert seen == [
        ("GET", "/api/contacts?phone=%2B1+415+%26+more", "Bearer key", b""),
        ("POST", "/api/contacts", "Bearer key", '{"name":"Förster"}'.encode()),
    ]


async def test_how_long_to_wait_is_passed_on() -> None:
    async with crm(answering(429, **{"Retry-After": "7"})) as http:
        with pytest.raises(RateLimited) as raised:
            await http.post("/x", json={})
        assert raised.value.retry_after == 7.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 5 ", 5.0),
        ("0.5", 0.5),
        ("-1", None),
        ("1e9", None),
        ("nan", None),
        ("inf", None),
        ("9" * 200, 86_400.0),
        ("9" * 5000, None),
        ("99999999999", 86_400.0),
        ("\u0661\u0662\u0660", None),
        ("\u00b2", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("Sat, 01 Jan 0001 00:00:00 +2359", 0.0),
        ("soon", None),
        ("", None),
        ("Wed, 22 Jul 2026 08:00:30 GMT", 30.0),
        ("Wed, 22 Jul 2026 07:00:00 GMT", 0.0),
        ("Wed, 22 Jul 2026 08:00:30 -0000", 30.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    now = dt.datetime(2026, 7, 22, 8, tzinfo=dt.UTC)
    assert retry_after_seconds(header, now=now) == seconds


# ------------------------------------------------------------------------------------- renewed credentials


def opening(key: str, seen: list[tuple[str, str]]) -> Handler:
    """A CRM that takes one key, and notes which came, with the body."""

    async def handler(request: web.Request) -> web.Response:
        shown = request.headers["Authorization"].removeprefix("Bearer ")
        seen.append((shown, await request.text()))
        return web.Response(status=200 if shown == key else 401, text="{}")

    return handler


def renewing(*keys: str) -> Callable[[], Awaitable[dict[str, str]]]:
    """Gives these keys, one after the other; then there are no more."""
    waiting = list(keys)

    async def renewed() -> dict[str, str]:
        if not waiting:
            raise AuthExpired("signed out")
        return {"Authorization": f"Bearer {waiting.pop(0)}"}

    return renewed


async def test_a_refused_read_is_sent_again_with_renewed_credentials() -> None:
    seen: list[tuple[str, str]] = []
    async with crm(opening("new", seen), renewed=renewing("new")) as http:
        assert await http.post("/search", json={"a": 1}, reads=True) == {}
        assert seen == [("key", '{"a":1}'), ("new", '{"a":1}')]
        await http.get("/me")
        assert seen[2:] == [("new", "")], "and what follows goes out with them"


async def test_a_refused_write_is_not_sent_again_but_what_follows_goes_out_renewed() -> None:
    """A gateway may have refused what the CRM had done."""
    seen: list[tuple[str, str]] = []
    async with crm(opening("new", seen), renewed=renewing("new")) as http:
        with pytest.raises(SignInRenewed) as raised:
            await http.post("/activities", json={"a": 1})
        assert raised.value.status == 401
        assert isinstance(raised.value, AuthExpired), "for a connector that catches it"
        assert seen == [("key", '{"a":1}')]
        assert await http.post("/activities", json={"a": 1}) == {}
        assert seen[1:] == [("new", '{"a":1}')]


async def test_a_request_is_sent_again_once() -> None:
    seen: list[tuple[str, str]] = []
    async with crm(opening("none", seen), renewed=renewing("second", "third")) as http:
        with pytest.raises(AuthExpired):
            await http.get("/me")
        assert [key for key, _ in seen] == ["key", "second"]


async def test_requests_that_were_refused_together_share_what_was_renewed() -> None:
    seen: list[tuple[str, str]] = []
    async with crm(opening("new", seen), renewed=renewing("new", "newer")) as http:
        await asyncio.gather(*(http.get("/me") for _ in range(5)))
        assert {key for key, _ in seen} == {"key", "new"}


async def test_a_user_whose_credentials_cannot_be_renewed_has_to_sign_in() -> None:
    seen: list[tuple[str, str]] = []
    async with crm(opening("new", seen), renewed=renewing()) as http:
        with pytest.raises(AuthExpired, match="signed out"):
            await http.post("/activities", json={})
        assert len(seen) == 1


async def test_a_stream_is_not_sent_twice_but_what_follows_is_sent_with_renewed_credentials() -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"bytes"

    seen: list[tuple[str, str]] = []
    async with crm(opening("new", seen), renewed=renewing("new")) as http:
        with pytest.raises(Unavailable, match="stream"):
            await http.request("POST", "/search", data=stream(), reads=True)
        await http.request("POST", "/attachments", data=b"bytes")
        assert seen == [("key", "bytes"), ("new", "bytes")]
