"""Who may log: tokens that are not ours are refused before anything of a body is read."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from messagelog.server.auth.session_tokens import SessionTokens
from messagelog.server.requests import SIGN_IN
from messagelog.storage import Sealer
from support.live_server import ADA, GRACE, SECRET, SQLITE_ONLY, payload
from support.requests import body, message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from support.live_server import LiveServer

pytestmark = SQLITE_ONLY

KEYS = Sealer(SECRET).token_keys
KEY = KEYS.signing
NOW = int(time.time())
CLAIMS = {
    "iss": "messagelog",
    "id": "u-ada",
    "platform": "demo",
    "tenant": "acme",
    "sid": "",
    "iat": NOW,
    "exp": NOW + 3600,
}
DEEP_HEAD = base64.urlsafe_b64encode(b"[" * 20_000).rstrip(b"=").decode()


def sign_claims(key: bytes = KEY, **changes: Any) -> str:
    """A token with our claims, but for the changes; `...` leaves a claim out."""
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ...}
    return jwt.encode(claims, key, algorithm="HS256")


FORGED = {
    "none": lambda: "",
    "no token at all": lambda: "undefined",
    "three dots": lambda: "a.b.c",
    "another key": lambda: sign_claims(b"another secret key of thirty-two bytes"),
    "another issuer": lambda: sign_claims(iss="app-connect"),
    "no issuer": lambda: sign_claims(iss=...),
    "expired": lambda: sign_claims(exp=NOW - 1),
    "no expiry": lambda: sign_claims(exp=...),
    "expiry as text": lambda: sign_claims(exp="never"),
    "an audience that we are not": lambda: sign_claims(aud="somebody"),
    "alg none": lambda: jwt.encode(CLAIMS, "", algorithm="none"),
    "alg HS512": lambda: jwt.encode(CLAIMS, KEY * 2, algorithm="HS512"),
    "altered": lambda: sign_claims()[:-6] + "AAAAAA",
    "ids that are no text": lambda: sign_claims(id=7),
    "no tenant": lambda: sign_claims(tenant=...),
    "a user who never signed in": lambda: sign_claims(id="u-nobody"),
    "a user of another tenant": lambda: sign_claims(tenant="otto"),
    "a head that is nested deep": lambda: f"{DEEP_HEAD}.e30.AA",
    "not ASCII": lambda: "%C3%A9%FF.x.y",
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED.keys())
async def test_a_token_that_is_not_ours_is_refused(here: LiveServer, token: Callable[[], str]) -> None:
    await here.token()
    calls = len(here.crm.calls)
    for method, path, body_ in (
        ("POST", "/messageLog", payload("01-sms")),
        ("GET", "/contact", None),
        ("POST", "/contact", {"phoneNumber": "+14155550188", "newContactName": "Nina"}),
    ):
        query = f"?phoneNumber=+14155550142&jwtToken={token()}"
        reply = await here.ask(method, path + query, json=body_)
        assert (reply.status, reply.body) == (400, SIGN_IN)
    assert await here.logs() == []
    assert here.crm.calls[calls:] == []


async def test_a_platform_that_this_server_has_not(here: LiveServer) -> None:
    await here.token()
    reply = await here.ask(
        "POST", f"/messageLog?jwtToken={sign_claims(platform='pipedrive')}", json=payload("01-sms")
    )
    assert reply.status == 400
    assert "pipedrive" in reply.body
    assert await here.logs() == []


async def test_a_token_in_the_header_wins_over_the_one_in_the_query(here: LiveServer) -> None:
    headers = {"authorization": f"Bearer {await here.token(GRACE)}"}
    reply = await here.ask(
        "POST", f"/messageLog?jwtToken={await here.token(ADA)}", json=payload("01-sms"), headers=headers
    )
    assert reply.body["logIds"] == ["6424569001"]
    assert (await here.only_activity())["created_by"] == "u-grace"


@pytest.mark.parametrize("header", ["Bearer nonsense", "bearer", "Bearer "])
async def test_a_bad_token_in_the_header_is_not_made_good_by_the_query(here: LiveServer, header: str) -> None:
    path = f"/messageLog?jwtToken={await here.token()}"
    reply = await here.ask("POST", path, json=payload("01-sms"), headers={"authorization": header})
    assert (reply.status, reply.body["returnMessage"]["message"]) == (400, SIGN_IN)


async def test_another_scheme_in_the_header_leaves_the_query_to_decide(here: LiveServer) -> None:
    path = f"/messageLog?jwtToken={await here.token()}"
    reply = await here.ask("POST", path, json=payload("01-sms"), headers={"authorization": "Basic eDp5"})
    assert reply.status == 200


async def test_a_token_lasts_two_weeks_on_its_own_clock(here: LiveServer) -> None:
    user = await here.context.users.find("acme", "demo", "u-ada")
    if user is None:
        await here.token()
        user = await here.context.users.find("acme", "demo", "u-ada")
    assert user is not None
    token = SessionTokens(KEYS, clock=lambda: 1_000_000).issue(user)
    assert SessionTokens(KEYS, clock=lambda: 1_000_000 + 14 * 86_400 - 1).read(token) is not None
    assert SessionTokens(KEYS, clock=lambda: 1_000_000 + 14 * 86_400).read(token) is None


@pytest.mark.parametrize("path", ["/messageLog", "/contact"])
async def test_an_endless_body_with_a_bad_token_is_refused_at_once(here: LiveServer, path: str) -> None:
    """The answer comes while the body is still on its way."""
    enough = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while not enough.is_set():
            yield b"x" * 1_000
            await asyncio.sleep(0.01)

    url = f"{here.url}{path}?jwtToken=nonsense"
    async with asyncio.timeout(3), here.client.post(url, data=endless()) as answer:
        assert answer.status == 400
        assert await answer.json() == SIGN_IN
        enough.set()


async def test_fifty_megabytes_with_a_bad_token_are_not_asked_for(here: LiveServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(here.url.rpartition(":")[2]))
    lines = ["POST /messageLog HTTP/1.1", "host: x", "content-length: 50000000", "expect: 100-continue"]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = await asyncio.wait_for(reader.read(1_000), timeout=3)
    assert answer.startswith(b"HTTP/1.1 400 "), "and no 100 before it"
    writer.close()
    await writer.wait_closed()


async def test_the_same_message_from_another_tenant_is_another_message(here: LiveServer) -> None:
    """Colleagues of one tenant share their rows; tenants never see or block each other's."""
    request = body(message(1, "whose is it"))
    assert (await here.log(request, ADA)).body["logIds"] == ["1"]
    assert (await here.log(request, GRACE)).body["logIds"] == [], "a colleague's is logged for all"
    assert (await here.log(request, "demo-otto")).body["logIds"] == ["1"]
    (acme,) = await here.activities(ADA)
    (otto,) = await here.activities("demo-otto")
    assert (acme["created_by"], otto["created_by"]) == ("u-ada", "u-otto")
    await here.log(body(message(1, "whose is it"), message(2, "a colleague's")), GRACE)
    assert "a colleague's" in (await here.activities(ADA))[0]["body"]
    assert "a colleague's" not in (await here.activities("demo-otto"))[0]["body"]
