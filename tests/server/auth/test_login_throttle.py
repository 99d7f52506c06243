"""Requests per minute of a user, guesses per minute of an address. Who is refused sends again, and loses nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from support.live_server import ADA, GRACE, OTTO, SQLITE_ONLY, live_server, refusal
from support.requests import body, message

if TYPE_CHECKING:
    from pathlib import Path

    from support.live_server import LiveServer, Reply

pytestmark = SQLITE_ONLY


class Clock:
    """Epoch seconds that a test sets; tokens of the tests are good for two weeks from here."""

    def __init__(self) -> None:
        self.now = 1_784_000_000.0

    def __call__(self) -> float:
        return self.now


# ------------------------------------------------------------------------------------------ requests of users


def assert_refused(reply: Reply, seconds: int) -> None:
    """A 429 in the client's shape: it shows a text."""
    assert reply.status == 429
    assert reply.body == f"Too many requests. Please try again in {seconds} s."
    assert reply.headers["retry-after"] == str(seconds)
    assert reply.headers["access-control-allow-origin"] == "*"


async def test_a_user_who_asks_too_often_is_told_when_to_come_again(
    database_url: str, tmp_path: Path
) -> None:
    clock = Clock()
    async with live_server(database_url, tmp_path, now=clock, requests_per_minute=2) as here:
        here.client.headers["origin"] = "https://client.test"
        assert (await here.log(body(message(1)))).body["logIds"] == ["1"]
        assert (await here.ask("GET", f"/user/settings?jwtToken={await here.token()}")).status == 200
        assert_refused(await here.log(body(message(2))), 30)
        assert await here.states() == {"1": "logged"}, "nothing of it was accepted"
        for colleague in (GRACE, OTTO):
            assert (
                await here.ask("GET", f"/user/settings?jwtToken={await here.token(colleague)}")
            ).status == 200
        clock.now += 30
        assert (await here.log(body(message(2)))).body["logIds"] == ["2"]
        assert_refused(await here.log(body(message(2))), 30)


async def test_without_the_setting_nobody_is_refused(here: LiveServer) -> None:
    path = f"/user/settings?jwtToken={await here.token()}"
    assert {(await here.ask("GET", path)).status for _ in range(50)} == {200}


# ------------------------------------------------------------------------------------------ guesses of strangers


async def log_in(here: LiveServer, key: str, **headers: str) -> Reply:
    form = {"apiKey": key, "platform": "demo", "hostname": "crm.test"}
    return await here.ask("POST", "/apiKeyLogin", json=form, headers=headers)


async def test_keys_are_not_guessed_without_end(database_url: str, tmp_path: Path) -> None:
    clock = Clock()
    async with live_server(database_url, tmp_path, now=clock, guesses_per_minute=3) as here:
        here.client.headers["origin"] = "https://client.test"
        token = await here.token()
        for _ in range(5):
            assert (await log_in(here, ADA)).status == 200, "a good login is no guess"
        assert [(await log_in(here, f"guess-{number}")).status for number in range(3)] == [400] * 3
        here.crm.calls.clear()
        assert_refused(await log_in(here, "guess-4"), 20)
        assert_refused(await log_in(here, ADA), 20)
        assert here.crm.calls == [], "not even asked"
        assert (await here.ask("GET", f"/user/settings?jwtToken={token}")).status == 200
        clock.now += 20
        assert (await log_in(here, ADA)).status == 200


async def test_guesses_at_the_same_time_are_counted(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, now=Clock(), guesses_per_minute=3) as here:
        replies = await asyncio.gather(*(log_in(here, f"guess-{number}") for number in range(20)))
        assert sorted(reply.status for reply in replies) == [400] * 3 + [429] * 17
        assert len(here.crm.calls) == 3


async def test_a_crm_that_cannot_be_reached_counts_against_nobody(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, now=Clock(), guesses_per_minute=2) as here:
        here.crm.refuse = lambda _call: refusal(503)
        assert {(await log_in(here, ADA)).status for _ in range(5)} == {400}


async def test_tokens_are_not_guessed_without_end(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, now=Clock(), guesses_per_minute=2) as here:
        token = await here.token()
        statuses = [(await here.ask("GET", f"/user/settings?jwtToken=x{each}")).status for each in range(4)]
        assert statuses == [400, 400, 429, 429]
        assert (await here.ask("GET", "/user/settings")).status == 400, "no token is no guess"
        assert (await here.ask("GET", f"/user/settings?jwtToken={token}")).status == 200


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_proxy_says_who_guesses_when_it_is_trusted(
    database_url: str, tmp_path: Path, trusted: bool
) -> None:
    proxies = {"127.0.0.1"} if trusted else set[str]()
    config: dict[str, Any] = {"now": Clock(), "guesses_per_minute": 1}
    async with live_server(database_url, tmp_path, trusted_proxies=proxies, **config) as here:

        async def guess(address: str) -> int:
            return (await log_in(here, "guess", **{"x-forwarded-for": address})).status

        assert await guess("192.0.2.1") == 400
        assert await guess("192.0.2.1") == 429
        assert await guess("192.0.2.2") == (400 if trusted else 429)
        assert await guess("192.0.2.9, 192.0.2.1") == 429, "what stands before was said by the client"
