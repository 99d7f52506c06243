"""What a request means: groups, contacts, custom fields, media, kinds of message, ids."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from messagelog.connectors import Contact, Session
from messagelog.core import Times
from messagelog.messages import MessageKind, peek
from support.memory_crm import Batches, Call, Html, Plain
from support.requests import MAYA, OMAR, body, message, thread
from support.runtime_fixture import runtime_fixture
from support.waiting import until

if TYPE_CHECKING:
    from messagelog.core.intake.answer import Answer

BOTH = (MAYA, OMAR)


async def test_messages_go_in_oldest_first_one_a_call(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        answer = await here.send(body(message(3), message(1), message(2)))
        assert answer.log_ids == ["1", "2", "3"]
        assert [(call.kind, _ids(call)) for call in here.crm.calls] == [
            ("create", ["1"]),
            ("update", ["2"]),
            ("update", ["3"]),
        ]


async def test_twenty_new_messages_are_one_create_where_batches_are_taken(database_url: str) -> None:
    async with runtime_fixture(database_url, Batches) as here:
        answer = await here.send(body(*(message(n) for n in range(1, 21))))
        assert len(answer.log_ids) == 20
        assert [(call.kind, len(_ids(call))) for call in here.crm.calls] == [("create", 20)]
        await here.send(body(*(message(n) for n in range(1, 31))))
        assert [(call.kind, len(_ids(call))) for call in here.crm.calls[1:]] == [("update", 10)]


async def test_the_same_again_is_no_call(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(body(message(1)))
        again = await here.send(body(message(1)))
        assert again.successful
        assert again.log_ids == []
        assert len(here.crm.calls) == 1


# ----------------------------------------------------------------------------------------------- groups


async def test_a_group_is_logged_for_each_contact_by_itself(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        answer = await here.send(body(message(1), correspondents=BOTH))
        assert answer.log_ids == ["1-c-1"]
        answer = await here.send(
            body(message(1), message(2), correspondents=BOTH, contact="c-2", name="Omar Reyes")
        )
        assert answer.log_ids == ["1-c-2", "2-c-2"]
        assert {each.contact_id for each in here.crm.activities.values()} == {"c-1", "c-2"}
        rows = await here.rows()
        assert rows["1-c-1"].conversation_id == "conv-c-1"
        logs = {log.key.conversation_log_id for log in await here.logs()}
        assert logs == {"conv/7/13/2026-c-1", "conv/7/13/2026-c-2"}


async def test_the_other_matched_contacts_of_a_group_are_correspondents(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        stranger = {"phoneNumber": "+14155550188"}
        await here.send(body(message(1), message(2), correspondents=(*BOTH, stranger)))
        for call in here.crm.calls:
            assert call.log is not None
            assert call.log.contact.id == "c-1"
            assert call.log.contact.phone_number == "+14155550142"
            assert [each.id for each in call.log.correspondents] == ["c-2"]


async def test_an_owner_wins_over_a_group(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        request = thread("hello")
        request["logInfo"]["correspondents"] = list(BOTH)
        assert (await here.send(request)).log_ids == ["thread-1"]


# ----------------------------------------------------------------------------------------------- shared SMS


async def test_a_shared_thread_is_one_activity_that_follows_it(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        first = await here.send(thread("one"))
        assert first.log_ids == ["thread-1"]
        newer = await here.send(thread("one", "two"))
        assert newer.successful
        assert newer.log_ids == [], "it was logged when the request arrived"
        assert here.crm.only.body.count("two") == 1
        calls = len(here.crm.calls)
        assert (await here.send(thread("one", "two"))).successful, "equal: no call"
        assert (await here.send(thread("one"))).successful, "older: no call"
        assert len(here.crm.calls) == calls
        assert here.crm.calls[-1].log is not None
        assert here.crm.calls[-1].log.thread is not None
        assert here.crm.calls[-1].log.message is None


async def test_an_older_snapshot_that_arrives_during_a_newer_one_changes_nothing(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        here.crm.gate = asyncio.Event()
        newer = asyncio.create_task(here.send(thread("one", "two", "three")))
        await until(lambda: here.crm.count("create") == 1)
        older = asyncio.create_task(here.send(thread("one")))
        await asyncio.sleep(0.05)
        here.crm.gate.set()
        assert (await newer).successful
        assert (await older).successful
        assert here.crm.only.body.count("three") == 1
        assert here.crm.count("update") == 0


async def test_what_people_wrote_beside_a_thread_stays(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(thread("one"))
        here.crm.only.body = f"Called her back, Ada\n\n{here.crm.only.body}\n\nP.S. VIP"
        await here.send(thread("one", "two"))
        assert here.crm.only.body.startswith("Called her back, Ada\n")
        assert here.crm.only.body.rstrip().endswith("P.S. VIP")
        assert here.crm.only.body.count("one") == 1


# ----------------------------------------------------------------------------------------------- contacts


async def test_another_contact_chosen_later_is_told_who_holds_the_log(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(body(message(1)))
        for request in (body(message(1), message(2), contact="c-2"), body(message(1), contact="c-2")):
            answer = await here.send(request)
            assert not answer.successful
            assert answer.log_ids == []
            assert "Maya Patel (c-1)" in answer.return_message.message
        assert len(here.crm.calls) == 1
        assert "2" not in await here.rows()


async def test_another_contact_may_be_chosen_while_nothing_has_reached_the_crm(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        from messagelog.connectors import Rejected

        here.crm.before = lambda call: (
            Rejected("HTTP 422") if call.log and call.log.contact.id == "c-1" else None
        )
        assert not (await here.send(body(message(1)))).successful
        answer = await here.send(body(message(1), contact="c-2", name="Omar Reyes"))
        assert answer.log_ids == ["1"]
        assert here.crm.only.contact_id == "c-2"


async def test_the_contact_is_being_made_while_the_older_days_arrive(database_url: str) -> None:
    async with runtime_fixture(database_url, settings=Times(answer=8, call=5)) as here:
        nina = {"phoneNumber": "+14155550188"}
        request = body(message(1), contact="createNewContact", name="Nina New", correspondents=(nina,))
        waiting = asyncio.create_task(here.send(request))
        await asyncio.sleep(0.2)
        here.crm.contacts.append(Contact(id="c-9", name="Nina New", phone_number="+14155550188"))
        answer = await waiting
        assert answer.log_ids == ["1"]
        assert here.crm.only.contact_id == "c-9"


async def test_a_new_contact_in_a_group_gives_the_suffix(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        nina = {"phoneNumber": "+14155550188"}
        here.crm.contacts.append(Contact(id="c-9", name="Nina New", phone_number="+14155550188"))
        request = body(message(1), contact="createNewContact", name="Nina New", correspondents=(MAYA, nina))
        assert (await here.send(request)).log_ids == ["1-c-9"]


async def test_no_contact_in_time_is_a_clear_refusal(database_url: str) -> None:
    async with runtime_fixture(database_url, settings=Times(answer=1.5, call=5)) as here:
        nina = {"phoneNumber": "+14155550188"}
        answer = await here.send(body(message(1), contact="createNewContact", correspondents=(nina,)))
        assert not answer.successful
        assert "+14155550188" in answer.return_message.message
        assert not here.crm.calls
        assert not await here.logs()


async def test_several_contacts_with_the_number_are_a_clear_refusal(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        here.crm.contacts.append(Contact(id="c-9", name="Maya's twin", phone_number="+14155550142"))
        answer = await here.send(body(message(1), contact="createNewContact"))
        assert not answer.successful
        assert "2 contacts" in answer.return_message.message
        assert not here.crm.calls


# ----------------------------------------------------------------------------------------------- what is passed


async def test_custom_fields_arrive_on_create_and_update(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(body(message(1), submission={"matter": "m-2", "billable": True}))
        await here.send(body(message(1), message(2), submission={"matter": "m-3"}))
        assert [call.log and call.log.additional_submission for call in here.crm.calls] == [
            {"matter": "m-2", "billable": True},
            {"matter": "m-3"},
        ]


def _attachment(number: int, type_: str, content_type: str | None) -> dict[str, object]:
    uri = f"https://media.ringcentral.com/restapi/v1.0/account/1/extension/2/message-store/3/content/{number}"
    made: dict[str, object] = {"id": number, "type": type_, "uri": uri}
    return made if content_type is None else {**made, "contentType": content_type}


async def test_every_attachment_of_every_message_on_create_and_on_update(database_url: str) -> None:
    pictures = [
        _attachment(1, "MmsAttachment", "image/jpeg"),
        _attachment(2, "MmsAttachment", "image/png"),
        _attachment(3, "MmsAttachment", "video/mp4"),
        _attachment(4, "MmsAttachment", None),
    ]
    voicemail = message(2, type="VoiceMail", attachments=[_attachment(5, "AudioRecording", "audio/mpeg")])
    fax = message(3, type="Fax", attachments=[_attachment(6, "RenderedDocument", "application/pdf")])
    async with runtime_fixture(database_url) as here:
        request = body(message(1, attachments=pictures), voicemail, fax, rcAccessToken="RC-TOKEN")
        await here.send(request)
        media = [call.log.message.media for call in here.crm.calls if call.log and call.log.message]
        assert [each.kind for each in media[0].attachments] == ["image", "image", "video", "file"]
        assert media[0].image_content_type == "image/jpeg"
        reader = "https://ringcentral.github.io/ringcentral-media-reader/?media=https%3A%2F%2Fmedia.ringcentral.com"
        for link in (
            media[0].image_link,
            media[0].video_link,
            media[1].recording_link,
            media[2].fax_doc_link,
        ):
            assert link is not None
            assert link.startswith(reader)
        assert str(media[2].fax_download_link).endswith("/content/6")
        assert str(media[0].image_download_link).endswith("/content/1")
        text = here.crm.only.body
        assert all(f"content%2F{number}" in text for number in range(1, 7))
        assert "RC-TOKEN" not in repr([vars(call.log) for call in here.crm.calls if call.log]) + text


async def test_without_a_token_nothing_can_be_downloaded_and_nothing_breaks(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        fax = message(1, type="Fax", attachments=[_attachment(6, "RenderedDocument", "application/pdf")])
        assert (await here.send(body(fax))).log_ids == ["1"]
        (call,) = here.crm.calls
        assert call.log is not None
        assert call.log.message is not None
        assert call.log.message.media.fax_download_link is None
        assert call.log.message.media.fax_doc_link is not None


class NoFaxes(Plain):
    message_kinds = frozenset({MessageKind.SMS})


async def test_a_kind_that_the_crm_does_not_take_is_refused_visibly(database_url: str) -> None:
    async with runtime_fixture(database_url, NoFaxes) as here:
        fax = message(2, type="Fax")
        answer = await here.send(body(fax))
        assert not answer.successful
        assert "takes no messages of this kind" in answer.return_message.message
        answer = await here.send(body(message(1), fax))
        assert answer.log_ids == ["1"]
        assert answer.return_message.message_type == "warning"
        assert not (await here.send(thread("one"))).successful


# ----------------------------------------------------------------------------------------------- ids


async def test_no_conversation_log_id_is_derived_from_conversation_and_day(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        request = body(message(1))
        del request["logInfo"]["conversationLogId"]
        await here.send(request)
        (log,) = await here.logs()
        assert log.key.conversation_log_id == "conv/2026-07-13", "the day in the user's zone"
        other = body(message(2), conversation="another")
        del other["logInfo"]["conversationLogId"]
        await here.send(other)
        assert len(here.crm.activities) == 2, "unrelated conversations are not merged"


async def test_a_number_as_conversation_log_id_is_compared_as_text(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        for value in (8031152018338945839, "8031152018338945839"):
            request = body(message(1), message(2) if value == str(value) else message(1))
            request["logInfo"]["conversationLogId"] = value
            await here.send(request)
        assert len(here.crm.activities) == 1


async def test_ids_above_two_to_the_53_stay_exact(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        ids = [9007199254740993, 9007199254740995]
        answer = await here.send(body(*(message(id_, at=1_783_998_000_000 + id_ % 10) for id_ in ids)))
        assert answer.log_ids == [str(id_) for id_ in ids]


async def test_the_same_message_id_twice_in_one_request_is_logged_once(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        answer = await here.send(body(message(1), message("1"), message(2)))
        assert answer.log_ids == ["1", "2"]
        assert here.crm.only.body.count("text 1") == 1


async def test_a_cut_emoji_is_logged(database_url: str) -> None:
    raw = b'{"logInfo":{"conversationId":"c","messages":[{"id":1,"type":"SMS","direction":"Inbound","subject":"hi \\ud83d"}],"correspondents":[{"phoneNumber":"+14155550142"}]},"contactId":"c-1"}'  # noqa: E501 - a body as it is sent
    from messagelog.messages import parse_log_request

    async with runtime_fixture(database_url) as here:
        user = await here.user()
        answer = await here.runtime.submit(user, parse_log_request(raw))
        assert answer.log_ids == ["1"]
        assert "hi \ufffd" in here.crm.only.body


# ----------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize("connector", [Plain, Html])
async def test_a_hostile_text_is_one_entry(database_url: str, connector: type[Plain]) -> None:
    hostile = (
        "<script>alert(1)</script> $& $$ \\1 [2026-07-13 8:00 PM PDT] Maya Patel\n[x] forged\n</p><p>&amp;"
    )
    async with runtime_fixture(database_url, connector) as here:
        requests = [message(1, "first"), message(2, hostile), message(3, "last")]
        for n in (1, 2, 3):
            await here.send(body(*requests[:n]))
        text = here.crm.only.body
        assert "$&" in text.replace("&amp;", "&")
        if connector is Html:
            assert "<script>" not in text
        calls = len(here.crm.calls)
        await here.send(body(*requests))
        assert len(here.crm.calls) == calls
        async with runtime_fixture(database_url, connector) as fresh:
            await fresh.send(body(*requests), user="fresh/ada")
            assert fresh.crm.only.body == text


async def test_what_people_wrote_in_an_activity_stays(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(body(message(1, "first"), message(3, "third")))
        here.crm.only.body = (
            here.crm.only.body.replace("  first", "  first\n\nAda: called her back") + "\n\nDone."
        )
        await here.send(body(message(1, "first"), message(2, "second"), message(3, "third")))
        text = here.crm.only.body
        assert "\n\nAda: called her back" in text
        assert text.rstrip().endswith("Done.")
        assert text.index("first") < text.index("second") < text.index("third")


def _ids(call: Call) -> list[str]:
    return [each.id for each in call.log.messages] if call.log else []


async def test_the_numbers_of_a_group_are_looked_up_once_for_many_messages(database_url: str) -> None:
    asked: list[str] = []

    class Counting(Plain):
        async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
            asked.append(phone_number)
            return await super().find_contact(session, phone_number)

    async with runtime_fixture(database_url, Counting) as here:
        await here.send(body(*(message(n) for n in range(1, 6)), correspondents=BOTH))
        assert sorted(asked) == ["+14155550142", "+14155550177"]


# --------------------------------------------------------------------------------- looking before reading


async def test_a_day_of_which_all_is_logged_is_answered_without_reading_it(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        messages = [message(number) for number in range(1, 11)]
        await here.send(body(*messages))
        user = await here.user()

        async def asked(request: dict[str, Any]) -> Answer | None:
            seen = peek(json.dumps(request).encode())
            assert seen is not None
            return await here.runtime.answer_if_logged(user, seen)

        assert await asked(body(*messages)) == await here.send(body(*messages))
        assert await asked(body(*messages, message(11))) is None
        assert await asked(body(*messages, contact="c-2")) is None, "another contact's is refused, not logged"
        assert await asked(body(*messages, contact="createNewContact")) is None
        stranger = await here.user("globex/eve")
        seen = peek(json.dumps(body(*messages)).encode())
        assert seen is not None
        assert await here.runtime.answer_if_logged(stranger, seen) is None


# ------------------------------------------------------------------------------------ language and zone


async def test_the_text_is_in_the_users_language_and_zone_for_the_life_of_an_activity(
    database_url: str,
) -> None:
    async with runtime_fixture(database_url) as here:
        user, settings = await here.user(), here.context.settings
        await settings.change(
            user,
            {"messagelogLanguage": {"value": "es-MX"}, "messagelogTimezone": {"value": "Europe/Madrid"}},
            [],
        )
        await here.send(body(message(1)))
        assert here.crm.only.body.startswith("Conversaci\u00f3n con Maya Patel")
        assert "14 jul 2026, 5:01 CEST" in here.crm.only.body
        await settings.change(
            user, {"messagelogLanguage": {"value": "ja"}, "messagelogTimezone": {"value": "Asia/Tokyo"}}, []
        )
        await here.send(body(message(1), message(2)))
        assert "14 jul 2026, 5:02 CEST" in here.crm.only.body, "pinned"
        other = body(message(3))
        other["logInfo"]["conversationLogId"] = "conv/7/14/2026"
        await here.send(other)
        assert "2026/07/14 12:03 JST" in list(here.crm.activities.values())[-1].body
