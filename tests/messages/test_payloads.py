"""What App Connect's public client really sends, captured with invented people."""

import json
from pathlib import Path

import msgspec
import pytest

from messagelog.messages import Conversation, LogRequest, Message, MessageKind, Thread, parse_log_request

PAYLOADS = sorted((Path(__file__).parent / "payloads").glob("*.json"))


def load(name: str) -> LogRequest:
    (path,) = [path for path in PAYLOADS if path.stem.startswith(name)]
    return parse_log_request(path.read_bytes())


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_every_payload_parses_with_all_its_messages(path: Path) -> None:
    sent = json.loads(path.read_bytes())
    request = parse_log_request(path.read_bytes())

    assert request.contact_id == sent["contactId"]
    assert request.contact_name == sent["contactName"]
    assert request.additional_submission == sent["additionalSubmission"]
    assert request.overriding_format == ()
    assert request.info.conversation_log_id == sent["logInfo"]["conversationLogId"]
    assert [m.id for m in request.info.messages] == [str(m["id"]) for m in sent["logInfo"]["messages"]]
    assert [m.sent_at for m in request.info.messages] == [
        m["creationTime"] for m in sent["logInfo"]["messages"]
    ]


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_records_survive_being_stored_as_json(path: Path) -> None:
    info = parse_log_request(path.read_bytes()).info

    for message in info.messages:
        assert msgspec.json.decode(msgspec.json.encode(message), type=Message) == message
    assert msgspec.json.decode(msgspec.json.encode(info.thread), type=Thread) == info.thread
    stored = msgspec.json.encode(info.conversation)
    assert msgspec.json.decode(stored, type=Conversation) == info.conversation


def test_sms() -> None:
    request = load("01")
    (message,) = request.info.messages

    assert message.kind is MessageKind.SMS
    assert message.body_text == "Can you send the renewal options?"
    assert not message.media
    assert message.from_ is not None
    assert message.from_.phone_number == "+14155550142"
    assert request.info.conversation.agent_name == "Jordan Lee"
    assert not request.is_group
    assert not request.is_shared


def test_voicemail() -> None:
    (message,) = load("05").info.messages

    assert message.kind is MessageKind.VOICEMAIL
    assert message.transcript == "Hi, this is Maya. Please call me back."
    (recording,) = message.media.attachments
    assert (recording.kind, recording.duration) == ("recording", 25)
    assert message.attachments[0].link == message.media.recording_link


def test_fax() -> None:
    request = load("06")
    (message,) = request.info.messages

    assert message.kind is MessageKind.FAX
    assert message.fax_page_count == 2
    assert message.attachments[0].link == message.media.fax_doc_link
    assert request.info.rc_access_token == "EXAMPLE-RC-ACCESS-TOKEN"
    assert "EXAMPLE-RC-ACCESS-TOKEN" not in repr(request)
    assert "EXAMPLE-RC-ACCESS-TOKEN" not in repr(request.info)


def test_mms_has_every_attachment_but_the_text() -> None:
    (message,) = load("08").info.messages

    assert [(a.kind, a.file_name) for a in message.media.attachments] == [
        ("image", "IMG_1"),
        ("video", "IMG_2"),
    ]
    assert message.media.image_content_type == "image/jpeg"


@pytest.mark.parametrize("name", ["09", "10"])
def test_group_sms(name: str) -> None:
    request = load(name)

    assert request.is_group
    assert len(request.info.correspondents) == 2


def test_shared_sms() -> None:
    request = load("11")

    assert request.is_shared
    assert not request.is_group
    assert [entity.record_type for entity in request.thread.entities] == [
        "ThreadCreatedHint",
        "AliveMessage",
        "ThreadAssignedHint",
        "AliveNote",
        "AliveMessage",
        "AliveMessage",
    ]
    assert request.info.messages[1].to == (None,)
    assert request.thread.version == 1784218200000 * 1_000_000 + 6
