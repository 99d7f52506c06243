"""Shapes that RingCentral and the client's widget have beside the usual ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from messagelog.messages import BadRequest, LogInfo, Media, Message, Thread, parse_log_request

T = 1_783_998_000_000
MAYA, JORDAN = {"phoneNumber": "+14155550142", "name": "Maya Patel"}, {"phoneNumber": "+14155550101"}
OMAR = {"phoneNumber": "+14155550199"}


def message(id_: Any = 1, **fields: Any) -> dict[str, Any]:
    usual = {"id": id_, "type": "SMS", "direction": "Inbound", "creationTime": T, "subject": "Hi"}
    return usual | {"from": MAYA, "to": [JORDAN]} | fields


def info(*messages: dict[str, Any], **fields: Any) -> LogInfo:
    usual = {"conversationId": "7", "messages": list(messages), "correspondents": [MAYA]}
    sent = {"logInfo": usual | fields, "contactId": "c-1"}
    return parse_log_request(json.dumps(sent).encode()).info


def only(**fields: Any) -> Message:
    (read,) = info(message(**fields)).messages
    return read


def numbers(read: LogInfo) -> list[str | None]:
    return [party.phone_number for party in read.correspondents]


def test_one_recipient_may_come_without_a_list() -> None:
    assert only(to=JORDAN).to == only(to=[JORDAN]).to
    assert only(to=None).to == only(to=[]).to == ()


def test_a_sender_may_come_in_a_list() -> None:
    expected = only().from_
    assert only(**{"from": [MAYA]}).from_ == only(**{"from": [None, MAYA, OMAR]}).from_ == expected
    assert only(**{"from": []}).from_ is None
    entity = {"id": "1", "recordType": "AliveMessage", "from": [MAYA], "text": "Hi"}
    thread = info(owner={"name": "Desk"}, entities=[entity]).thread
    assert thread.entities[0].from_ == expected


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("183204", 183204),
        (" 12 ", 12),
        ("2.5", 2.5),
        ("", None),
        ("large", None),
        ("-1", None),
        ("1e9", None),
    ],
)
def test_sizes_may_be_text_and_are_dropped_where_they_are_no_number(given: str, read: float | None) -> None:
    fax = only(attachments=[{"id": 1, "size": given, "vmDuration": given}], faxPageCount=given)
    assert fax.attachments[0].size == fax.attachments[0].vm_duration == fax.fax_page_count == read


def test_files_of_threads_name_their_fields_otherwise() -> None:
    file = {
        "id": "1",
        "contentType": "application/pdf",
        "filename": "menu.pdf",
        "contentUri": "https://m.test/1",
    }
    (read,) = only(attachments=[file]).attachments
    assert (read.file_name, read.uri) == ("menu.pdf", "https://m.test/1")
    (read,) = only(attachments=[file | {"fileName": "a.pdf", "uri": "https://m.test/2"}]).attachments
    assert (read.file_name, read.uri) == ("a.pdf", "https://m.test/2")


@pytest.mark.parametrize("correspondents", [[], [None], None])
@pytest.mark.parametrize("kind", ["Fax", "VoiceMail"])
def test_a_fax_or_a_voicemail_may_have_no_sender(kind: str, correspondents: Any) -> None:
    read = info(message(type=kind, **{"from": None}), correspondents=correspondents)
    assert read.correspondents == ()
    assert not read.is_group


@pytest.mark.parametrize("correspondents", [[], [None], None])
def test_a_text_has_a_correspondent(correspondents: Any) -> None:
    with pytest.raises(BadRequest, match=r"^logInfo\.correspondents: "):
        info(message(**{"from": None}), correspondents=correspondents)


# -- ids ---------------------------------------------------------------------------------------------------

ROUNDED, EXACT = 356628458090137400, "356628458090137377"


@pytest.mark.parametrize(
    ("fields", "id_"),
    [
        ({"conversationId": ROUNDED, "conversation": {"id": EXACT}}, EXACT),
        ({"conversationId": EXACT, "conversation": {"id": ROUNDED}}, EXACT),
        ({"conversationId": EXACT, "conversation": {"id": "9"}}, "9"),
        ({"conversationId": EXACT}, EXACT),
        ({"conversationId": EXACT, "conversation": {}}, EXACT),
        ({"conversation": {"id": EXACT}}, EXACT),
    ],
)
def test_the_exact_id_of_a_conversation_comes_before_a_rounded_one(fields: Any, id_: str) -> None:
    assert only(**fields).conversation_id == id_
    assert info(message(**fields), conversationId=None).conversation_id == id_


def test_a_rounded_id_around_the_messages_is_that_of_the_messages() -> None:
    exact = message(conversation={"id": EXACT})
    assert info(exact, conversationId=ROUNDED).conversation_id == EXACT
    assert info(exact, conversationId="356628458090137400").conversation_id == "356628458090137400"
    assert info(exact, conversationId=5).conversation_id == "5"
    assert info(message(conversation={"id": "x"}), conversationId=ROUNDED).conversation_id == str(ROUNDED)


# -- stubs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stub",
    [
        {"id": 2, "availability": "Purged"},
        {"id": 2, "availability": "purged", "conversationId": "7", "lastModifiedTime": T},
        {"id": 2},
        {"id": 2, "creationTime": T, "readStatus": "Read", "attachments": []},
        message(2, availability="Deleted"),
        message(2, availability="Purged"),
    ],
)
def test_a_stub_is_nothing_that_can_be_logged(stub: dict[str, Any]) -> None:
    read = info(message(), stub)
    assert [each.id for each in read.loggable] == ["1"]
    assert not read.is_empty
    assert info(stub).is_empty


@pytest.mark.parametrize(
    "fields",
    [{}, {"availability": "Alive"}, {"availability": None}, {"subject": None}, {"availability": "New"}],
)
def test_a_message_that_is_there_is_no_stub(fields: Any) -> None:
    assert not only(**fields).is_stub


def test_the_correspondents_that_the_client_took_from_a_stub_are_those_of_the_other_messages() -> None:
    stub = {"id": 9, "availability": "Purged"}
    out = message(2, direction="Outbound", creationTime=T + 1, to=[OMAR], **{"from": JORDAN})
    assert numbers(info(stub, message(), correspondents=[None])) == ["+14155550142"]
    assert numbers(info(stub, out, message(), correspondents=[])) == ["+14155550199"]
    to_several = message(2, to=[{**JORDAN, "target": True}, OMAR])
    assert numbers(info(stub, to_several, correspondents=[])) == ["+14155550142", "+14155550199"]
    assert numbers(info(stub, message(2, to=[JORDAN, OMAR]), correspondents=[])) == ["+14155550142"]
    assert numbers(info(stub, message(), correspondents=[OMAR])) == ["+14155550199"]


def thread(*entities: dict[str, Any], **fields: Any) -> Thread:
    return info(owner={"name": "Desk"}, entities=list(entities), **fields).thread


def test_a_thread_of_which_nothing_is_left_is_empty() -> None:
    created = {"id": "1", "recordType": "ThreadCreatedHint", "lastModifiedTime": T}
    gone = {"id": "2", "recordType": "DeletedMessage", "availability": "Deleted"}
    stub = {"id": "3"}
    said = {"id": "4", "recordType": "AliveMessage", "direction": "Inbound"}
    assert thread(created, gone, stub, said | {"availability": "Purged"}).is_empty
    assert not thread(created, said).is_empty
    assert not thread({"id": "5", "recordType": "AliveNote", "body": "x"}).is_empty


def test_a_thread_knows_when_it_began() -> None:
    assert thread({"id": "3"}, creationTime=T).creation_time == T


# -- parts of a message that are no files ------------------------------------------------------------------


def kinds(*attachments: dict[str, Any], type_: str = "SMS") -> tuple[list[str | None], list[str | None]]:
    media: Media = only(type=type_, attachments=list(attachments)).media
    return [each.type for each in media.attachments], [each.type for each in media.parts]


def test_a_connector_is_given_the_files_that_somebody_sent() -> None:
    text = {"id": 1, "type": "Text", "contentType": "text/plain"}
    smil = {"id": 2, "type": "MmsAttachment", "contentType": "application/smil"}
    picture = {"id": 3, "type": "MmsAttachment", "contentType": "image/jpeg"}
    assert kinds(text, smil, picture) == (["MmsAttachment"], ["MmsAttachment", "MmsAttachment"])
    source = {"id": 4, "type": "SourceDocument", "contentType": "image/tiff", "uri": "https://m.test/4"}
    page = {"id": 5, "type": "RenderedDocument", "contentType": "application/pdf", "uri": "https://m.test/5"}
    assert kinds(source, page, type_="Fax")[0] == ["RenderedDocument"]
    assert kinds(source, type_="Fax")[0] == ["SourceDocument"]
    link = only(type="Fax", attachments=[source, page]).media.fax_doc_link
    assert link is not None
    assert link.endswith("m.test%2F5")
