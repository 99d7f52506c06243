"""Signing in with OAuth at a real authorization server, as App Connect's client does it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jwt
import pytest
import structlog
from starlette.responses import JSONResponse
from starlette.routing import Route

from messagelog.connectors import ClientAuth
from messagelog.core import Times
from messagelog.core.operators.accounts import Role
from messagelog.server.context import REDIRECT_URI, ServerConfig
from messagelog.server.lifespan import open_context
from messagelog.storage import Sealer
from storage.journal import everything, run_sql
from support.live_server import CLIENT_HEADERS, SECRET, SQLITE_ONLY, payload
from support.oauth_browser import BEHIND, browser, encode_url, values_of
from support.oauth_server import REGISTERED, SCOPES, lost, oauth_client, oauth_crm, refusing

if TYPE_CHECKING:
    from pathlib import Path

    from support.live_server import Reply
    from support.oauth_browser import Browser

MINUTE = 61.0
"""Credentials that are younger are not refreshed though the CRM refuses them."""

STATE_KEY = Sealer(SECRET).state_keys.signing


def refusal_text(reply: Reply) -> str:
    """The words of a failed sign-in, as the client shows them."""
    assert reply.status == 200
    assert set(reply.body) == {"returnMessage"}
    notice = reply.body["returnMessage"]
    assert notice["messageType"] == "warning"
    words: str = notice["message"]
    return words


# --------------------------------------------------------------------------------------------- it works


@pytest.mark.parametrize("knows_pkce", [True, False])
async def test_a_user_signs_in_and_logs(database_url: str, tmp_path: Path, knows_pkce: bool) -> None:
    async with browser(database_url, tmp_path, knows_pkce=knows_pkce) as there:
        reply = await there.back(await there.window())
        assert (reply.status, reply.body["name"]) == (200, "Ada Lovell")
        assert reply.headers["cache-control"] == "no-store"
        assert reply.body["returnMessage"] == {
            "message": "Connected to OAuth CRM.",
            "messageType": "success",
            "ttl": 1000,
        }
        sent = await there.log(reply.body["jwtToken"], payload("01-sms"))
        assert sent.body["logIds"] == ["6424569001"]
        assert ("code_verifier" in there.crm.forms[0]) is knows_pkce


@SQLITE_ONLY
async def test_the_crm_is_asked_for_what_the_connector_says_and_nothing_of_the_query(
    database_url: str, tmp_path: Path
) -> None:
    async with browser(database_url, tmp_path) as there:
        url = await there.authorization_url(
            "&scope=everything&client_id=evil&redirect_uri=https://evil.test&tokenUrl=https://evil.test"
            "&code_challenge=evil&tenant=evil"
        )
        assert url.startswith(f"{there.crm.url}/authorize?tenant=acme&")
        asked = values_of(url)
        state = asked.pop("state")
        assert len(asked.pop("code_challenge")) == 43
        assert asked == {
            "tenant": "acme",
            "response_type": "code",
            "client_id": REGISTERED.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": " ".join(SCOPES),
            "code_challenge_method": "S256",
        }
        assert jwt.decode(state, options={"verify_signature": False})["platform"] == "oauth-crm"
        await there.back(await there.window(url))
        (form,) = there.crm.forms
        assert form["redirect_uri"] == REDIRECT_URI
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == values_of(url)["code_challenge"]


@SQLITE_ONLY
async def test_the_way_to_the_crm_is_kept_by_nobody(database_url: str, tmp_path: Path) -> None:
    async with browser(database_url, tmp_path) as there:
        first = await there.here.ask("GET", "/oauth/start?state=platform=oauth-crm")
        second = await there.here.ask("GET", "/oauth/start?state=platform%3Doauth-crm")
        assert first.headers["cache-control"] == "no-store"
        assert first.headers["referrer-policy"] == "no-referrer"
        states = {values_of(each.headers["location"])["state"] for each in (first, second)}
        assert len(states) == 2, "each sign-in has a state of its own"
        assert run_sql(database_url, 'SELECT COUNT(*) FROM "oauthStates"') == [(0,)], (
            "none is stored before its use"
        )


@SQLITE_ONLY
@pytest.mark.parametrize("client_auth", list(ClientAuth))
async def test_ways_to_say_which_client_we_are(
    database_url: str, tmp_path: Path, client_auth: ClientAuth
) -> None:
    async with browser(database_url, tmp_path, client_auth=client_auth) as there:
        await there.sign_in()
        form = there.crm.forms[0]
        assert ("client_secret" in form) is (client_auth is ClientAuth.POST)
        assert ("client_id" in form) is (client_auth is not ClientAuth.BASIC)


@SQLITE_ONLY
async def test_ways_in_which_a_client_writes_the_page(database_url: str, tmp_path: Path) -> None:
    """Not encoded (1.6.7, 1.7.0), encoded, with the state before the code, and with more than was asked for."""
    async with browser(database_url, tmp_path) as there:

        async def page(order: tuple[str, ...]) -> str:
            values = {**values_of(await there.window()), "iss": "https://crm.test", "session_state": "a+b"}
            return f"{REDIRECT_URI}?" + "&".join(f"{name}={quote(values[name], safe='')}" for name in order)

        pages = [
            await page(("code", "state")),
            await page(("state", "code")),
            await page(("iss", "state", "session_state", "code")),
            encode_url(await page(("code", "state"))),
            encode_url(await page(("session_state", "state", "code"))),
            await page(("code", "state")) + "#",
        ]
        for each in pages:
            assert (await there.back(each, "" if each.endswith("#") else BEHIND)).status == 200


@SQLITE_ONLY
@pytest.mark.parametrize("write", [lambda page: page, encode_url])
async def test_a_code_is_decoded_once(database_url: str, tmp_path: Path, write: Any) -> None:
    async with browser(database_url, tmp_path) as there:
        state = values_of(await there.authorization_url())["state"]
        code = "4/0A+b%2Fc=d&e é"
        await there.back(write(f"{REDIRECT_URI}?state={state}&code={quote(code, safe='')}"))
        assert there.crm.forms[0]["code"] == code


@SQLITE_ONLY
async def test_the_tokens_are_stored_sealed(database_url: str, tmp_path: Path) -> None:
    async with browser(database_url, tmp_path, more={"instance_url": "https://na1.crm.test"}) as there:
        await there.sign_in()
        ((stored,),) = run_sql(database_url, 'SELECT "credentials" FROM "users"')
        assert not [secret for secret in there.crm.secrets() if secret.encode() in bytes(stored)]
        session = await there.here.context.users.session(there.crm.connector, "acme", "u-ada")
        assert session.credentials.access_token == there.crm.grants[0].access_token
        assert session.credentials.refresh_token == there.crm.grants[0].refresh_token
        assert session.credentials.fields["instance_url"] == "https://na1.crm.test"
        assert session.hostname == "crm.test"


@SQLITE_ONLY
async def test_signing_in_again_takes_the_new_grant(database_url: str, tmp_path: Path) -> None:
    async with browser(database_url, tmp_path) as there:
        first = await there.sign_in()
        there.crm.grants[0].access_revoked = there.crm.grants[0].refresh_revoked = True
        second = await there.sign_in()
        for token in (first, second):
            assert (await there.log(token, payload("01-sms"))).status == 200


# ----------------------------------------------------------------------------------------------- states


async def test_a_state_is_good_for_once(database_url: str, tmp_path: Path) -> None:
    async with browser(database_url, tmp_path) as there:
        page = await there.window()
        assert "jwtToken" in (await there.back(page)).body
        asked = len(there.crm.forms)
        assert "used before" in refusal_text(await there.back(page))
        assert there.crm.forms[asked:] == [], "the CRM is not asked again"


async def test_a_sign_in_ends_after_ten_minutes(database_url: str, tmp_path: Path) -> None:
    now = [time.time()]
    async with browser(database_url, tmp_path, config={"now": lambda: now[0]}) as there:
        early, late = await there.window(), await there.window()
        now[0] += 599
        assert "jwtToken" in (await there.back(early)).body
        now[0] += 2
        assert "took too long" in refusal_text(await there.back(late))
        assert len(there.crm.forms) == 1


FORGED = {
    "the client's own": "platform=oauth-crm",
    "none": "",
    "no state at all": "a.b.c",
    "another key": jwt.encode(
        {"iss": "messagelog oauth", "jti": "1", "platform": "oauth-crm", "exp": 9e9}, "k" * 32
    ),
    "a session token": jwt.encode(
        {"iss": "messagelog", "id": "u-ada", "exp": 9e9}, Sealer(SECRET).token_keys.signing
    ),
    "a session token's issuer": jwt.encode(
        {"iss": "messagelog", "jti": "1", "platform": "oauth-crm", "exp": 9e9}, STATE_KEY
    ),
    "no end": jwt.encode({"iss": "messagelog oauth", "jti": "1", "platform": "oauth-crm"}, STATE_KEY),
    "no id": jwt.encode({"iss": "messagelog oauth", "platform": "oauth-crm", "exp": 9e9}, STATE_KEY),
    "alg none": jwt.encode(
        {"iss": "messagelog oauth", "jti": "1", "platform": "oauth-crm", "exp": 9e9}, "", algorithm="none"
    ),
}


@SQLITE_ONLY
@pytest.mark.parametrize("state", FORGED.values(), ids=FORGED.keys())
async def test_a_forged_state_is_refused(database_url: str, tmp_path: Path, state: str) -> None:
    async with browser(database_url, tmp_path) as there:
        code = values_of(await there.window())["code"]
        reply = await there.back(f"{REDIRECT_URI}?code={code}&state={state}")
        assert (reply.status, reply.body) == (
            400,
            "state: expected one of this server's. Please connect again.",
        )
        assert there.crm.forms == []


@SQLITE_ONLY
async def test_a_stolen_state_brings_nobody_elses_code_in(database_url: str, tmp_path: Path) -> None:
    """A code belongs to the sign-in that it was asked in: the secret of another one does not open it."""
    async with browser(database_url, tmp_path) as there:
        of_the_thief, of_the_victim = values_of(await there.window()), values_of(await there.window())
        reply = await there.back(f"{REDIRECT_URI}?code={of_the_thief['code']}&state={of_the_victim['state']}")
        assert refusal_text(reply) == "OAuth CRM did not accept the sign-in. Please connect again."
        assert run_sql(database_url, 'SELECT COUNT(*) FROM "users"') == [(0,)]


@SQLITE_ONLY
async def test_a_state_belongs_to_its_platform(database_url: str, tmp_path: Path) -> None:
    async with browser(database_url, tmp_path) as there:
        states = there.here.context.states
        for platform, words in (
            ("demo", "platform: its users sign in with an API key"),
            ("gone", "platform: this server has no connector for it"),
        ):
            reply = await there.back(f"{REDIRECT_URI}?code=1&state={states.issue(platform)[0]}")
            assert (reply.status, reply.body) == (400, words)
        assert there.crm.forms == []


@SQLITE_ONLY
async def test_the_clients_own_state_where_the_operator_allows_it(database_url: str, tmp_path: Path) -> None:
    async with browser(database_url, tmp_path, config={"bare_state": True}, knows_pkce=False) as there:
        # A manifest of the operator's own leads straight to the CRM.
        url = f"{there.crm.url}/authorize?response_type=code&client_id={REGISTERED.client_id}"
        url += f"&state=platform=oauth-crm&redirect_uri={REDIRECT_URI}"
        for page in (await there.window(url), encode_url(await there.window(url))):
            assert "jwtToken" in (await there.back(page)).body
        code = values_of(await there.window(url))["code"]
        reply = await there.back(f"{REDIRECT_URI}?code={code}&state=platform=oauth-crm")
        assert "jwtToken" in reply.body


@SQLITE_ONLY
async def test_a_signed_state_is_as_good_where_the_clients_own_is_allowed(
    database_url: str, tmp_path: Path
) -> None:
    async with browser(database_url, tmp_path, config={"bare_state": True}) as there:
        page = await there.window()
        assert "jwtToken" in (await there.back(page)).body
        assert "used before" in refusal_text(await there.back(page))


# ------------------------------------------------------------------------------- who begins, and who ends it

ADAS = {name: CLIENT_HEADERS[name] for name in ("rc-extension-id", "rc-account-id")}
EVES = {"rc-extension-id": "e" * 64, "rc-account-id": ADAS["rc-account-id"]}
OTHERS = {"rc-extension-id": ADAS["rc-extension-id"], "rc-account-id": "f" * 64}
NAMED = f"&rcExtensionId={ADAS['rc-extension-id']}&rcAccountId={ADAS['rc-account-id']}"


async def end(there: Browser, page: str, headers: dict[str, str]) -> Reply:
    """The end of a sign-in, from a client with these headers alone."""
    nobody = {"rc-extension-id": "", "rc-account-id": ""}
    path = f"/oauth-callback?callbackUri={page}&hostname=crm.test"
    return await there.here.ask("GET", path, headers={**nobody, **headers})


@SQLITE_ONLY
@pytest.mark.parametrize("stranger", [EVES, OTHERS], ids=["of the same account", "of another account"])
async def test_a_sign_in_is_ended_by_the_user_who_began_it(
    database_url: str, tmp_path: Path, stranger: dict[str, str]
) -> None:
    async with browser(database_url, tmp_path) as there:
        page = await there.window(await there.authorization_url(NAMED))
        assert "begun by another RingCentral user" in refusal_text(await end(there, page, stranger))
        assert there.crm.forms == []
        assert "jwtToken" in (await end(there, page, ADAS)).body, "and is not used up by that"
        assert "used before" in refusal_text(await end(there, page, ADAS))


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        ("", EVES),
        (NAMED, {}),
        (NAMED, {"rc-extension-id": ADAS["rc-extension-id"]}),
        (f"&rcAccountId={ADAS['rc-account-id']}", EVES),
    ],
    ids=[
        "only at the end",
        "only at the start",
        "the account at the start only",
        "the extension at the end only",
    ],
)
async def test_who_is_named_once_alone_is_not_compared(
    database_url: str, tmp_path: Path, begins: str, ends: dict[str, str]
) -> None:
    async with browser(database_url, tmp_path) as there:
        page = await there.window(await there.authorization_url(begins))
        assert "jwtToken" in (await end(there, page, ends)).body


@SQLITE_ONLY
async def test_ids_that_are_not_hashed_are_compared_as_hashes(database_url: str, tmp_path: Path) -> None:
    async with browser(database_url, tmp_path) as there:
        hashes = (await there.here.ask("GET", "/userInfoHash?extensionId=17801&accountId=17800")).body
        ours = {"rc-extension-id": hashes["extensionId"], "rc-account-id": hashes["accountId"]}
        page = await there.window(await there.authorization_url("&rcExtensionId=17801&rcAccountId=17800"))
        assert "begun by another" in refusal_text(await end(there, page, EVES))
        assert "jwtToken" in (await end(there, page, ours)).body


@SQLITE_ONLY
async def test_a_state_tells_the_crm_nobody(database_url: str, tmp_path: Path) -> None:
    """Whatever a query says, the state holds a mark of it that is another one in every state."""
    async with browser(database_url, tmp_path) as there:
        seen = set()
        for named in (NAMED, NAMED, "&rcExtensionId=" + "e" * 5000 + "&rcAccountId=%00%E2%80%AE"):
            url = await there.authorization_url(named)
            claims = jwt.decode(values_of(url)["state"], options={"verify_signature": False})
            seen |= {claims["extension"], claims["account"]}
        assert len(seen) == 6
        assert {len(mark) for mark in seen} == {32}
        assert not [value for value in ADAS.values() if value in url]


# ----------------------------------------------------------------------------------------------------- HEAD


async def test_a_head_uses_nothing_up(database_url: str, tmp_path: Path) -> None:
    async with browser(database_url, tmp_path) as there:
        page = await there.window()
        for _ in range(2):
            reply = await there.here.ask("HEAD", f"/oauth-callback?callbackUri={page}{BEHIND}")
            assert (reply.status, reply.raw) == (204, b"")
            assert reply.headers["cache-control"] == "no-store"
        assert there.crm.forms == [], "the CRM is not asked"
        assert run_sql(database_url, 'SELECT COUNT(*) FROM "oauthStates"') == [(0,)]
        assert "jwtToken" in (await there.back(page)).body
        wrong = await there.here.ask("HEAD", "/oauth-callback?callbackUri=https://evil.test/?code=1")
        assert wrong.status == 400


@SQLITE_ONLY
async def test_a_head_changes_nothing_at_any_route(database_url: str, tmp_path: Path) -> None:
    async with browser(database_url, tmp_path) as there:
        token = await there.sign_in()
        operator = await there.here.operator("grace", *Role)
        page = await there.window()
        sessions = 'SELECT "id", "createdAt" FROM "operatorSessions"'  # a look at the clock is noted there
        before, begun = everything(database_url), run_sql(database_url, sessions)
        asked = sorted(
            route.path
            for route in there.here.app.routes
            if isinstance(route, Route) and "GET" in (route.methods or ())
        )
        assert "/oauth-callback" in asked
        query = f"callbackUri={page}&jwtToken={token}&phoneNumber=+14155550142&name=maya&platform=oauth-crm"
        for path in asked:
            headers = operator if path.startswith("/operators") else {}
            assert (await there.here.ask("HEAD", f"{path}?{query}", headers=headers)).raw == b""
        after = everything(database_url)
        assert run_sql(database_url, sessions) == begun
        assert {name for name in before if before[name] != after[name]} <= {"contacts", "operatorSessions"}
        assert "jwtToken" in (await there.back(page)).body


# --------------------------------------------------------------------------------------------- refusals


@SQLITE_ONLY
@pytest.mark.parametrize(
    "page",
    [
        "https://evil.test/redirect.html",
        "https://ringcentral.github.io.evil.test/ringcentral-embeddable/redirect.html",
        f"{REDIRECT_URI}/../evil.html",
        "http" + REDIRECT_URI.removeprefix("https"),
        f"https://ringcentral.github.io@evil.test/{REDIRECT_URI}",
    ],
)
@pytest.mark.parametrize("write", [lambda page: page, encode_url])
async def test_a_page_of_another_host_is_refused(
    database_url: str, tmp_path: Path, page: str, write: Any
) -> None:
    async with browser(database_url, tmp_path) as there:
        values = values_of(await there.window())
        reply = await there.back(write(f"{page}?code={values['code']}&state={values['state']}"))
        assert (reply.status, reply.body) == (400, "callbackUri: expected the page that the CRM returns to")
        assert there.crm.forms == []


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "Missing callbackUri"),
        ("callbackUri=", "Missing callbackUri"),
        ("code=1&state=platform=oauth-crm", "Missing callbackUri"),
        ("callbackUri={page}?state={state}", "callbackUri: expected a code in it"),
        ("callbackUri={page}?code=&state={state}", "callbackUri: expected a code in it"),
        (
            "callbackUri={page}?code=1&state={state}&hostname=" + 300 * "h",
            "hostname: expected the name of a host",
        ),
    ],
)
async def test_a_callback_that_is_not_whole(
    database_url: str, tmp_path: Path, query: str, words: str
) -> None:
    async with browser(database_url, tmp_path) as there:
        state = values_of(await there.authorization_url())["state"]
        reply = await there.here.ask("GET", "/oauth-callback?" + query.format(page=REDIRECT_URI, state=state))
        assert reply.status == 400
        assert reply.body.startswith(words)
        assert there.crm.forms == []


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "Missing platform name"),
        ("?state=oauth-crm", "Missing platform name"),
        ("?state=platform=pipedrive", "platform: this server has no connector for it"),
        ("?state=platform=demo", "platform: its users sign in with an API key"),
    ],
)
async def test_a_start_without_a_platform(database_url: str, tmp_path: Path, query: str, words: str) -> None:
    async with browser(database_url, tmp_path) as there:
        reply = await there.here.ask("GET", f"/oauth/start{query}")
        assert (reply.status, reply.body) == (400, words)


@SQLITE_ONLY
async def test_an_api_key_is_no_way_in_where_users_sign_in_with_oauth(
    database_url: str, tmp_path: Path
) -> None:
    async with browser(database_url, tmp_path) as there:
        form = {"apiKey": "demo-ada", "platform": "oauth-crm"}
        reply = await there.here.ask("POST", "/apiKeyLogin", json=form)
        assert (reply.status, reply.body) == (400, "platform: its users sign in at the CRM, with OAuth")


@SQLITE_ONLY
async def test_a_user_who_denies_it_is_told(database_url: str, tmp_path: Path) -> None:
    async with browser(database_url, tmp_path, denies=True) as there:
        page = await there.window()
        assert "error=access_denied" in page
        assert refusal_text(await there.back(page)) == "OAuth CRM did not let you connect (access_denied)."
        assert there.crm.forms == []
        words = (
            f"{REDIRECT_URI}?error=<b>words</b>&state={values_of(await there.authorization_url())['state']}"
        )
        assert refusal_text(await there.back(words)) == "OAuth CRM did not let you connect."


REFUSED = "OAuth CRM did not accept the sign-in. Please connect again."
AWAY = "The CRM cannot be reached at the moment"


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        ("invalid_grant", 400, REFUSED),
        ("invalid_client", 401, REFUSED),
        ("something else", 400, REFUSED),
        ("invalid_grant", 200, REFUSED),
        ("server_error", 500, AWAY),
        ("slow_down", 429, AWAY),
        ("moved", 302, REFUSED),
    ],
)
async def test_an_error_of_the_token_endpoint(
    database_url: str, tmp_path: Path, error: str, status: int, words: str
) -> None:
    async with browser(database_url, tmp_path) as there:
        there.crm.before = refusing("authorization_code", error, status)
        reply = await there.back(await there.window())
        assert refusal_text(reply) == words
        assert b"secret" not in reply.raw


@SQLITE_ONLY
async def test_an_answer_that_is_no_token(database_url: str, tmp_path: Path) -> None:
    answers: list[Any] = [
        JSONResponse({"token_type": "Bearer"}),
        JSONResponse({"access_token": ""}),
        JSONResponse({"access_token": "two\nlines"}),
        JSONResponse({"access_token": {"a": 1}}),
        JSONResponse(["access_token"]),
    ]
    async with browser(database_url, tmp_path) as there:
        for answer in answers:
            there.crm.before = lambda _kind, answer=answer: answer  # type: ignore[misc] # the default binds it
            assert refusal_text(await there.back(await there.window())) == AWAY
        there.crm.before = lambda _kind: None
        there.crm.after = lost
        assert refusal_text(await there.back(await there.window())) == AWAY
    assert run_sql(database_url, 'SELECT COUNT(*) FROM "users"') == [(0,)]


@SQLITE_ONLY
async def test_a_client_that_the_crm_does_not_know(database_url: str, tmp_path: Path) -> None:
    clients = {"oauth-crm": oauth_client(client_secret="of another client")}
    async with browser(database_url, tmp_path, config={"oauth_clients": clients}) as there:
        assert refusal_text(await there.back(await there.window())) == REFUSED


@SQLITE_ONLY
async def test_a_server_needs_a_client_for_each_connector_with_oauth(
    database_url: str, tmp_path: Path
) -> None:
    async with oauth_crm(tmp_path) as crm:
        config = ServerConfig(database_url, SECRET, {"oauth-crm": crm.connector}, "http://127.0.0.1")
        with pytest.raises(LookupError, match="oauth-crm"):
            async with open_context(config):
                pass


# ---------------------------------------------------------------------------------------------- log out


async def test_a_log_out_revokes_the_grant_at_the_crm(database_url: str, tmp_path: Path) -> None:
    async with browser(database_url, tmp_path) as there:
        token = await there.sign_in()
        reply = await there.here.ask("POST", f"/unAuthorize?jwtToken={token}")
        assert reply.body["message"] == "Successfully unauthorized."
        (grant,) = there.crm.grants
        assert grant.access_revoked
        assert grant.refresh_revoked
        assert there.crm.forms[-1]["token"] == grant.refresh_token
        assert (await there.log(token, payload("01-sms"))).status == 401
        assert run_sql(database_url, 'SELECT COUNT("credentials") FROM "users"') == [(0,)]
        assert (await there.log(await there.sign_in(), payload("01-sms"))).status == 200


@SQLITE_ONLY
async def test_a_crm_that_cannot_revoke_now_keeps_nobody_signed_in(database_url: str, tmp_path: Path) -> None:
    async with browser(database_url, tmp_path) as there:
        token = await there.sign_in()
        there.crm.before = refusing("revocation", "server_error", 503)
        reply = await there.here.ask("POST", f"/unAuthorize?jwtToken={token}")
        assert reply.status == 200
        assert "OAuth CRM could not be told" in reply.body["returnMessage"]["message"]
        assert (await there.log(token, payload("01-sms"))).status == 401


# --------------------------------------------------------------------------------------- grants that end


async def test_a_user_whose_grant_the_crm_took_back_is_told_to_connect_again(
    database_url: str, tmp_path: Path
) -> None:
    now = [time.time()]
    async with browser(database_url, tmp_path, config={"now": lambda: now[0]}) as there:
        token = await there.sign_in()
        now[0] += MINUTE
        (grant,) = there.crm.grants
        grant.access_revoked = grant.refresh_revoked = True
        first = await there.log(token, payload("01-sms"))
        assert first.status == 200
        assert "please sign in to OAuth CRM again" in first.body["returnMessage"]["message"]
        second = await there.log(token, payload("01-sms"))
        assert (second.status, second.body["errorCode"]) == (401, "CRM_SESSION_REVOKED")
        assert "jwtToken" in (await there.back(await there.window())).body
        assert (await there.log(token, payload("01-sms"))).body["successful"] is True
        await there.here.until_logged("6424569001")


async def test_a_user_whose_grant_the_crm_took_back_can_log_out(database_url: str, tmp_path: Path) -> None:
    now = [time.time()]
    async with browser(database_url, tmp_path, config={"now": lambda: now[0]}) as there:
        token = await there.sign_in()
        now[0] += MINUTE
        (grant,) = there.crm.grants
        grant.access_revoked = grant.refresh_revoked = True
        await there.log(token, payload("01-sms"))
        assert (await there.log(token, payload("01-sms"))).status == 401
        settings = await there.here.ask("GET", f"/user/settings?jwtToken={token}")
        assert settings.status == 200, "which the client asks before it logs out"
        reply = await there.here.ask("POST", f"/unAuthorize?jwtToken={token}")
        assert (reply.status, reply.body["message"]) == (200, "Successfully unauthorized.")
        await there.sign_in()
        assert (await there.log(token, payload("01-sms"))).status == 401, (
            "her tokens of before are no good any more"
        )


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/contact?phoneNumber=+14155550142"),
        ("GET", "/custom/contact/search?name=maya"),
        ("POST", "/contact"),
        ("POST", "/user/refreshInfo"),
    ],
)
async def test_a_slow_refresh_is_not_waited_for_longer_than_the_client_waits(
    database_url: str, tmp_path: Path, method: str, path: str
) -> None:
    now, times = [time.time()], Times(answer=1.0, call=20.0, lease=60.0)
    async with browser(database_url, tmp_path, config={"now": lambda: now[0], "times": times}) as there:
        headers = {"authorization": f"Bearer {await there.sign_in()}"}
        form = {"phoneNumber": "+14155550199", "newContactName": "Nina"} if path == "/contact" else None
        now[0] += 3600
        gate = there.crm.gate = asyncio.Event()
        reply = await there.here.ask(method, path, json=form, headers=headers)
        assert b"could not be reached" in reply.raw
        gate.set()
        reply = await there.here.ask(method, path, json=form, headers=headers)
        assert (reply.status, reply.body["successful"]) == (200, True)
        assert there.crm.refreshes == 1, "the next request has what the first one asked for"


@SQLITE_ONLY
async def test_details_are_read_with_refreshed_credentials_and_leave_them_alone(
    database_url: str, tmp_path: Path
) -> None:
    now = [time.time()]
    clock = lambda: now[0]  # noqa: E731 - both sides have it
    async with browser(database_url, tmp_path, config={"now": clock}, clock=clock) as there:
        token = await there.sign_in()
        run_sql(database_url, """UPDATE "users" SET "name" = 'Ada of before'""")
        now[0] += 3601
        reply = await there.here.ask("POST", f"/user/refreshInfo?jwtToken={token}")
        assert (reply.status, reply.body["successful"]) == (200, True)
        session = await there.here.context.users.session(there.crm.connector, "acme", "u-ada")
        assert session.user_name == "Ada Lovell"
        assert session.credentials.access_token == there.crm.grants[-1].access_token
        assert (await there.log(token, payload("01-sms"))).body["successful"] is True
        assert there.crm.refreshes == 1


# ------------------------------------------------------------------------------------------------ secrets


@SQLITE_ONLY
async def test_no_line_no_answer_and_no_url_of_ours_holds_a_secret(
    database_url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    now = [time.time()]
    with structlog.testing.capture_logs() as events:
        async with browser(database_url, tmp_path, config={"now": lambda: now[0]}) as there:
            replies, pages = await every_way(there, now)
            await there.here.context.runtime.stop()
    secrets = there.crm.secrets() | {values_of(page).get("state", "") for page in pages} - {""}
    secrets |= {values_of(page).get("code", "") for page in pages} - {""}
    tokens = {reply.body["jwtToken"] for reply in replies if "jwtToken" in reply.body}
    assert len(secrets) > 15
    assert {each["event"] for each in events} == {"refresh_refused", "revocation_failed", "login_failed"}
    # The CRM's own lines are its affair: it is another one's server.
    ours = [record for record in caplog.records if not record.name.startswith("authlib")]
    refusal_text = {
        "logging": "".join(f"{record.getMessage()} {record.exc_info!r}" for record in ours),
        "structlog": repr(events),
        "printed": "".join(capfd.readouterr()),
        "answered": repr([(reply.raw, dict(reply.headers)) for reply in replies]),
    }
    for where, text in refusal_text.items():
        for secret in secrets | (tokens if where != "answered" else set()):
            assert secret not in text, f"{secret} in what was {where}"
            assert quote(secret, safe="") not in text


async def every_way(there: Browser, now: list[float]) -> tuple[list[Reply], list[str]]:
    """Sign-ins that succeed and fail, refreshes that do, and a log out that the CRM does not take."""
    pages = [await there.window() for _ in range(6)]
    replies = [await there.back(pages[0]), await there.back(pages[0])]
    replies.append(await there.back(pages[1] + "x"))
    replies.append(await there.back(pages[2].replace("redirect.html", "other.html")))
    there.crm.before = refusing("authorization_code", "invalid_client", 401)
    replies.append(await there.back(pages[3]))
    there.crm.before = lambda _kind: None
    there.crm.after = lost
    replies.append(await there.back(pages[4]))
    there.crm.after = lambda _kind, answer: answer
    signed_in = await there.back(pages[5])
    token = signed_in.body["jwtToken"]
    now[0] += MINUTE
    for grant in there.crm.grants:
        grant.access_revoked = True
    for error, status in (("invalid_client", 401), ("server_error", 503)):
        there.crm.before = refusing("refresh_token", error, status)
        replies.append(await there.log(token, payload("01-sms")))
    there.crm.before = lambda _kind: None
    replies.append(await there.log(token, payload("02-sms")))
    there.crm.before = refusing("revocation", "invalid_client", 401)
    replies.append(await there.here.ask("POST", f"/unAuthorize?jwtToken={token}"))
    replies.append(await there.here.ask("POST", f"/unAuthorize?jwtToken={token}"))
    return [*replies, signed_in], pages
