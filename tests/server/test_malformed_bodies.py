"""Bodies that no client should send: refused with words that name the place, and nothing is kept or sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from messagelog.core.operators.accounts import Role
from messagelog.server.openapi.operations import Access
from support.live_server import CLIENT_HEADERS, SQLITE_ONLY, live_server, payload
from support.openapi_validation import ROUTES
from support.requests import MAYA, body, message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.live_server import LiveServer, Reply

pytestmark = SQLITE_ONLY  # none of these reaches the database

LONG = "9" * 300


def request_with(**changes: Any) -> dict[str, Any]:
    """A good request with some of its keys changed; of `logInfo`, `message` and the rest, by their names."""
    made = body(message(1, "a customer's words"))
    for path, value in changes.items():
        *folders, name = path.split("__")
        place: Any = made
        for folder in folders:
            place = place[int(folder) if folder.isdecimal() else folder]
        if value is ...:
            del place[name]
        else:
            place[name] = value
    return made


async def assert_refused(here: LiveServer, request: Any, path: str) -> Reply:
    """The answer to a request, which must be a text that names `path`, with nothing kept and nothing sent."""
    await here.token()
    calls = len(here.crm.calls)
    reply = await here.log(request)
    assert 400 <= reply.status < 500
    assert isinstance(reply.body, str), "a text is what the client shows"
    assert reply.headers["content-type"] == "application/json"
    assert reply.body.startswith(f"{path}: "), reply.body
    assert "a customer's words" not in reply.body
    assert await here.logs() == []
    assert here.crm.calls[calls:] == []
    return reply


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        (b"", "body"),
        (b"not json", "body"),
        (b"{", "body"),
        (msgspec.json.encode(body(message(1))) + b" and more", "body"),
        (b"\xff\xfe\x00", "body"),
        (b"null", "body"),
        (b"[]", "body"),
        (b'"text"', "body"),
        (b"{}", "logInfo"),
        (b'{"logInfo": null, "contactId": "c-1"}', "logInfo"),
        (b"jwtToken=x&logInfo=y", "body"),
    ],
)
async def test_what_is_not_json_or_no_request(here: LiveServer, sent: bytes, path: str) -> None:
    await assert_refused(here, sent, path)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"logInfo": "text"}, "logInfo"),
        ({"logInfo__messages": {}}, "logInfo.messages"),
        ({"logInfo__messages": ["text"]}, "logInfo.messages[0]"),
        ({"logInfo__messages__0__subject": {"text": "x"}}, "logInfo.messages[0].subject"),
        ({"logInfo__messages__0__creationTime": "yesterday"}, "logInfo.messages[0].creationTime"),
        ({"logInfo__messages__0__creationTime": [1]}, "logInfo.messages[0].creationTime"),
        ({"logInfo__messages__0__attachments": "none"}, "logInfo.messages[0].attachments"),
        ({"logInfo__correspondents": "Maya"}, "logInfo.correspondents"),
        ({"logInfo__self": "me"}, "logInfo.self"),
        ({"contactId": ["c-1"]}, "contactId"),
        ({"contactId": {"id": "c-1"}}, "contactId"),
        ({"contactName": 7}, "contactName"),
        ({"additionalSubmission": "x"}, "additionalSubmission"),
    ],
)
async def test_wrong_types_are_told_with_their_path(
    here: LiveServer, changes: dict[str, Any], path: str
) -> None:
    await assert_refused(here, request_with(**changes), path)


@pytest.mark.parametrize("value", [[], None, ..., [None]])
async def test_no_messages(here: LiveServer, value: Any) -> None:
    """Answered as the reference does, and not by an error: there is nothing wrong with the request."""
    path = f"/messageLog?jwtToken={await here.token()}"
    reply = await here.ask("POST", path, json=request_with(logInfo__messages=value))
    assert (reply.status, reply.body["successful"], reply.body["logIds"]) == (200, False, [])
    assert await here.activities() == []


@pytest.mark.parametrize("value", [[], None, ..., [None]])
async def test_no_correspondents(here: LiveServer, value: Any) -> None:
    await assert_refused(here, request_with(logInfo__correspondents=value), "logInfo.correspondents")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("logInfo.messages[0].id", None),
        ("logInfo.messages[0].id", ...),
        ("logInfo.messages[0].id", LONG),
        ("logInfo.messages[0].id", int(LONG)),
        ("logInfo.messages[0].id", [1]),
        ("logInfo.messages[0].id", {"id": 1}),
        ("logInfo.messages[0].id", ""),
        ("logInfo.messages[0].id", "1\u0000"),
        ("logInfo.messages[0].id", True),
        ("logInfo.messages[0].id", 1.5),
        ("logInfo.conversationId", LONG),
        ("logInfo.conversationId", ["conv"]),
        ("logInfo.conversationLogId", LONG),
        ("logInfo.conversationLogId", ["conv"]),
        ("logInfo.conversationLogId", {"id": "conv"}),
        ("contactId", None),
        ("contactId", ...),
        ("contactId", ""),
        ("contactId", LONG),
    ],
)
async def test_ids_that_are_missing_too_long_or_no_ids(here: LiveServer, path: str, value: Any) -> None:
    place = path.replace("messages[0]", "messages.0").replace(".", "__")
    await assert_refused(here, request_with(**{place: value}), path)


async def test_the_conversation_is_nowhere_named(here: LiveServer) -> None:
    await assert_refused(here, request_with(logInfo__conversationId=None), "logInfo.conversationId")


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
async def test_json_that_is_nested_very_deep(here: LiveServer, opening: bytes) -> None:
    await assert_refused(here, opening * 200_000, "body")
    inner = b'{"contactId": "c-1", "logInfo": {"messages": [], "x": ' + opening * 200_000
    await assert_refused(here, inner, "body")


async def test_a_form_field_that_is_nested_deep(here: LiveServer) -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    await assert_refused(here, request_with(additionalSubmission={"matter": deep}), "additionalSubmission")


async def test_twenty_thousand_messages_in_a_request(here: LiveServer) -> None:
    many = [message(number, "") for number in range(20_000)]
    reply = await assert_refused(here, request_with(logInfo__messages=many), "logInfo.messages")
    assert "at most 1,000" in reply.body


async def test_the_path_names_the_message_that_is_wrong(here: LiveServer) -> None:
    made = body(*[message(number) for number in range(1, 6)])
    made["logInfo"]["messages"][3]["id"] = None
    await assert_refused(here, made, "logInfo.messages[3].id")


# ------------------------------------------------------------------------------------------ too large


@pytest.fixture
async def small(database_url: str, tmp_path: Path) -> AsyncIterator[LiveServer]:
    """A server that takes bodies of up to 3,000 bytes."""
    async with live_server(database_url, tmp_path, body_limit=3_000) as running:
        yield running


async def test_a_body_over_the_limit_with_its_length_given(small: LiveServer) -> None:
    reply = await assert_refused(small, msgspec.json.encode(body(message(1, "x" * 3_000))), "body")
    assert reply.status == 413
    assert "at most 3,000 bytes" in reply.body


async def test_a_body_over_the_limit_in_chunks(small: LiveServer) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1_000

    path = f"/messageLog?jwtToken={await small.token()}"
    reply = await small.ask("POST", path, data=chunks())
    assert reply.status == 413
    assert "at most 3,000 bytes" in reply.body
    assert await small.logs() == []


async def test_a_body_within_the_limit_in_chunks(small: LiveServer) -> None:
    sent = msgspec.json.encode(body(message(1, "in pieces")))

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(sent), 100):
            yield sent[at : at + 100]

    reply = await small.ask("POST", f"/messageLog?jwtToken={await small.token()}", data=chunks())
    assert reply.body["logIds"] == ["1"]


async def test_a_length_that_is_a_lie_is_refused_as_too_large(small: LiveServer) -> None:
    """Of a body that says to be huge nothing is awaited."""
    head = {**CLIENT_HEADERS, "content-length": "50000000", "host": "127.0.0.1", "expect": "100-continue"}
    lines = [f"POST /messageLog?jwtToken={await small.token()} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in head.items()]
    answer = await raw(small, ("\r\n".join(lines) + "\r\n\r\n").encode())
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_what_follows_a_request_on_its_connection_does_no_harm(here: LiveServer) -> None:
    sent = msgspec.json.encode(body(message(1, "before the junk")))
    head = (
        f"POST /messageLog?jwtToken={await here.token()} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(sent)}"
    )
    answer = await raw(here, head.encode() + b"\r\n\r\n" + sent + b"\x00junk\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))
    reply = await here.log(body(message(1, "before the junk")))
    assert reply.body["successful"] is True
    assert (await here.only_activity())["body"].count("before the junk") == 1


async def raw(here: LiveServer, sent: bytes) -> bytes:
    """The first bytes of the answer to bytes on a connection of their own."""
    port = int(here.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        await writer.drain()
        return await asyncio.wait_for(reader.read(1_000), timeout=5)
    finally:
        writer.close()
        await writer.wait_closed()


# ------------------------------------------------------------------------------------------ is-debug


async def test_is_debug_from_a_stranger_does_nothing(here: LiveServer) -> None:
    debug = {"is-debug": "true"}
    plain = await here.ask("POST", "/messageLog", json=payload("01-sms"))
    debugged = await here.ask("POST", "/messageLog", json=payload("01-sms"), headers=debug)
    assert (debugged.status, debugged.raw) == (plain.status, plain.raw)

    path = f"/messageLog?jwtToken={await here.token()}"
    good = await here.ask("POST", path, json=payload("01-sms"), headers=debug)
    assert set(good.body) == {"successful", "logIds", "returnMessage"}
    bad = await here.ask("POST", path, json={"logInfo": {"correspondents": [MAYA]}}, headers=debug)
    assert isinstance(bad.body, str)
    assert "Traceback" not in bad.body
    assert ".py" not in bad.body


@pytest.mark.parametrize("route", sorted(route for route in ROUTES if not route.startswith("GET ")))
@pytest.mark.parametrize("told", [True, False])
async def test_no_route_reads_a_body_without_end(
    database_url: str, tmp_path: Path, route: str, told: bool
) -> None:
    """With its length told before, and in chunks; those that want no body read none."""
    method, _, path = route.partition(" ")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 50_000

    async with live_server(database_url, tmp_path, body_limit=100_000) as here:
        sent = b" " * 150_000 if told else chunks()
        headers = await here.operator("grace", *Role) if ROUTES[route].access is Access.OPERATOR else {}
        reply = await here.ask(method, f"{path}?jwtToken={await here.token()}", data=sent, headers=headers)
    if ROUTES[route].body is None:
        assert reply.status in {200, 403, 404}
    else:
        assert (reply.status, reply.body) == (413, "body: expected at most 100,000 bytes")
