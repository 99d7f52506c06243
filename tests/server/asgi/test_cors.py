"""The client is a browser extension without host permissions: every answer needs CORS headers, errors too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.responses import Response

from messagelog.server.asgi.cors import Cors, CorsHeaders, is_origin
from support.live_server import ADA, SQLITE_ONLY, FastDemoConnector, live_server
from support.requests import body, message

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Message

    from support.live_server import LiveServer, Reply

ORIGIN = {"origin": "chrome-extension://abcdefghijklmnopabcdefghijklmnop"}
CLIENTS = "content-type,developer-author-name,rc-account-id,rc-extension-id"
PATHS = [
    "/messageLog",
    "/contact",
    "/apiKeyLogin",
    "/crmManifest",
    "/isAlive",
    "/user/settings",
    "/",
    "/no/such/path",
]


def assert_readable(reply: Reply) -> None:
    """Whether a browser lets the extension read this answer."""
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["access-control-expose-headers"] == "x-refreshed-jwt-token, x-request-id"


@SQLITE_ONLY
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "PUT", "DELETE"])
async def test_a_preflight_is_granted_on_every_path(here: LiveServer, path: str, method: str) -> None:
    asked = {"access-control-request-method": method, "access-control-request-headers": CLIENTS}
    reply = await here.ask("OPTIONS", path, headers={**ORIGIN, **asked})
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["access-control-allow-headers"] == CLIENTS
    assert method in reply.headers["access-control-allow-methods"].split(", ")


@SQLITE_ONLY
async def test_a_preflight_to_a_private_network_is_granted(here: LiveServer) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-private-network": "true"}
    reply = await here.ask("OPTIONS", "/messageLog", headers={**ORIGIN, **asked})
    assert reply.status == 200
    assert reply.headers["access-control-allow-private-network"] == "true"


@SQLITE_ONLY
@pytest.mark.parametrize("path", PATHS)
async def test_options_without_an_origin_is_no_error(here: LiveServer, path: str) -> None:
    reply = await here.ask("OPTIONS", path)
    assert reply.status == 204
    assert "POST" in reply.headers["allow"]


@SQLITE_ONLY
async def test_options_with_an_origin_that_is_no_preflight(here: LiveServer) -> None:
    reply = await here.ask("OPTIONS", "/messageLog", headers=ORIGIN)
    assert reply.status == 204
    assert_readable(reply)


@SQLITE_ONLY
async def test_good_answers_and_refusals_can_be_read(here: LiveServer) -> None:
    path = f"/messageLog?jwtToken={await here.token()}"
    good = await here.ask("POST", path, json=body(message(1)), headers=ORIGIN)
    wrong = await here.ask("POST", path, data=b"{", headers=ORIGIN)
    nobody = await here.ask("POST", "/messageLog", json={}, headers=ORIGIN)
    login = await here.ask("POST", "/apiKeyLogin", json={"apiKey": "x", "platform": "demo"}, headers=ORIGIN)
    assert [reply.status for reply in (good, wrong, nobody, login)] == [200, 400, 400, 400]
    for reply in (good, wrong, nobody, login):
        assert_readable(reply)


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/no/such/path", 404, "Not Found"),
        ("POST", "/no/such/path", 404, "Not Found"),
        ("GET", "/messageLog/", 404, "Not Found"),
        ("GET", "/messageLog", 405, "Method Not Allowed"),
        ("DELETE", "/contact", 405, "Method Not Allowed"),
    ],
)
async def test_what_is_not_there_is_a_text_that_can_be_read(
    here: LiveServer, method: str, path: str, status: int, text: str
) -> None:
    reply = await here.ask(method, f"{path}?jwtToken={await here.token()}", headers=ORIGIN)
    assert (reply.status, reply.body) == (status, text)
    assert_readable(reply)
    assert "location" not in reply.headers, "a redirect would repeat the token"


# ------------------------------------------------------------------------------------------------- origins

MINE, OTHER = "chrome-extension://abcdefghijklmnopabcdefghijklmnop", "https://evil.test"
ASKED = {"access-control-request-method": "POST", "access-control-request-headers": CLIENTS}


@SQLITE_ONLY
async def test_only_the_origins_that_are_allowed_can_read(database_url: str, tmp_path: Path) -> None:
    origins = frozenset({MINE, "https://client.test:8443"})
    async with live_server(database_url, tmp_path, cors_origins=origins) as here:
        for path in PATHS:
            for origin in origins:
                for reply in (
                    await here.ask("OPTIONS", path, headers={"origin": origin, **ASKED}),
                    await here.ask("GET", path, headers={"origin": origin}),
                ):
                    assert reply.headers["access-control-allow-origin"] == origin
                    assert "origin" in reply.headers["vary"].lower()
            for origin in (
                OTHER,
                f"{MINE}.evil.test",
                f"{MINE}/",
                MINE.upper(),
                "https://client.test",
                "null",
            ):
                preflight = await here.ask("OPTIONS", path, headers={"origin": origin, **ASKED})
                assert preflight.status == 400
                assert "access-control-allow-origin" not in preflight.headers
                reply = await here.ask("GET", path, headers={"origin": origin})
                assert "access-control-allow-origin" not in reply.headers


@SQLITE_ONLY
async def test_no_page_may_ask_what_operators_ask(here: LiveServer) -> None:
    for path in ("/operators", "/operators/session", "/operators/x"):
        for reply in (
            await here.ask("OPTIONS", path, headers={**ORIGIN, **ASKED}),
            await here.ask("POST", path, headers=ORIGIN),
        ):
            assert [name for name in reply.headers if name.lower().startswith("access-control")] == []


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("*", True),
        (MINE, True),
        ("moz-extension://0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", True),
        ("https://client.test", True),
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("https://client.test:443", False),
        ("http://client.test:80", False),
        ("https://client.test/", False),
        ("https://client.test/path", False),
        ("https://user@client.test", False),
        ("https://client.test?x", False),
        ("https://client.test#x", False),
        ("https://Client.test", False),
        ("https://*.client.test", False),
        ("https://client.test:port", False),
        ("https://[::1", False),
        ("client.test", False),
        ("https://", False),
        ("null", False),
        ("", False),
    ],
)
def test_an_origin_is_one_as_browsers_send_it(text: str, good: bool) -> None:
    assert is_origin(text) is good


class Exploding(FastDemoConnector):
    """Fails with an unforeseen error."""

    def can(self, method: str) -> bool:
        raise RuntimeError(f"a customer's words in {method}")


@SQLITE_ONLY
async def test_what_nobody_expected_is_a_500_that_can_be_read(
    database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """And one log line with type and place, without the text."""
    async with live_server(database_url, tmp_path, connector=Exploding) as here:
        path = f"/contact?phoneNumber=+1&jwtToken={await here.token(ADA)}"
        reply = await here.ask("GET", path, headers=ORIGIN)
        assert reply.status == 500
        assert reply.body == "The server could not do this now. What was accepted before is kept."
        assert_readable(reply)
    out, err = capfd.readouterr()
    (line,) = (out + err).splitlines()
    assert "request_failed" in line
    assert "RuntimeError" in line
    assert "test_cors.py" in line
    assert "customer" not in line
    assert "jwtToken" not in line
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize("allowed", [["*"], ["https://crm.example", "https://two.example:8443"], []])
async def test_a_hot_route_has_the_headers_of_all_others(allowed: list[str]) -> None:
    """Also from the cache, and for an origin that many others have pushed out of it."""
    fast_path, cold = CorsHeaders(allowed), Cors(Response(), origins=allowed)
    many = [f"chrome-extension://{number}" for number in range(200)]
    for origin in [
        None,
        "https://crm.example",
        "https://crm.example",
        "null",
        "",
        *many,
        "https://crm.example",
    ]:
        sent: list[Message] = []

        async def send(message: Message, sent: list[Message] = sent) -> None:
            sent.append(message)

        headers = [] if origin is None else [(b"origin", origin.encode())]
        scope = {"type": "http", "method": "POST", "path": "/contact", "headers": headers}
        await cold(scope, _no_body, send)
        added = sent[0]["headers"][len(Response().raw_headers) :]
        assert added
        assert await fast_path.headers_for(origin) == added


async def _no_body() -> Message:
    return {"type": "http.request"}
