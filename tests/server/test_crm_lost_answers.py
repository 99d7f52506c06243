"""A CRM whose answers get lost: the message is in it exactly once, and the words are right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from messagelog.core import Times
from support.live_server import SQLITE_ONLY, live_server
from support.requests import body, message, thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.live_server import LiveServer, Reply

FIRST, SECOND = message(1, "first words"), message(2, "second words")


@pytest.fixture
async def brisk(database_url: str, tmp_path: Path) -> AsyncIterator[LiveServer]:
    """A server that answers within half a second, whatever the CRM does."""
    times = Times(answer=0.5, call=5.0, lease=60.0, sweep=0.1)
    async with live_server(database_url, tmp_path, times=times) as running:
        await running.token()
        yield running


def notice(reply: Reply) -> str:
    """What the user reads."""
    assert reply.status == 200
    text: str = reply.body["returnMessage"]["message"]
    return text


async def each_once(here: LiveServer, *texts: str) -> None:
    """Every text stands once in the one activity."""
    text = (await here.only_activity())["body"]
    assert [text.count(each) for each in texts] == [1] * len(texts)


# ------------------------------------------------------------------------ applied, and not said so

APPLIED: list[dict[str, Any]] = [
    {"apply_then_status": 500},
    {"apply_then_status": 503},
    {"apply_then_status": 302},
    {"apply_then_status": 303, "external_ids": False},
    {"apply_then_status": 408},
    {"apply_then_status": 403},
    {"apply_then_status": 403, "external_ids": False},
    {"lose_response_rate": 1},
    {"apply_then_status": 502, "external_ids": False},
    {"lose_response_rate": 1, "external_ids": False},
]


@pytest.mark.parametrize("chaos", APPLIED, ids=str)
async def test_a_create_that_was_applied_is_found_and_not_repeated(
    here: LiveServer, chaos: dict[str, Any]
) -> None:
    await here.token()
    await here.chaos(**chaos)
    reply = await here.log(body(FIRST))
    assert notice(reply) == "Message logged"
    assert reply.body["logIds"] == ["1"]
    await each_once(here, "first words")
    assert len(here.crm.writes) == 1
    await here.chaos()
    assert (await here.log(body(FIRST))).body["logIds"] == []
    await each_once(here, "first words")


APPENDED = [
    {"lose_response_rate": 1, "append_only": True},
    {"apply_then_status": 303, "append_only": True},
    {"apply_then_status": 403, "append_only": True},
]


@pytest.mark.parametrize("chaos", [*APPLIED, *APPENDED], ids=str)
async def test_an_update_that_was_applied_is_read_back_and_not_repeated(
    here: LiveServer, chaos: dict[str, Any]
) -> None:
    await here.log(body(FIRST))
    await here.chaos(**chaos)
    reply = await here.log(body(FIRST, SECOND))
    assert notice(reply) == "Message logged"
    assert reply.body["logIds"] == ["2"]
    await here.chaos()
    await each_once(here, "first words", "second words")


@pytest.mark.parametrize("external_ids", [True, False])
async def test_a_create_that_was_applied_and_then_refused_for_its_credentials(
    here: LiveServer, *, external_ids: bool
) -> None:
    """The gateway before a CRM lets a write pass, and finds the key too old when the answer comes back."""
    await here.token()
    await here.chaos(apply_then_status=401, external_ids=external_ids)
    reply = await here.log(body(FIRST))
    assert "please sign in to Demo CRM again, then it is logged" in notice(reply)
    await here.chaos()
    assert (await here.states())["1"] == "unknown"
    here.tokens.clear()
    await here.token()
    await here.until_logged("1")
    await each_once(here, "first words")
    assert len(here.crm.writes) == 1, "it is asked about, and not repeated"


async def test_an_update_that_was_applied_and_then_refused_for_its_credentials(here: LiveServer) -> None:
    await here.log(body(FIRST))
    await here.chaos(apply_then_status=401)
    reply = await here.log(body(FIRST, SECOND))
    assert "please sign in to Demo CRM again, then it is logged" in notice(reply)
    await here.chaos()
    here.tokens.clear()
    await here.token()
    await here.until_logged("2")
    await each_once(here, "first words", "second words")


async def test_a_contact_that_was_made_and_then_refused_is_not_made_twice(here: LiveServer) -> None:
    path = f"/contact?jwtToken={await here.token()}"
    for status in (303, 401, 403, 408):
        name = f"Ines Weber {status}"
        form = {"phoneNumber": "+14155550199", "newContactName": name, "newContactType": "contact"}
        await here.chaos(apply_then_status=status)
        assert (await here.ask("POST", path, json=form)).status == 502
        await here.chaos()
        reply = await here.ask("POST", path, json=form)
        assert reply.status == 200
        assert reply.body["contact"]["name"] == name
    assert [call.path for call in here.crm.writes] == ["/api/contacts"] * 4


async def test_a_shared_thread_whose_answers_get_lost(here: LiveServer) -> None:
    await here.token()
    await here.chaos(lose_response_rate=1)
    assert notice(await here.log(thread("first words"))) == "Message logged"
    assert notice(await here.log(thread("first words", "second words"))) == "Message logged"
    await here.chaos()
    await each_once(here, "first words", "second words")


# ------------------------------------------------------------------------ not applied


@SQLITE_ONLY
@pytest.mark.parametrize("chaos", [{"drop_request_rate": 1}, {"failure_rate": 1, "status": 503}], ids=str)
async def test_what_cannot_be_told_is_accepted_and_logged_once_the_crm_is_back(
    brisk: LiveServer, chaos: dict[str, Any]
) -> None:
    await brisk.chaos(**chaos)
    reply = await brisk.log(body(FIRST))
    assert reply.body["successful"] is True
    assert reply.body["logIds"] == ["1"]
    assert reply.body["returnMessage"]["messageType"] == "warning"
    assert "background" in notice(reply)
    await brisk.chaos()
    await brisk.until_logged("1")
    await each_once(brisk, "first words")
