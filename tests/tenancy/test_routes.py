"""At no route can a user read, write or block what belongs to another tenant, platform or host.

Each does everything that can be done, with the same ids as all others. Each gets the answers that they would get if
they were alone: so nothing of the others is read, nothing stands in their way, and no answer tells whether
something unknown is another tenant's.
"""

from __future__ import annotations

import base64
import re
import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from messagelog.server.requests import SIGN_IN
from support.live_server import SQLITE_ONLY
from tenancy.people import CASES, OF_THE_SERVER, Person, neighbourhood, routes_of

if TYPE_CHECKING:
    from pathlib import Path

    from support.live_server import LiveServer

EVERYBODY = (
    ("demo", "demo-ada", ""),
    ("demo", "demo-otto", ""),
    ("second", "demo-ada", ""),
    ("second", "demo-otto", ""),
    ("hosted", "demo-ada", "north"),
    ("hosted", "demo-ada", "south"),
    ("hosted", "demo-otto", "south"),
)


def person(here: LiveServer, platform: str, key: str, host: str) -> Person:
    return Person(here, platform, key, host=host)


@SQLITE_ONLY
async def test_it_is_known_of_every_route_what_it_shows_of_whom(database_url: str, tmp_path: Path) -> None:
    async with neighbourhood(database_url, tmp_path) as here:
        assert routes_of(here.app) == {*CASES, *OF_THE_SERVER}


async def _alone(database_url: str, folder: Path) -> list[tuple[str, int, Any]]:
    async with neighbourhood(database_url, folder) as here:
        who = person(here, *EVERYBODY[0])
        for case in CASES.values():
            await case(who)
    return who.told


@pytest.fixture
def alone(tmp_path: Path, sqlite_template: Path) -> Path:
    """The folder of another server, with a database in it."""
    folder = tmp_path / "alone"
    folder.mkdir()
    shutil.copy(sqlite_template, folder / "messagelog.sqlite")
    return folder


@SQLITE_ONLY
async def test_everybody_is_answered_as_if_she_were_alone(
    database_url: str, tmp_path: Path, alone: Path
) -> None:
    expected = await _alone(f"sqlite:///{alone / 'messagelog.sqlite'}", alone)
    assert {route for route, _, _ in expected} == set(CASES)
    async with neighbourhood(database_url, tmp_path) as here:
        people = [person(here, *each) for each in EVERYBODY]
        for case in CASES.values():
            for who in people:
                await case(who)
        for who in people:
            assert _without_names(who.told) == _without_names(expected), who.tag
            heard = repr(who.told)
            assert not [each.tag for each in people if each is not who and each.tag in heard]
        await _check_crms(here, people)


async def _check_crms(here: LiveServer, people: list[Person]) -> None:
    """Each tenant's CRM has what its own user wrote, and no other user's words."""
    for who in people:
        if who.platform == "demo":
            held = repr(await here.activities(who.key))
            assert who.tag in held
            assert not [each.tag for each in people if each is not who and each.tag in held]


def _without_names(told: list[tuple[str, int, Any]]) -> list[tuple[str, int, Any]]:
    """Answers without the name of the platform, which a refusal may give."""
    return [
        (route, status, re.sub(r"(?<=[' ])(second|hosted)", "demo", repr(value)))
        for route, status, value in told
    ]


@SQLITE_ONLY
async def test_colleagues_have_settings_and_sessions_of_their_own(database_url: str, tmp_path: Path) -> None:
    async with neighbourhood(database_url, tmp_path) as here:
        ada, bea = Person(here, "demo", "demo-ada"), Person(here, "demo", "demo-ada", "u-2")
        for who in (ada, bea):
            await who.sign_in()
            await CASES["POST /user/settings"](who)
        assert (await ada.ask("GET /user/settings")).body["note"]["value"] == ada.tag
        assert (await bea.ask("GET /hostname")).body == f"{bea.tag}.test"
        await ada.ask("POST /unAuthorize")
        assert (await ada.ask("GET /hostname")).status == 401
        assert (await bea.ask("GET /user/settings")).body["note"]["value"] == bea.tag


CLAIMS = ("tenant", "platform", "id", "sid", "exp", "iss")


@SQLITE_ONLY
async def test_a_token_with_other_claims_is_no_token_at_any_route(database_url: str, tmp_path: Path) -> None:
    async with neighbourhood(database_url, tmp_path) as here:
        ada, otto = Person(here, "demo", "demo-ada"), Person(here, "demo", "demo-otto")
        await ada.sign_in()
        await otto.sign_in()
        tokens = [_altered(ada.token, claim, otto.token) for claim in CLAIMS]
        asked = 0
        for route in sorted(CASES):
            stranger = Person(here, "demo", "demo-ada")
            if (await stranger.ask(route, json={})).body != SIGN_IN:
                continue
            for token in tokens:
                stranger.token = token
                reply = await stranger.ask(route, json={})
                assert (reply.status, reply.body) == (400, SIGN_IN), route
                asked += 1
        assert asked >= 8 * len(CLAIMS)


def _altered(token: str, claim: str, other: str) -> str:
    """A token with a claim of another one, and the signature that it had."""
    head, claims, signature = token.split(".")
    values, others = _decoded(claims), _decoded(other.split(".")[1])
    values[claim] = others[claim] if others[claim] != values[claim] else f"{values[claim]}0"
    return f"{head}.{base64.urlsafe_b64encode(msgspec.json.encode(values)).rstrip(b'=').decode()}.{signature}"


def _decoded(part: str) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return values


@pytest.mark.parametrize("swapped", ["head", "claims", "signature"])
@SQLITE_ONLY
async def test_parts_of_two_tokens_make_no_third(database_url: str, tmp_path: Path, swapped: str) -> None:
    async with neighbourhood(database_url, tmp_path) as here:
        ada, otto = Person(here, "demo", "demo-ada"), Person(here, "second", "demo-otto")
        await ada.sign_in()
        await otto.sign_in()
        parts, others = ada.token.split("."), otto.token.split(".")
        index = ("head", "claims", "signature").index(swapped)
        made = [*parts[:index], others[index], *parts[index + 1 :]]
        ada.token = ".".join(made)
        status = (await ada.ask("GET /user/settings")).status
        assert status == (200 if swapped == "head" else 400), "all heads are the same"
