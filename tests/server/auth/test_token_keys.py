"""Session tokens while secret keys change, and tokens that say odd things about the key that signed them."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messagelog.core import User
from messagelog.server.auth.oauth_state import BadState, OAuthState, OAuthStates
from messagelog.server.auth.session_tokens import SessionTokens
from messagelog.server.requests import SIGN_IN
from messagelog.storage import Sealer, open_store, transactions
from messagelog.storage.encryption.rotation import rotate
from support.live_server import SECRET, SQLITE_ONLY, live_server, payload

if TYPE_CHECKING:
    from pathlib import Path

    from support.live_server import LiveServer, Reply

NEW = "the secret key that comes after, 0123456789"
HEADER = "x-refreshed-jwt-token"
DAY = 86_400
ADA = User("acme", "demo", "u-ada", "Ada", "", None, None, "session-1")
BEFORE, RING, AFTER = Sealer(SECRET).token_keys, Sealer(NEW, [SECRET]).token_keys, Sealer(NEW).token_keys
CLAIMS = {
    "iss": "messagelog",
    "id": "u-ada",
    "platform": "demo",
    "tenant": "acme",
    "sid": "session-1",
    "iat": int(time.time()),
    "exp": int(time.time()) + 14 * DAY,
}


def head_of(token: str) -> dict[str, Any]:
    head: dict[str, Any] = jwt.get_unverified_header(token)
    return head


async def log(here: LiveServer, token: str) -> Reply:
    return await here.ask("POST", f"/messageLog?jwtToken={token}", json=payload("01-sms"))


# -------------------------------------------------------------------------------------------- the overlap


@SQLITE_ONLY
async def test_tokens_of_an_old_key_work_and_are_replaced_until_it_is_removed(
    database_url: str, tmp_path: Path
) -> None:
    async with live_server(database_url, tmp_path) as here:
        old = await here.token()
        assert HEADER not in (await log(here, old)).headers
    async with live_server(database_url, tmp_path, secrets=(SECRET, NEW)) as here:
        assert HEADER not in (await log(here, old)).headers, "the new key is known, and not the newest yet"
    async with live_server(database_url, tmp_path, secrets=(NEW, SECRET)) as here:
        reply = await log(here, old)
        assert reply.status == 200
        new = reply.headers[HEADER]
        assert head_of(new) == {"alg": "HS256", "typ": "JWT", "kid": AFTER.newest}
        assert HEADER not in (await log(here, new)).headers
    async with live_server(database_url, tmp_path, secrets=(SECRET, NEW)) as here:
        assert (await log(here, new)).status == 200, "a server that has not been restarted yet"
    store = await open_store(database_url)
    await rotate(store, Sealer(NEW, [SECRET]))
    await store.close()
    async with live_server(database_url, tmp_path, secrets=(NEW,)) as here:
        assert (await log(here, new)).status == 200
        refused = await log(here, old)
        assert (refused.status, refused.body) == (400, SIGN_IN)
        assert HEADER not in refused.headers


@SQLITE_ONLY
async def test_an_operator_ends_sessions_under_any_key_at_once(here: LiveServer) -> None:
    """A token that was verified is remembered; that it was is not all that counts."""
    token = await here.token()
    assert (await log(here, token)).status == 200
    key = ("acme", "demo", "u-ada")
    ended = await here.context.store.write(
        lambda: transactions.end_sessions([key], session_id="another", forget=False)
    )
    assert ended == 1
    assert (await log(here, token)).status == 401
    here.tokens.clear()
    assert (await log(here, await here.token())).status == 200


def test_a_remembered_token_ends_when_it_ends() -> None:
    now = 1_000_000.0
    tokens = SessionTokens(RING, clock=lambda: now)
    token = SessionTokens(BEFORE, clock=lambda: now).issue(ADA)
    assert tokens.read(token) is not None
    now += 14 * DAY - 1
    assert tokens.read(token) is not None
    now += 1
    assert tokens.read(token) is None


@pytest.mark.parametrize("keys", [RING, AFTER, BEFORE])
def test_a_token_without_a_key_id_is_good_with_the_key_that_made_it(keys: Any) -> None:
    """Older tokens, which do not name their key."""
    for made_with in (BEFORE, AFTER):
        token = jwt.encode(CLAIMS, made_with.signing, algorithm="HS256")
        claims = SessionTokens(keys).read(token)
        assert (claims is not None) == (made_with.newest in keys.by_id)
        if claims is not None:
            assert claims.key_id == made_with.newest
            assert (SessionTokens(keys).renewal(ADA, claims) is None) == (made_with.newest == keys.newest)


def test_a_token_is_tried_with_the_key_that_it_names_alone() -> None:
    for made_with, named in ((BEFORE, AFTER), (AFTER, BEFORE)):
        token = jwt.encode(CLAIMS, made_with.signing, algorithm="HS256", headers={"kid": named.newest})
        assert SessionTokens(RING).read(token) is None


@SQLITE_ONLY
async def test_a_sign_in_that_began_under_an_old_key_comes_to_its_end(database_url: str) -> None:
    store = await open_store(database_url)
    text, begun = OAuthStates(Sealer(SECRET).state_keys, store).issue("oauth-crm")
    after = OAuthStates(Sealer(NEW, [SECRET]).state_keys, store)
    with pytest.raises(BadState):
        await OAuthStates(Sealer(NEW).state_keys, store).take(text)
    assert await after.take(text) == begun, "with PKCE's secret of then"
    await store.close()


# ------------------------------------------------------------------------------------------ odd tokens


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forge_token(head: Any, key: bytes = RING.signing) -> str:
    """A token with a head of our choice and a good HMAC (SHA-256) of ours."""
    signed = f"{part(head)}.{part(CLAIMS)}"
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(signed.encode(), key)
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_the_forger_of_these_tests_can_make_a_good_one() -> None:
    assert SessionTokens(RING).read(forge_token({"alg": "HS256"})) is not None
    assert SessionTokens(RING).read(forge_token({"alg": "HS256", "kid": RING.newest})) is not None


@pytest.mark.parametrize(
    "alg", ["none", "None", "", "RS256", "ES256", "PS256", "EdDSA", "HS384", "HS512", "hs256", None, 7, []]
)
@pytest.mark.parametrize("kid", [{}, {"kid": RING.newest}])
def test_a_signature_of_ours_is_no_good_under_another_algorithm(alg: Any, kid: dict[str, str]) -> None:
    assert SessionTokens(RING).read(forge_token({"alg": alg, **kid})) is None


@pytest.mark.parametrize(("alg", "size"), [("HS384", 48), ("HS512", 64)])
def test_other_sizes_of_the_hash_are_refused(alg: str, size: int) -> None:
    long = RING.signing.ljust(size, b"\0")  # HMAC takes a key with zeros behind it for the same key
    for kid in ({}, {"kid": RING.newest}):
        assert SessionTokens(RING).read(jwt.encode(CLAIMS, long, algorithm=alg, headers=kid)) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    json_values
    | st.sampled_from(
        [
            "../../dev/null",
            "' OR 1=1 --",
            RING.newest.upper(),
            f" {RING.newest}",
            f"{RING.newest}\0",
            RING.newest[:-2],
        ]
    )
)
def test_a_token_under_a_key_that_is_not_ours_is_refused_whatever_it_is_called(kid: Any) -> None:
    assert kid not in list(RING.by_id)
    assert SessionTokens(RING).read(forge_token({"alg": "HS256", "kid": kid})) is None


@given(json_values, json_values, st.binary(max_size=40))
def test_nothing_that_is_no_token_raises(head: Any, claims: Any, signature: bytes) -> None:
    tail = base64.urlsafe_b64encode(signature).decode()
    tokens = SessionTokens(RING)
    for text in (
        f"{part(head)}.{part(claims)}.{tail}",
        f"{part(head)}.{part(claims)}",
        f"{part(head)}..{tail}",
    ):
        assert tokens.read(text) is None


@given(json_values)
def test_claims_that_are_signed_and_odd_raise_nothing(odd: Any) -> None:
    for name in ("tenant", "platform", "id", "sid", "exp"):
        claims = SessionTokens(RING).read(jwt.encode({**CLAIMS, name: odd}, RING.signing, algorithm="HS256"))
        assert claims is None or isinstance(odd, str | int)


@pytest.mark.parametrize("letters", [8_193, 20_000, 5_000_000])
def test_a_huge_token_is_not_looked_into(letters: int) -> None:
    good = SessionTokens(RING).issue(ADA)
    assert SessionTokens(RING).read(good) is not None
    padded = jwt.encode({**CLAIMS, "x": "x" * letters}, RING.signing, algorithm="HS256")
    assert SessionTokens(RING).read(padded) is None
    assert SessionTokens(RING).read(f"{'[' * letters}.{'.' * letters}") is None


@SQLITE_ONLY
async def test_many_requests_with_an_old_key_are_all_answered(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path) as here:
        old = await here.token()
    async with live_server(database_url, tmp_path, secrets=(NEW, SECRET)) as here:
        replies = await asyncio.gather(*(log(here, old) for _ in range(8)))
        assert {reply.status for reply in replies} == {200}
        assert all(reply.headers[HEADER] for reply in replies)


def test_the_secret_of_a_sign_in_is_not_shown() -> None:
    assert "hush" not in repr(OAuthState("demo", "a state", "hush"))
