"""Weaknesses that the reference has, and that no other test here is about."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import jwt

from messagelog.server.requests import SIGN_IN
from messagelog.storage import Sealer
from support.live_server import CLIENT_HEADERS, SECRET, SQLITE_ONLY

if TYPE_CHECKING:
    from support.live_server import LiveServer

pytestmark = SQLITE_ONLY


async def test_the_hash_of_an_account_opens_nothing(here: LiveServer) -> None:
    token = await here.token()
    told = {"userSettings": {"note": {"value": "hers"}}}
    await here.ask("POST", f"/user/settings?jwtToken={token}", json=told)
    ids = "extensionId=178010005&accountId=178009004"
    hashes = (await here.ask("GET", f"/userInfoHash?{ids}")).body
    for id_ in ("178009004", hashes["accountId"], CLIENT_HEADERS["rc-account-id"], "unknown"):
        reply = await here.ask("GET", f"/user/preloadSettings?rcAccountId={id_}")
        assert (reply.status, reply.body) == (200, {})


async def test_a_hash_cannot_be_made_without_the_servers_key(here: LiveServer) -> None:
    hashes = (await here.ask("GET", "/userInfoHash?extensionId=178010005&accountId=178009004")).body
    for text in ("178009004", "178009004:", "accountId:178009004", "undefined:"):
        assert hashlib.sha256(text.encode()).hexdigest() not in hashes.values()


async def test_a_token_that_never_ends_is_none(here: LiveServer) -> None:
    key = Sealer(SECRET).token_keys.signing
    claims = jwt.decode(await here.token(), key, algorithms=["HS256"])
    del claims["exp"]
    endless = jwt.encode(claims, key, algorithm="HS256")
    reply = await here.ask("GET", f"/user/settings?jwtToken={endless}")
    assert (reply.status, reply.body) == (400, SIGN_IN)


async def test_a_token_of_no_algorithm_is_none(here: LiveServer) -> None:
    key = Sealer(SECRET).token_keys.signing
    claims = jwt.decode(await here.token(), key, algorithms=["HS256"])
    unsigned = jwt.encode(claims, "", algorithm="none")
    reply = await here.ask("GET", f"/user/settings?jwtToken={unsigned}")
    assert (reply.status, reply.body) == (400, SIGN_IN)
