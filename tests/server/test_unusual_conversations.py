"""Conversations that are out of the ordinary, and still logged as they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from messagelog.connectors import Session, UserInfo
from support.live_server import SQLITE_ONLY, FastDemoConnector, live_server, payload
from support.requests import START, body, message, thread

if TYPE_CHECKING:
    from pathlib import Path

    from support.live_server import LiveServer


# ------------------------------------------------------------------------------------------ ids


async def test_no_conversation_log_id_is_derived_from_conversation_and_day(here: LiveServer) -> None:
    for number, conversation in enumerate(["one", "two"], start=1):
        request = body(message(number, f"of {conversation}"), conversation=conversation)
        del request["logInfo"]["conversationLogId"]
        assert (await here.log(request)).body["logIds"] == [str(number)]
    assert len(await here.activities()) == 2, "unrelated conversations are not merged"
    assert {log.key.conversation_log_id for log in await here.logs()} == {"one/2026-07-13", "two/2026-07-13"}


async def test_a_conversation_log_id_that_is_a_number_is_compared_as_text(here: LiveServer) -> None:
    request = body(message(1, "first"))
    request["logInfo"]["conversationLogId"] = 8031152018338945839
    await here.log(request)
    request = body(message(1, "first"), message(2, "second"))
    request["logInfo"]["conversationLogId"] = "8031152018338945839"
    assert (await here.log(request)).body["logIds"] == ["2"]
    assert (await here.only_activity())["body"].count("first") == 1


async def test_the_same_message_id_twice_in_one_request_is_logged_once(here: LiveServer) -> None:
    reply = await here.log(body(message(1, "only once"), message("1", "only once"), message(2, "another")))
    assert reply.body["logIds"] == ["1", "2"]
    assert (await here.only_activity())["body"].count("only once") == 1


async def test_ids_above_2_to_the_53_as_numbers_are_exact(here: LiveServer) -> None:
    numbers = [2**53 + 1, 2**53 + 2, 2**63, 10**40 + 1]
    reply = await here.log(body(*[message(each, f"text {each}", at=START) for each in numbers]))
    assert sorted(reply.body["logIds"]) == sorted(str(each) for each in numbers)
    assert sorted(await here.states()) == sorted(str(each) for each in numbers)


@SQLITE_ONLY
async def test_the_same_message_on_another_platform_is_another_message(
    database_url: str, tmp_path: Path
) -> None:
    class Second(FastDemoConnector):
        name: ClassVar[str] = "second"

    async with live_server(database_url, tmp_path, more={"second": Second("http://set.below")}) as here:
        here.context.config.connectors["second"].base_url = f"{here.url}/demo-crm/api"
        form = {"apiKey": "demo-ada", "platform": "second", "hostname": "", "additionalInfo": {}}
        token = (await here.ask("POST", "/apiKeyLogin", json=form)).body["jwtToken"]
        request = payload("01-sms")
        assert (await here.log(request)).body["logIds"] == ["6424569001"]
        reply = await here.ask("POST", f"/messageLog?jwtToken={token}", json=request)
        assert reply.body["logIds"] == ["6424569001"]
        assert len(await here.activities()) == 2


# ------------------------------------------------------------------------------------------ media


def attachment(kind: str, number: int, **more: Any) -> dict[str, Any]:
    uri = f"https://media.ringcentral.com/restapi/v1.0/account/1/extension/2/message-store/{number}/content/{number}"
    return {"id": number, "uri": uri, "type": kind, **more}


async def test_an_mms_attachment_without_a_content_type_is_a_plain_link(here: LiveServer) -> None:
    await here.log(body(message(1, "see this", attachments=[attachment("MmsAttachment", 77)])))
    text = (await here.only_activity())["body"]
    assert "see this" in text
    assert "message-store%2F77%2Fcontent%2F77" in text
    assert (await here.log(body(message(1), message(2, "and after it")))).body["logIds"] == ["2"]


@pytest.mark.parametrize(
    "document",
    [
        {"id": 7, "type": "RenderedDocument"},
        {"id": 7, "type": "RenderedDocument", "uri": None, "link": None},
        {
            "id": 7,
            "type": "RenderedDocument",
            "uri": "https://media.ringcentral.com/x?y=1",
            "contentType": "application/pdf",
        },
    ],
    ids=["nothing", "nulls", "a URI with a query"],
)
@SQLITE_ONLY
async def test_a_fax_without_link_or_token_has_what_is_known_and_no_broken_link(
    here: LiveServer, document: dict[str, Any]
) -> None:
    fax = message(1, None, type="Fax", attachments=[document], faxPageCount=3)
    reply = await here.log(body(fax))
    assert reply.body["logIds"] == ["1"]
    text = (await here.only_activity())["body"]
    assert "3 pages" in text
    assert "undefined" not in text
    assert "None" not in text
    assert "access_token" not in text
    assert text.count("?") <= 1, "one query in a link"


async def test_a_voicemail_and_a_fax_as_later_messages_keep_their_links(here: LiveServer) -> None:
    voicemail = message(
        2, None, type="VoiceMail", attachments=[attachment("AudioRecording", 22, vmDuration=9)]
    )
    fax = message(3, None, type="Fax", attachments=[attachment("RenderedDocument", 33)])
    await here.log(body(message(1, "a text first")))
    await here.log(body(message(1, "a text first"), voicemail))
    await here.log(body(message(1, "a text first"), voicemail, fax))
    text = (await here.only_activity())["body"]
    assert "message-store%2F22%2Fcontent%2F22" in text
    assert "message-store%2F33%2Fcontent%2F33" in text


# ------------------------------------------------------------------------------------------ shared threads


async def test_a_thread_with_iso_times_and_hints_without_times_is_sorted(here: LiveServer) -> None:
    request = thread("first", "second")
    info = request["logInfo"]
    info["lastModifiedTime"] = None
    for number, entity in enumerate(info["entities"]):
        entity["creationTime"] = f"2026-07-14T0{3 + number}:00:00Z"
        entity["lastModifiedTime"] = entity["creationTime"]
    info["entities"] = [*reversed(info["entities"]), {"id": "e9", "recordType": "ThreadCreatedHint"}]
    assert (await here.log(request)).body["logIds"] == ["thread-1"]
    text = (await here.only_activity())["body"]
    assert text.index("first") < text.index("second")
    assert "1970" not in text


async def test_a_thread_of_more_than_a_day_tells_days_and_the_rest_in_hours(here: LiveServer) -> None:
    request = thread("first", "last")
    later = START + 50 * 3_600_000
    request["logInfo"]["entities"][1] |= {"creationTime": later, "lastModifiedTime": later}
    request["logInfo"] |= {"lastModifiedTime": later, "status": "Resolved"}
    await here.log(request)
    text = (await here.only_activity())["body"]
    assert "2 d 2 h" in text
    assert "50 h" not in text


async def test_an_outbound_entry_without_an_author_is_the_owners(here: LiveServer) -> None:
    request = thread("hello")
    reply = {"id": "e8", "recordType": "AliveMessage", "direction": "Outbound", "text": "from nobody"}
    request["logInfo"]["entities"].append({**reply, "creationTime": START + 90_000})
    await here.log(request)
    text = (await here.only_activity())["body"]
    assert "undefined" not in text
    assert "None" not in text
    assert "from nobody" in text
    assert "Support Queue" in text


@SQLITE_ONLY
async def test_a_customer_who_is_also_an_author_is_no_agent(here: LiveServer) -> None:
    request = thread("hello")
    for number, name in enumerate(["Maya Patel", "Jordan Lee"]):
        note = {
            "id": f"n{number}",
            "recordType": "AliveNote",
            "text": f"note {number}",
            "author": {"name": name},
        }
        request["logInfo"]["entities"].append({**note, "creationTime": START + 90_000})
    await here.log(request)
    lines = (await here.only_activity())["body"].splitlines()
    assert "  Participants: Maya Patel (customer), Jordan Lee" in lines


async def test_an_equal_shared_request_again_needs_no_call(here: LiveServer) -> None:
    await here.log(thread("hello"))
    calls = len(here.crm.calls)
    reply = await here.log(thread("hello"))
    assert (reply.body["successful"], reply.body["logIds"]) == (True, [])
    assert len(here.crm.calls) == calls


# ------------------------------------------------------------------------------------------ zones


@pytest.mark.parametrize(
    ("timezone", "offset", "shown"),
    [
        ("America/New_York", None, "America/New_York"),
        (None, "-7", "UTC-07:00"),
        (None, "-07:00", "UTC-07:00"),
        (None, 5.5, "UTC+05:30"),
        (None, None, "UTC"),
        (None, "west of here", "UTC"),
        ("Middle/Earth", "+02:00", "UTC+02:00"),
    ],
)
@SQLITE_ONLY
async def test_the_zone_that_the_crm_gives_is_used_and_named(
    database_url: str, tmp_path: Path, timezone: str | None, offset: Any, shown: str
) -> None:
    class Elsewhere(FastDemoConnector):
        async def get_user_info(self, session: Session) -> UserInfo:
            info = await super().get_user_info(session)
            return UserInfo(
                id=info.id, name=info.name, tenant=info.tenant, timezone=timezone, timezone_offset=offset
            )

    async with live_server(database_url, tmp_path, connector=Elsewhere) as here:
        await here.log(payload("01-sms"))
        assert f"Times in {shown}\n" in (await here.only_activity())["body"]


# ------------------------------------------------------------------------------------------ deleted


async def test_an_activity_that_was_deleted_in_the_crm_is_created_anew_once(here: LiveServer) -> None:
    await here.log(body(message(1, "first")))
    await here.crm_api("DELETE", "/activities/a-1")
    reply = await here.log(body(message(1, "first"), message(2, "second")))
    assert reply.body["returnMessage"]["message"] == "Message logged"
    activity = await here.only_activity()
    assert activity["id"] == "a-2"
    assert [activity["body"].count(each) for each in ("first", "second")] == [1, 1]
    await here.log(body(message(1, "first"), message(2, "second"), message(3, "third")))
    assert "third" in (await here.only_activity())["body"]
