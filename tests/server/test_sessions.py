"""Session tokens that are renewed before they end, and sessions that end when a user logs out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import structlog

from messagelog.connectors import Rejected
from messagelog.core import User
from messagelog.server.auth.session_tokens import SessionTokens
from messagelog.server.openapi.operations import Access
from messagelog.server.requests import SIGN_IN
from messagelog.storage import Sealer
from storage.journal import run_sql
from support.live_server import ADA, GRACE, SECRET, SQLITE_ONLY, FastDemoConnector, live_server, payload
from support.openapi_validation import ROUTES
from support.requests import body, message

if TYPE_CHECKING:
    from pathlib import Path

    from messagelog.connectors import Session
    from support.live_server import LiveServer, Reply

KEYS = Sealer(SECRET).token_keys
KEY = KEYS.signing
DAY = 86_400
ORIGIN = {"origin": "chrome-extension://abcdefghijklmnop"}
REVOKED = {
    "successful": False,
    "returnMessage": {
        "message": "User session expired. Please connect again.",
        "messageType": "warning",
        "ttl": 5000,
    },
    "errorCode": "CRM_SESSION_REVOKED",
}
HEADER = "x-refreshed-jwt-token"


async def log(here: LiveServer, token: str, name: str = "01-sms", **headers: str) -> Reply:
    path = "/messageLog" if headers else f"/messageLog?jwtToken={token}"
    return await here.ask("POST", path, json=payload(name), headers=headers)


async def fresh_token(here: LiveServer, user: str = ADA) -> str:
    here.tokens.pop(user, None)
    return await here.token(user)


# ----------------------------------------------------------------------------------------------- log out


async def test_a_log_out_ends_every_token_of_before_at_once(here: LiveServer) -> None:
    first, second = await fresh_token(here), await fresh_token(here)
    assert (await log(here, first)).status == 200
    reply = await here.ask("POST", f"/unAuthorize?jwtToken={second}")
    assert reply.status == 200
    assert reply.body["message"] == "Successfully unauthorized."
    assert reply.body["returnMessage"] == {
        "message": "Successfully unauthorized.",
        "messageType": "success",
        "ttl": 3000,
    }
    for token in (first, second):
        for sent in (await log(here, token), await log(here, token, authorization=f"Bearer {token}")):
            assert (sent.status, sent.body) == (401, REVOKED)
    again = await here.ask("POST", f"/unAuthorize?jwtToken={first}")
    assert (again.status, again.body) == (401, REVOKED)


async def test_who_signs_in_again_has_a_session_that_old_tokens_do_not_enter(here: LiveServer) -> None:
    old = await fresh_token(here)
    await here.ask("POST", f"/unAuthorize?jwtToken={old}")
    new = await fresh_token(here)
    assert (await log(here, new)).status == 200
    assert (await log(here, old)).status == 401


async def test_a_log_out_is_nobody_elses(here: LiveServer) -> None:
    ada, grace = await fresh_token(here), await fresh_token(here, GRACE)
    await here.ask("POST", f"/unAuthorize?jwtToken={ada}")
    assert (await log(here, grace)).status == 200


async def test_signing_in_elsewhere_ends_no_session(here: LiveServer) -> None:
    first = await fresh_token(here)
    assert await fresh_token(here)
    assert (await log(here, first)).status == 200


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("method", "path"),
    [route.split() for route, described in ROUTES.items() if described.access is Access.USER],
)
async def test_every_route_that_wants_a_token_says_that_the_session_ended(
    here: LiveServer, method: str, path: str
) -> None:
    token = await fresh_token(here)
    await here.ask("POST", f"/unAuthorize?jwtToken={token}")
    calls = len(here.crm.calls)
    reply = await here.ask(
        method, f"{path}?phoneNumber=+14155550142&jwtToken={token}", json={}, headers=ORIGIN
    )
    assert (reply.status, reply.body) == (401, REVOKED)
    assert reply.headers["access-control-allow-origin"] == "*"
    assert here.crm.calls[calls:] == []


@SQLITE_ONLY
@pytest.mark.parametrize("token", ["", "?jwtToken=undefined", "?jwtToken=a.b.c"])
async def test_nobody_can_log_out_without_a_token(here: LiveServer, token: str) -> None:
    reply = await here.ask("POST", f"/unAuthorize{token}")
    assert (reply.status, reply.body) == (400, SIGN_IN)


class Unauthorizing(FastDemoConnector):
    """Ends an API key at the CRM, or is told that it cannot."""

    ended: list[tuple[str, str]]
    fails: Exception | None = None

    async def unauthorize(self, session: Session) -> None:
        if self.fails is not None:
            raise self.fails
        self.ended = [*getattr(self, "ended", []), (session.user_id, session.credentials.api_key)]


@SQLITE_ONLY
async def test_the_connector_ends_the_credentials_at_the_crm(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, connector=Unauthorizing) as here:
        connector = here.context.config.connectors["demo"]
        assert isinstance(connector, Unauthorizing)
        await here.ask("POST", f"/unAuthorize?jwtToken={await here.token()}")
        assert connector.ended == [("u-ada", ADA)]


@SQLITE_ONLY
@pytest.mark.parametrize("error", [Rejected("HTTP 403"), KeyError("a mistake of the connector")])
async def test_a_crm_that_is_not_told_keeps_nobody_signed_in(
    database_url: str, tmp_path: Path, error: Exception
) -> None:
    async with live_server(database_url, tmp_path, connector=Unauthorizing) as here:
        connector = here.context.config.connectors["demo"]
        assert isinstance(connector, Unauthorizing)
        connector.fails = error
        token = await here.token()
        reply = await here.ask("POST", f"/unAuthorize?jwtToken={token}")
        assert reply.status == 200
        assert reply.body["returnMessage"]["messageType"] == "warning"
        assert "Demo CRM could not be told" in reply.body["returnMessage"]["message"]
        assert (await log(here, token)).status == 401


async def test_tokens_of_before_there_were_sessions_stay_good_until_a_log_out(
    here: LiveServer, database_url: str
) -> None:
    await here.token()
    run_sql(database_url, 'UPDATE "users" SET "sessionId" = NULL')
    now = int(time.time())
    claims = {"iss": "messagelog", "id": "u-ada", "platform": "demo", "tenant": "acme"}
    old = jwt.encode({**claims, "iat": now, "exp": now + 3600}, KEY, algorithm="HS256")
    assert (await log(here, old)).status == 200
    assert (await log(here, await fresh_token(here))).status == 200
    await here.ask("POST", f"/unAuthorize?jwtToken={old}")
    assert (await log(here, old)).status == 401


# ------------------------------------------------------------------------------------------------ renewed


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@SQLITE_ONLY
async def test_a_token_is_renewed_in_its_last_week_on_every_route(database_url: str, tmp_path: Path) -> None:
    clock = Clock()
    async with live_server(database_url, tmp_path, now=clock) as here:
        token = await here.token()

        async def ask(method: str, path: str, json: Any = None) -> Reply:
            return await here.ask(
                method,
                f"{path}?phoneNumber=+14155550142&name=maya",
                json=json,
                headers={**ORIGIN, "authorization": f"Bearer {token}"},
            )

        routes: tuple[tuple[str, str, Any], ...] = (
            ("POST", "/messageLog", payload("01-sms")),
            ("POST", "/messageLog", {"wrong": "body"}),
            ("POST", "/messageLog/match", {"conversationId": "conv-7", "messageIds": ["1"]}),
            ("GET", "/contact", None),
            ("POST", "/contact", {"phoneNumber": "+14155550188", "newContactName": "Nina"}),
            ("GET", "/custom/contact/search", None),
            ("GET", "/user/settings", None),
            ("POST", "/user/settings", {"userSettings": {}}),
            ("POST", "/user/refreshInfo", None),
            ("GET", "/hostname", None),
        )
        told = {f"{method} {path}" for method, path, _ in routes}
        assert told == {
            route for route, each in ROUTES.items() if each.access is Access.USER and not each.ends_session
        }
        clock.now += 7 * DAY - 10
        for route in routes:
            assert HEADER not in (await ask(*route)).headers
        clock.now += 11
        for route in routes:
            reply = await ask(*route)
            renewal = reply.headers[HEADER]
            claims = jwt.decode(
                renewal, KEY, algorithms=["HS256"], options={"verify_iat": False, "verify_exp": False}
            )
            assert claims["exp"] == int(clock.now) + 14 * DAY
            assert HEADER in reply.headers["access-control-expose-headers"]
        clock.now += 7 * DAY
        assert (await ask(*routes[0])).status == 400, "the old one has ended"
        token = renewal
        assert (await ask(*routes[0])).status == 200


@SQLITE_ONLY
async def test_a_log_out_renews_nothing(database_url: str, tmp_path: Path) -> None:
    clock = Clock()
    async with live_server(database_url, tmp_path, now=clock) as here:
        token = await here.token()
        clock.now += 8 * DAY
        assert HEADER in (await log(here, token)).headers
        reply = await here.ask("POST", f"/unAuthorize?jwtToken={token}")
        assert reply.status == 200
        assert HEADER not in reply.headers
        assert HEADER not in (await log(here, token)).headers, "nor does a refused one"


def test_a_token_in_its_last_week_is_renewed_in_its_own_session() -> None:
    user = User("acme", "demo", "u-ada", "Ada", "", None, None, session_id="one")
    tokens = SessionTokens(KEYS, clock=lambda: 1_000_000)
    claims = tokens.read(tokens.issue(user))
    assert claims is not None
    assert claims.session_id == "one"
    assert tokens.renewal(user, claims) is None
    later = SessionTokens(KEYS, clock=lambda: 1_000_000 + 7 * DAY)
    renewal = later.renewal(user, claims)
    assert renewal is not None
    again = later.read(renewal)
    assert again is not None
    assert (again.session_id, again.expires) == ("one", 1_000_000 + 21 * DAY)


# ----------------------------------------------------------------------------- credentials that cannot be opened


def lock_away(database_url: str) -> None:
    """As if the credentials of all were sealed under a secret key that is not given."""
    run_sql(
        database_url,
        'UPDATE "users" SET "credentials" = CAST(X\'01deadbeef\' || substr("credentials", 6) AS BLOB)',
    )


@SQLITE_ONLY
async def test_credentials_that_nobody_can_open_are_a_reason_to_sign_in_again(
    here: LiveServer, database_url: str
) -> None:
    ada, grace = await fresh_token(here), await fresh_token(here, GRACE)
    lock_away(database_url)
    with structlog.testing.capture_logs() as events:
        for token in (ada, grace):
            reply = await here.ask("GET", f"/contact?phoneNumber=+14155550142&jwtToken={token}")
            assert reply.status == 200
            assert "sign in again" in reply.body["returnMessage"]["message"]
        assert (await here.log(body(message(1)))).body["successful"]
    assert (await here.states()) == {"1": "waiting"}
    sealed = [each for each in events if each["event"] == "credentials_sealed"]
    assert sealed == [{"event": "credentials_sealed", "key_id": "deadbeef", "log_level": "error"}]
    await fresh_token(here)
    await here.until_logged("1")


@SQLITE_ONLY
async def test_who_signs_out_with_credentials_that_nobody_can_open_is_signed_out(
    here: LiveServer, database_url: str
) -> None:
    token = await fresh_token(here)
    lock_away(database_url)
    reply = await here.ask("POST", f"/unAuthorize?jwtToken={token}")
    assert (reply.status, reply.body["messageType"]) == (200, "warning")
    assert "signed out here" in reply.body["message"]
    assert (await log(here, token)).status == 401
    assert (await here.ask("POST", f"/unAuthorize?jwtToken={token}")).status == 401
    assert (await log(here, await fresh_token(here))).status == 200
