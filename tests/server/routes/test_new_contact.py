"""`createNewContact`: the client's word for a contact that is still being made. It never reaches the CRM."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from messagelog.core import Times
from support.live_server import SQLITE_ONLY, live_server, payload
from support.requests import JORDAN, MAYA, OMAR, body, message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.live_server import LiveServer, Reply

NINA = {"phoneNumber": "+14155550188", "name": "Nina New"}
NEW = "createNewContact"


@pytest.fixture
async def hasty(database_url: str, tmp_path: Path) -> AsyncIterator[LiveServer]:
    """A server that looks for a new contact twice, a second apart."""
    times = Times(answer=2.5, call=5.0, lease=60.0)
    async with live_server(database_url, tmp_path, times=times) as running:
        yield running


async def make_nina(here: LiveServer) -> Reply:
    form = {"phoneNumber": "+14155550188", "newContactName": "Nina New", "newContactType": "contact"}
    return await here.ask(
        "POST",
        f"/contact?jwtToken={await here.token()}",
        json={**form, "additionalSubmission": {"topic": ""}},
    )


def unheard_of(here: LiveServer) -> bool:
    """Whether the CRM was never told the client's word."""
    return all(NEW not in f"{call.path}?{call.query}{call.body!r}" for call in here.crm.calls)


async def test_the_newest_day_after_the_contact_was_made_and_the_older_day_beside_it(
    here: LiveServer,
) -> None:
    made = await make_nina(here)
    assert made.status == 200
    contact = made.body["contact"]["id"]
    newer = {**payload("12-new-contact-two-days-1"), "contactId": contact}
    older = payload("12-new-contact-two-days-2")
    assert older["contactId"] == NEW
    replies = await asyncio.gather(here.log(newer), here.log(older))
    assert [reply.body["logIds"] for reply in replies] == [["6424569011"], ["6424569012"]]
    assert {activity["contact_id"] for activity in await here.activities()} == {contact}
    assert unheard_of(here)


async def test_a_request_that_arrives_a_second_before_the_contact_is_made(here: LiveServer) -> None:
    older = asyncio.create_task(here.log(payload("12-new-contact-two-days-2")))
    await asyncio.sleep(0.7)
    contact = (await make_nina(here)).body["contact"]["id"]
    reply = await older
    assert reply.body["successful"] is True
    assert reply.body["logIds"] == ["6424569012"]
    assert (await here.only_activity())["contact_id"] == contact
    assert unheard_of(here)


@SQLITE_ONLY
async def test_a_contact_that_the_crms_search_shows_late(here: LiveServer) -> None:
    await here.token()
    await here.chaos(search_lag_ms=800)
    contact = (await make_nina(here)).body["contact"]["id"]
    reply = await here.log(payload("12-new-contact-two-days-2"))
    assert reply.body["logIds"] == ["6424569012"]
    assert (await here.only_activity())["contact_id"] == contact


@SQLITE_ONLY
async def test_no_contact_in_time_is_said_and_nothing_is_kept(hasty: LiveServer) -> None:
    started = time.monotonic()
    reply = await hasty.log(payload("12-new-contact-two-days-2"))
    assert time.monotonic() - started < 2.5
    assert reply.status == 200
    assert reply.body["successful"] is False
    assert reply.body["logIds"] == []
    assert "+14155550188" in reply.body["returnMessage"]["message"]
    assert "Create the contact" in reply.body["returnMessage"]["message"]
    assert await hasty.logs() == []
    assert hasty.crm.writes == []
    assert unheard_of(hasty)


async def test_it_can_be_logged_once_the_contact_is_there(hasty: LiveServer) -> None:
    request = payload("12-new-contact-two-days-2")
    assert (await hasty.log(request)).body["successful"] is False
    await make_nina(hasty)
    assert (await hasty.log(request)).body["logIds"] == ["6424569012"]


async def test_several_contacts_with_the_number_are_a_question_for_the_user(here: LiveServer) -> None:
    bakery = {"phoneNumber": "+14155550123"}
    reply = await here.log(body(message(1), contact=NEW, name="Somebody", correspondents=(bakery,)))
    assert reply.body["successful"] is False
    assert "2 contacts have +14155550123" in reply.body["returnMessage"]["message"]
    assert await here.logs() == []
    assert here.crm.writes == []


async def test_in_a_group_the_ids_end_in_the_contact_that_was_found(here: LiveServer) -> None:
    contact = (await make_nina(here)).body["contact"]["id"]
    stranger = {"phoneNumber": "+14155550999"}
    request = group(NINA, stranger)
    reply = await here.log(request)
    assert reply.body["logIds"] == [f"1-{contact}"]
    (log,) = await here.logs()
    assert log.key.conversation_log_id == f"conv/7/13/2026-{contact}"
    assert (await here.only_activity())["contact_id"] == contact
    again = await here.log({**request, "contactId": contact})
    assert again.body["logIds"] == [], "the same log, now that the contact is known"
    assert unheard_of(here)


async def test_in_a_group_of_known_people_the_name_tells_which_contact(here: LiveServer) -> None:
    reply = await here.log({**group(MAYA, OMAR), "contactName": "Omar Reyes"})
    assert reply.body["logIds"] == ["1-c-2"]


def group(*people: dict[str, Any]) -> dict[str, Any]:
    """A group SMS for the contact that is being made."""
    sent = message(1, "Hello both", direction="Outbound", to=list(people)) | {"from": JORDAN}
    return body(sent, contact=NEW, name="Nina New", correspondents=people)


async def test_another_contact_chosen_later_the_same_day_is_told_who_holds_the_log(here: LiveServer) -> None:
    await here.log(body(message(1, "first")))
    before = await here.only_activity()
    calls = len(here.crm.calls)
    reply = await here.log(body(message(1, "first"), message(2, "second"), contact="c-2", name="Omar Reyes"))
    assert reply.status == 200
    assert reply.body["successful"] is False
    assert reply.body["logIds"] == []
    assert "Maya Patel (c-1)" in reply.body["returnMessage"]["message"]
    assert await here.only_activity() == before
    assert len(here.crm.calls) == calls
    assert await here.states() == {"1": "logged"}
