"""What App Connect's client really sent, over HTTP, and what the CRM holds afterwards."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from support.live_server import payload

if TYPE_CHECKING:
    from support.live_server import LiveServer

LOGGED = {"message": "Message logged", "messageType": "success", "ttl": 1000}
VIEWER = "https://ringcentral.github.io/ringcentral-media-reader/?media="

# The captured request, and the ids that the captured answer had.
ONE_BY_ONE = [
    ("01-sms", ["6424569001"]),
    ("04-sms-auto", ["6424569004"]),
    ("05-voicemail", ["6424569005"]),
    ("06-fax-inbound", ["6424569006"]),
    ("07-fax-outbound", ["6424569007"]),
    ("08-mms", ["6424569008"]),
    ("09-group-sms-outbound", ["6424569009-c-1"]),
    ("10-group-sms-inbound", ["6424569009-c-2", "6424569010-c-2"]),
    ("11-shared-sms-thread", ["64f0a1c2-77aa-4f0e-9b7e-3d1f0c2b7e11"]),
]


def media_at(number: int, host: str = "media", part: int | None = None) -> str:
    """A link to the viewer of a message's media."""
    path = (
        f"account%2F178009004%2Fextension%2F178010005%2Fmessage-store%2F{number}%2Fcontent%2F{part or number}"
    )
    return f"{VIEWER}https%3A%2F%2F{host}.ringcentral.com%2Frestapi%2Fv1.0%2F{path}"


@pytest.mark.parametrize(("name", "ids"), ONE_BY_ONE, ids=[name for name, _ in ONE_BY_ONE])
async def test_a_captured_request_is_logged_once_and_known_when_it_comes_again(
    here: LiveServer, name: str, ids: list[str]
) -> None:
    request = payload(name)
    first = await here.log(request)
    assert first.status == 200
    assert first.body == {"successful": True, "logIds": ids, "returnMessage": LOGGED}

    activity = await here.only_activity()
    assert activity["contact_id"] == request["contactId"]
    assert activity["fields"] == request["additionalSubmission"], "the manifest's custom fields"
    assert activity["created_by"] == "u-ada"

    calls = len(here.crm.calls)
    again = await here.log(request)
    assert again.status == 200
    assert again.body["successful"] is True
    assert again.body["logIds"] == []
    assert again.body["returnMessage"]["messageType"] == "success"
    assert len(here.crm.calls) == calls, "what is known needs no call"
    assert await here.only_activity() == activity


async def test_an_sms_shows_who_wrote_what_and_when_in_the_users_zone(here: LiveServer) -> None:
    await here.log(payload("01-sms"))
    assert (await here.only_activity())["body"].splitlines() == [
        "Conversation with Maya Patel (+14155550142)",
        "  Agent: Jordan Lee",
        "  Date: 2026-07-13",
        "  Messages: 1 SMS",
        "  Times in America/Los_Angeles",
        "",
        "[2026-07-13 8:00 PM PDT] Maya Patel",
        "  Can you send the renewal options?",
    ]


async def test_the_same_day_again_newest_first_adds_the_new_message_alone(here: LiveServer) -> None:
    await here.log(payload("01-sms"))
    reply = await here.log(payload("02-sms-same-day"))
    assert reply.body == {"successful": True, "logIds": ["6424569002"], "returnMessage": LOGGED}

    activity = await here.only_activity()
    body = activity["body"]
    assert body.count("Can you send the renewal options?") == 1
    assert body.index("Can you send the renewal options?") < body.index("Here they are.")
    assert "Jordan Lee" in body
    assert activity["fields"] == {"matter": "m-2", "billable": True, "topic": ""}, "the last form's"


async def test_two_days_at_once_are_two_activities(here: LiveServer) -> None:
    newer, older = await asyncio.gather(
        here.log(payload("03-sms-two-days-1")), here.log(payload("03-sms-two-days-2"))
    )
    assert newer.body == {"successful": True, "logIds": ["6424569003"], "returnMessage": LOGGED}
    assert older.body == {"successful": True, "logIds": ["6424569001", "6424569002"], "returnMessage": LOGGED}
    first, second = sorted([activity["body"] for activity in await here.activities()], key=first_day)
    assert "Here they are." in first
    assert "Thank you! 🙏 <ok>" in second


async def test_the_captured_requests_in_their_order_have_the_captured_answers(here: LiveServer) -> None:
    assert (await here.log(payload("01-sms"))).body["logIds"] == ["6424569001"]
    assert (await here.log(payload("02-sms-same-day"))).body["logIds"] == ["6424569002"]
    newer, older = await asyncio.gather(
        here.log(payload("03-sms-two-days-1")), here.log(payload("03-sms-two-days-2"))
    )
    assert newer.body["logIds"] == ["6424569003"]
    assert older.body["logIds"] == []
    assert older.body["successful"] is True
    assert len(await here.activities()) == 2


async def test_a_voicemail_has_its_length_its_words_and_its_recording(here: LiveServer) -> None:
    await here.log(payload("05-voicemail"))
    body = (await here.only_activity())["body"]
    assert "Voicemail" in body
    assert "Hi, this is Maya. Please call me back." in body
    assert media_at(6424569005) in body
    assert "25" in body


@pytest.mark.parametrize(("name", "number"), [("06-fax-in", 6424569006), ("07-fax-out", 6424569007)])
async def test_a_fax_has_its_document_and_no_access_token(here: LiveServer, name: str, number: int) -> None:
    request = payload(name)
    await here.log(request)
    activity = await here.only_activity()
    assert media_at(number) in activity["body"]
    assert "2 pages" in activity["body"]
    assert request["logInfo"]["rcAccessToken"] not in str(activity)


async def test_an_mms_has_a_link_for_every_attachment(here: LiveServer) -> None:
    await here.log(payload("08-mms"))
    body = (await here.only_activity())["body"]
    assert "See the photo" in body
    assert media_at(6424569008, part=64245690081) in body, "the picture"
    assert media_at(6424569008, part=64245690082) in body, "the video"
    assert body.count(VIEWER) == 2, "the text is no attachment"


async def test_a_group_may_be_logged_for_a_second_contact(here: LiveServer) -> None:
    await here.log(payload("09-group"))
    reply = await here.log(payload("10-group"))
    assert reply.body == {
        "successful": True,
        "logIds": ["6424569009-c-2", "6424569010-c-2"],
        "returnMessage": LOGGED,
    }
    for_maya, for_omar = await here.activities()
    assert (for_maya["contact_id"], for_omar["contact_id"]) == ("c-1", "c-2")
    assert "Hello both" in for_maya["body"]
    assert "Reply to all" not in for_maya["body"]
    assert for_omar["body"].index("Hello both") < for_omar["body"].index("Reply to all")
    assert "Maya Patel" in for_omar["body"], "whoever else takes part is named"


async def test_a_groups_other_correspondents_are_looked_up(here: LiveServer) -> None:
    await here.log(payload("09-group"))
    asked = [call.query for call in here.crm.calls if call.path == "/api/contacts"]
    assert asked == ["phone=%2B14155550142", "phone=%2B14155550177"]


async def test_a_shared_thread_is_one_activity_with_notes_and_assignments(here: LiveServer) -> None:
    await here.log(payload("11-shared"))
    body = (await here.only_activity())["body"]
    told = ["Is anyone there?", "VIP, call back", "Yes, how can I help?", "Great, thanks"]
    places = [body.index(each) for each in told]
    assert places == sorted(places)
    assert "Support Queue" in body
    assert "Sam Ortiz" in body


async def test_a_newer_snapshot_of_a_shared_thread_updates_its_activity(here: LiveServer) -> None:
    request = payload("11-shared")
    await here.log(request)
    newer = with_reply(request, "9007", "One more thing", 1784218260000)
    reply = await here.log(newer)
    assert reply.body == {"successful": True, "logIds": [], "returnMessage": LOGGED}
    body = (await here.only_activity())["body"]
    assert [body.count(each) for each in ("Great, thanks", "One more thing")] == [1, 1]

    calls = len(here.crm.calls)
    older = await here.log(request)
    assert (older.body["successful"], older.body["logIds"]) == (True, [])
    assert len(here.crm.calls) == calls, "an older snapshot is answered without a call"
    assert (await here.only_activity())["body"] == body


def with_reply(request: dict[str, Any], id_: str, text: str, at: int) -> dict[str, Any]:
    """The thread with one more message in it."""
    info = request["logInfo"]
    entity = {**info["messages"][0], "id": id_, "text": text, "subject": text}
    entity |= {"creationTime": at, "lastModifiedTime": at}
    longer = {"messages": [*info["messages"], entity], "entities": [*info["entities"], entity]}
    return {**request, "logInfo": {**info, **longer, "lastModifiedTime": at}}


def first_day(body: str) -> str:
    """The day that an activity begins with."""
    return body.splitlines()[2]
