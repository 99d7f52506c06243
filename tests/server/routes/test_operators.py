"""Operators sign in, see what their roles allow, and are out at once when their session ends."""

from __future__ import annotations

import hashlib
import itertools
import re
from typing import TYPE_CHECKING, Any

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from messagelog.core.operators.accounts import Role, check_name, local_operator
from messagelog.core.operators.passwords import Passwords
from messagelog.messages import BadRequest
from messagelog.server.openapi.operations import Access
from messagelog.storage import transactions
from messagelog.storage.transactions.operators import IDLE_MS, SESSION_MS
from storage.journal import Clock, everything
from support.live_server import CHEAP, SQLITE_ONLY, live_server
from support.openapi_validation import ROUTES

if TYPE_CHECKING:
    from pathlib import Path

    from support.live_server import LiveServer, Reply

PASSWORD = "correct horse battery"
BY = local_operator("test")
EVERY_SET = [set(roles) for count in range(4) for roles in itertools.combinations(Role, count)]
OPERATORS_ROUTES = sorted(route for route, each in ROUTES.items() if each.access is Access.OPERATOR)
NEEDED: dict[str, set[Role]] = {
    "GET /operators/me": set(),
    "DELETE /operators/session": set(),
    "DELETE /operators/sessions": set(),
    "POST /operators/erase/user": {Role.ADMINISTER},
    "POST /operators/erase/tenant": {Role.ADMINISTER},
    "POST /operators/tenants": set(),
    "POST /operators/tenants/move": {Role.ADMINISTER},
    "POST /operators/export": {Role.ADMINISTER, Role.TEXT},
    "POST /operators/inbox": set(),
    "POST /operators/inbox/causes": set(),
    "POST /operators/inbox/entry": set(),
    "POST /operators/inbox/export": set(),
    "POST /operators/inbox/retry": {Role.ACT},
    "POST /operators/inbox/retry-some": {Role.ACT},
    "POST /operators/inbox/link": {Role.ACT},
    "POST /operators/inbox/done": {Role.ACT},
}
"""Which roles each route needs."""


async def sign_in(here: LiveServer, name: str, password: str = PASSWORD, **headers: str) -> Reply:
    form = {"name": name, "password": password}
    return await here.ask("POST", "/operators/session", json=form, headers=headers)


async def me(here: LiveServer, headers: dict[str, str]) -> Reply:
    return await here.ask("GET", "/operators/me", headers=headers)


# ------------------------------------------------------------------------------------------------- sessions


async def test_an_operator_signs_in_and_out(here: LiveServer, database_url: str) -> None:
    await here.context.operators.add(BY, "Grace", PASSWORD, [Role.TEXT, Role.ACT])
    reply = await sign_in(here, "GRACE")
    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-store"
    assert reply.body["roles"] == ["act", "text"]
    token = reply.body["token"]
    headers = {"authorization": f"Bearer {token}"}
    assert (await me(here, headers)).body == {"name": "grace", "roles": ["act", "text"]}
    kept = repr(everything(database_url))
    assert token not in kept
    assert PASSWORD not in kept
    assert hashlib.sha256(token.encode()).hexdigest() in kept
    assert (await here.ask("DELETE", "/operators/session", headers=headers)).body == {"ended": 1}
    assert (await me(here, headers)).status == 401


async def test_a_session_ends_at_once_wherever_it_is_ended(here: LiveServer) -> None:
    first = await here.operator("grace")
    again = {"authorization": f"Bearer {(await sign_in(here, 'grace')).body['token']}"}
    other = await here.operator("hedy")
    assert (await here.ask("DELETE", "/operators/sessions", headers=first)).body == {"ended": 2}
    assert [(await me(here, each)).status for each in (first, again, other)] == [401, 401, 200]
    operators = here.context.operators
    assert await operators.end_sessions(BY, "hedy") == 1
    assert (await me(here, other)).status == 401
    other = {"authorization": f"Bearer {(await sign_in(here, 'hedy')).body['token']}"}
    await operators.change_password(BY, "hedy", "another horse battery")
    assert (await me(here, other)).status == 401
    assert (await sign_in(here, "hedy")).status == 401
    other = {
        "authorization": f"Bearer {(await sign_in(here, 'hedy', 'another horse battery')).body['token']}"
    }
    await operators.change_roles(BY, "hedy", [Role.ACT])
    assert (await me(here, other)).body["roles"] == ["act"]
    await operators.remove(BY, "hedy")
    assert (await me(here, other)).status == 401
    await operators.add(BY, "hedy", "another horse battery", [])
    assert (await me(here, other)).status == 401, "nor does it come back with the name"


@SQLITE_ONLY
async def test_a_session_ends_after_twelve_hours_and_after_one_without_use(
    database_url: str, tmp_path: Path
) -> None:
    clock = Clock()
    async with live_server(database_url, tmp_path, clock=clock) as here:
        idle = await here.operator("grace")
        used = await here.operator("hedy")
        clock.forward(IDLE_MS // 2)
        assert (await me(here, used)).status == 200
        clock.forward(IDLE_MS // 2)
        assert (await me(here, idle)).status == 401
        for _ in range(SESSION_MS // IDLE_MS * 2 - 3):
            assert (await me(here, used)).status == 200
            clock.forward(IDLE_MS // 2)
        clock.forward(IDLE_MS // 2 - 1)
        assert (await me(here, used)).status == 200
        clock.forward(1)
        assert (await me(here, used)).status == 401


@SQLITE_ONLY
async def test_what_is_no_operators_token_is_answered_401(here: LiveServer) -> None:
    token = (await here.operator("grace", *Role))["authorization"].removeprefix("Bearer ")
    users = await here.token()
    assert (await here.ask("GET", f"/operators/me?token={token}&jwtToken={token}")).status == 401
    for value in ("", "Bearer", f"Basic {token}", f"Bearer {token}x", f"Bearer {users}", token):
        reply = await me(here, {"authorization": value})
        assert (reply.status, reply.body) == (401, "Please sign in as an operator.")
        assert reply.headers["www-authenticate"] == "Bearer"
    assert (await here.ask("GET", f"/user/settings?jwtToken={token}")).status == 400, "nor is it a user's"


@SQLITE_ONLY
async def test_every_route_of_operators_says_which_roles_it_needs(here: LiveServer) -> None:
    assert NEEDED.keys() == set(OPERATORS_ROUTES)
    for number, roles in enumerate(EVERY_SET):
        for route, needed in NEEDED.items():
            headers = await here.operator(f"o{number}-{OPERATORS_ROUTES.index(route)}", *roles)
            method, _, path = route.partition(" ")
            body: Any = None if ROUTES[route].body is None else {}
            nobody = await here.ask(method, path, json=body)
            assert nobody.status == 401, f"{route} without a token"
            reply = await here.ask(method, path, json=body, headers=headers)
            assert (reply.status == 403) is not (needed <= roles), f"{route} with {roles}: {reply.status}"


# ------------------------------------------------------------------------------------------------- signing in


@SQLITE_ONLY
async def test_an_unknown_name_and_a_wrong_password_are_answered_alike(here: LiveServer) -> None:
    await here.context.operators.add(BY, "grace", PASSWORD, [])
    answers = {
        (reply.status, reply.raw)
        for reply in (
            await sign_in(here, "grace", "wrong horse battery"),
            await sign_in(here, "nobody"),
            await sign_in(here, "local:root"),
            await sign_in(here, "\0"),
        )
    }
    assert answers == {(401, b'"The name or the password is wrong."')}


class Counting(PasswordHasher):
    """Counts what was verified."""

    verified = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override] # noqa: A002 - its name
        self.verified += 1
        return super().verify(hash, password)


async def test_an_unknown_name_takes_a_hash_as_well() -> None:
    hasher = Counting(time_cost=1, memory_cost=8, parallelism=1)
    passwords = Passwords(hasher)
    hashed = await passwords.hash(PASSWORD)
    for known, password in ((hashed, "wrong"), (None, PASSWORD), ("no hash", PASSWORD)):
        assert not (await passwords.verify(known, password)).right
    assert hasher.verified == 3
    passwords.close()


@SQLITE_ONLY
async def test_who_guesses_has_to_wait_and_others_do_not(database_url: str, tmp_path: Path) -> None:
    now = [1_000_000.0]
    async with live_server(database_url, tmp_path, now=lambda: now[0]) as here:
        await here.context.operators.add(BY, "grace", PASSWORD, [])
        await here.context.operators.add(BY, "hedy", PASSWORD, [])
        assert [(await sign_in(here, "grace", "wrong")).status for _ in range(5)] == [401] * 5
        refused = await sign_in(here, "grace")
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert (await sign_in(here, "hedy")).status == 200
        now[0] += 1
        assert (await sign_in(here, "grace", "wrong")).status == 401
        assert (await sign_in(here, "grace")).headers["retry-after"] == "2"
        now[0] += 2
        assert (await sign_in(here, "grace")).status == 200
        assert [(await sign_in(here, "grace", "wrong")).status for _ in range(3)] == [401] * 3


@SQLITE_ONLY
async def test_the_addresses_that_one_customer_has_of_ipv6_wait_together(
    database_url: str, tmp_path: Path
) -> None:
    async with live_server(
        database_url, tmp_path, trusted_proxies=["127.0.0.1"], now=lambda: 1_000_000.0
    ) as here:
        await here.context.operators.add(BY, "grace", PASSWORD, [])
        for last in range(5):
            reply = await sign_in(here, "grace", "wrong", **{"x-forwarded-for": f"2001:db8:0:1::{last}"})
            assert reply.status == 401
        same, other = "2001:db8:0:1:ffff::1", "2001:db8:0:2::1"
        assert (await sign_in(here, "grace", **{"x-forwarded-for": same})).status == 429
        assert (await sign_in(here, "grace", **{"x-forwarded-for": other})).status == 200


@SQLITE_ONLY
async def test_a_password_is_hashed_anew_when_the_parameters_have_changed(
    database_url: str, tmp_path: Path
) -> None:
    async with live_server(database_url, tmp_path) as here:
        await here.operator("grace")
    newer = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    async with live_server(database_url, tmp_path, passwords=lambda: Passwords(newer)) as here:
        before = await here.context.store.read(lambda: transactions.find_operator("grace"))
        for _ in range(2):
            assert (await sign_in(here, "grace")).status == 200
        after = await here.context.store.read(lambda: transactions.find_operator("grace"))
    assert before is not None
    assert after is not None
    assert (CHEAP.check_needs_rehash(before[0]), newer.check_needs_rehash(before[0])) == (False, True)
    assert not newer.check_needs_rehash(after[0])


@SQLITE_ONLY
async def test_pages_of_other_origins_get_nothing(here: LiveServer) -> None:
    origin = {"origin": "https://evil.example"}
    asked = {"access-control-request-method": "GET", "access-control-request-headers": "authorization"}
    preflight = await here.ask("OPTIONS", "/operators/me", headers={**origin, **asked})
    answer = await me(here, {**origin, **await here.operator("grace")})
    for reply in (preflight, answer):
        assert not [name for name in reply.headers if name.lower().startswith("access-control-")]
    assert (await sign_in(here, "grace", **{"sec-fetch-site": "cross-site"})).status == 403


# --------------------------------------------------------------------------------------------------- accounts


_PLAIN = re.compile("[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@given(st.text(max_size=80) | st.from_regex(_PLAIN))
def test_a_name_is_plain_or_refused(name: str) -> None:
    try:
        checked = check_name(name)
    except BadRequest:
        assert _PLAIN.fullmatch(name) is None
        return
    assert checked == name.lower()
    assert not checked.startswith("local:")
    assert checked.isascii()
    assert checked.isprintable()
    assert not set(checked) & set(" :/\\'\"<>\t\n")


@SQLITE_ONLY
@pytest.mark.parametrize(
    "password", ["", "short", "x" * 1025, "aaaaaaaaaaaaaaaa", "my name is grace!", "ab" * 10]
)
async def test_a_weak_password_is_refused_and_never_quoted(here: LiveServer, password: str) -> None:
    with pytest.raises(BadRequest) as refused:
        await here.context.operators.add(BY, "grace", password, [])
    assert refused.value.path == "password"
    assert not password or password not in str(refused.value)
    assert await here.context.operators.all() == []


async def test_a_password_is_the_same_however_a_keyboard_writes_it() -> None:
    passwords = Passwords(CHEAP)
    hashed = await passwords.hash("caf\u00e9 caf\u00e9 noir")
    assert (await passwords.verify(hashed, "cafe\u0301 cafe\u0301 noir")).right
    passwords.close()


@SQLITE_ONLY
async def test_the_longest_password_is_good_however_it_is_written_and_a_longer_one_is_not(
    here: LiveServer,
) -> None:
    await here.context.operators.add(BY, "grace", "ecaf\u00e9" * 204, [])
    for password, status in (
        ("ecaf\u00e9" * 204, 200),
        ("ecafe\u0301" * 204, 200),
        ("ecaf\u00e9" * 205, 401),
    ):
        assert (await sign_in(here, "grace", password)).status == status
