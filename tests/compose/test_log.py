"""The text of a conversation, for people."""

import hmac
import json
from typing import Any

import pytest

from messagelog.compose import LogFormat, People, Pins, append_text, compose_log, entries
from messagelog.messages import Attachment, Conversation, Message, Party, parse_log_request

KEY = b"k" * 32
T = 1_783_998_000_000
MINUTE = 60_000
PLAIN = Pins(LogFormat.PLAIN, "America/Los_Angeles")
HTML = Pins(LogFormat.HTML, "America/Los_Angeles")
MARKDOWN = Pins(LogFormat.MARKDOWN, "America/Los_Angeles")
MAYA, OMAR = (
    Party(name="Maya Patel", phone_number="+14155550142"),
    Party(name="Omar", phone_number="+14155550177"),
)
PEOPLE = People("Maya Patel", "+14155550142", "Jordan Lee")
TALK = Conversation(
    conversation_id="1", self_party=Party(phone_number="+14155550101"), correspondents=(MAYA,)
)
GROUP = Conversation(
    conversation_id="1", self_party=Party(phone_number="+14155550101"), correspondents=(MAYA, OMAR)
)
URI = "https://media.test/x"
LINK = "https://ringcentral.github.io/ringcentral-media-reader/?media=https%3A%2F%2Fmedia.test%2Fx"


def sms(text: str | None = "Hi", **fields: Any) -> Message:
    usual: dict[str, Any] = {"id": "1", "type": "SMS", "creation_time": T, "direction": "Inbound"}
    return Message(**usual | {"subject": text} | fields)


def entry(message: Message, pins: Pins = PLAIN, people: People = PEOPLE, talk: Conversation = TALK) -> str:
    (only,) = entries(pins, people, [message], talk, KEY)
    return only.text


def who(message: Message, people: People = PEOPLE, talk: Conversation = TALK) -> str:
    return entry(message, people=people, talk=talk).split("\n")[0].partition("] ")[2]


def said(message: Message) -> list[str]:
    return [line.removeprefix("  ") for line in entry(message).split("\n")[1:]]


def test_plain() -> None:
    messages = [
        sms("Here they are.\n\nBest", id="2", creation_time=T + 5 * MINUTE, direction="Outbound"),
        sms(),
    ]
    content = compose_log(PLAIN, PEOPLE, messages, TALK, KEY)

    assert content.subject == "SMS conversation with Maya Patel"
    assert content.body == (
        "Conversation with Maya Patel (+14155550142)\n"
        "  Agent: Jordan Lee\n"
        "  Date: 2026-07-13\n"
        "  Messages: 2 SMS\n"
        "  Times in America/Los_Angeles\n"
        "\n"
        "[2026-07-13 8:00 PM PDT] Maya Patel\n"
        "  Hi\n"
        "\n"
        "[2026-07-13 8:05 PM PDT] Jordan Lee\n"
        "  Here they are.\n"
        "  \n"
        "  Best"
    )


def test_html() -> None:
    picture = Attachment(type="MmsAttachment", content_type="image/png", file_name="a&b", uri=URI)
    content = compose_log(HTML, PEOPLE, [sms("a <b>\nc", attachments=(picture,))], TALK, KEY)

    assert content.body == (
        "<p><b>Conversation with Maya Patel (+14155550142)</b>"
        "<br>Agent: Jordan Lee<br>Date: 2026-07-13<br>Messages: 1 SMS<br>Times in America/Los_Angeles</p>"
        "<p>2026-07-13 8:00 PM PDT <b>Maya Patel</b><br>a &lt;b&gt;<br>c<br>"
        f'<a href="{LINK}">Picture a&amp;b</a></p>'
    )


def test_markdown() -> None:
    picture = Attachment(
        type="MmsAttachment", content_type="image/png", file_name="a_b", uri="https://media.test/(x)"
    )
    content = compose_log(MARKDOWN, PEOPLE, [sms("# 5*5\n1. <b>", attachments=(picture,))], TALK, KEY)

    assert content.body == (
        "**Conversation with Maya Patel (+14155550142)**  \n"
        "  Agent: Jordan Lee  \n"
        "  Date: 2026-07-13  \n"
        "  Messages: 1 SMS  \n"
        "  Times in America/Los\\_Angeles\n"
        "\n"
        "- 2026-07-13 8:00 PM PDT **Maya Patel**  \n"
        "  \\# 5\\*5  \n"
        "  1\\. \\<b\\>  \n"
        f"  [Picture a\\_b]({LINK.replace('%2Fx', '%2F%28x%29')})"
    )


def test_a_heading_that_cannot_be_changed_later_counts_nothing() -> None:
    pins = Pins(LogFormat.PLAIN, "America/Los_Angeles", appends=True)
    heading = compose_log(pins, PEOPLE, [sms()], TALK, KEY).body.partition("\n\n")[0]
    assert heading.splitlines()[1:] == [
        "  Agent: Jordan Lee",
        "  Date: 2026-07-13",
        "  Times in America/Los_Angeles",
    ]


def test_custom_has_no_text_of_ours() -> None:
    with pytest.raises(ValueError, match="custom"):
        compose_log(Pins(LogFormat.CUSTOM, "UTC"), PEOPLE, [sms()], TALK, KEY)


def test_entries_know_their_message() -> None:
    first, second = entries(PLAIN, PEOPLE, [sms("b", id="10"), sms("a", id="9")], TALK, KEY)
    assert (first.id, second.id) == ("9", "10")
    assert first.sent_at == T
    assert len(first.hash) == 16
    assert first.hash != second.hash
    assert append_text(PLAIN, [second, first]).endswith("  a\n\n[2026-07-13 8:00 PM PDT] Maya Patel\n  b")


def test_hashes_are_keyed_and_over_what_is_visible() -> None:
    (one,) = entries(PLAIN, PEOPLE, [sms("caf\u00e9  au\tlait")], TALK, KEY)
    (alike,) = entries(PLAIN, PEOPLE, [sms("cafe\u0301 au lait ")], TALK, KEY)
    (keyed,) = entries(PLAIN, PEOPLE, [sms("caf\u00e9  au\tlait")], TALK, b"other")
    assert one.hash == alike.hash != keyed.hash


def test_hashes_of_the_first_template_are_as_they_were() -> None:
    """They stand in journals: HMAC-SHA256 of the visible text."""
    (one,) = entries(Pins(LogFormat.PLAIN, "UTC", template=1), PEOPLE, [sms("caf\u00e9  au")], TALK, KEY)
    seen = "[2026-07-14 3:00 AM UTC] Maya Patel caf\u00e9 au".encode()
    assert one.hash == hmac.digest(KEY, seen, "sha256")[:16]


@pytest.mark.parametrize(
    ("fields", "subject"),
    [
        ([{}], "SMS conversation with Maya Patel"),
        ([{"type": "VoiceMail"}], "Voicemail from Maya Patel"),
        ([{"type": "Fax", "direction": "Outbound"}], "Fax to Maya Patel"),
        ([{"type": "Fax"}, {"type": "Fax", "direction": "Outbound"}], "Faxes with Maya Patel"),
        ([{"type": "Fax"}, {}], "Conversation with Maya Patel"),
        ([{"type": "Pager"}], "Conversation with Maya Patel"),
    ],
)
def test_subjects(fields: list[dict[str, Any]], subject: str) -> None:
    messages = [sms(id=str(number), **given) for number, given in enumerate(fields)]
    assert compose_log(PLAIN, PEOPLE, messages, TALK, KEY).subject == subject


def test_a_contact_without_a_name_is_its_number() -> None:
    content = compose_log(PLAIN, People(" ", "+1"), [sms()], TALK, KEY)
    assert content.subject == "SMS conversation with +1"
    assert content.body.startswith("Conversation with +1\n")
    assert (
        compose_log(PLAIN, People(""), [sms()], TALK, KEY).subject == "SMS conversation with Unknown contact"
    )


def test_a_subject_is_one_line_without_markup_of_ours() -> None:
    name = "Maya <b>\r\n\x00Patel\u202e & {name} $& " + "x" * 500
    subject = compose_log(HTML, People(name), [sms()], TALK, KEY).subject
    assert subject.startswith("SMS conversation with Maya <b> Patel & {name} $& xxx")
    assert len(subject) < 160


def test_several_days_are_named() -> None:
    messages = [sms(), sms(id="2", creation_time=T + 24 * 60 * MINUTE)]
    assert "\n  Date: 2026-07-13 to 2026-07-14\n" in compose_log(PLAIN, PEOPLE, messages, TALK, KEY).body


def test_a_group_names_who_else_takes_part() -> None:
    assert (
        "\n  Also taking part: Omar (+14155550177)\n" in compose_log(PLAIN, PEOPLE, [sms()], GROUP, KEY).body
    )


def test_who_said_it_inbound() -> None:
    assert who(sms(from_=Party(name="Maya P."))) == "Maya P."
    assert who(sms(from_=Party(phone_number="+1"))) == "Maya Patel"
    assert who(sms()) == "Maya Patel"
    assert who(sms(from_=Party(phone_number="+1")), People("")) == "+1"
    assert who(sms(), People("")) == "Unknown contact"


def test_who_said_it_in_a_group() -> None:
    assert who(sms(from_=Party(phone_number="+14155550177")), talk=GROUP) == "+14155550177"
    assert who(sms(from_=Party(phone_number="+1 (415) 555-0142")), talk=GROUP) == "Maya Patel"
    assert who(sms(), talk=GROUP) == "Unknown contact"


def test_who_said_it_outbound() -> None:
    out = {"direction": "Outbound"}
    nobody = Conversation(conversation_id="1", correspondents=(MAYA,))
    assert who(sms(**out, author=Party(name="Sam"), from_=Party(name="Main line"))) == "Sam"
    assert who(sms(**out, from_=Party(name="Main line"))) == "Main line"
    assert who(sms(**out)) == "Jordan Lee"
    assert who(sms(**out), People("Maya")) == "+14155550101"
    assert who(sms(**out), People("Maya"), nobody) == "Unknown agent"


def test_without_a_direction_the_sender_tells() -> None:
    assert who(sms(direction=None, from_=Party(phone_number="+14155550101"))) == "Jordan Lee"
    assert who(sms(direction=None, from_=Party(phone_number="+14155550142"))) == "Maya Patel"


def test_a_message_with_neither_text_nor_media_leaves_an_entry() -> None:
    assert said(sms(None)) == ["(no text)"]
    assert said(sms(" \n\u202e\x00 ")) == ["(no text)"]
    assert entry(sms(None, creation_time=None)) == "[time unknown] Maya Patel\n  (no text)"


def test_voicemail() -> None:
    recording = Attachment(type="AudioRecording", uri=URI, vm_duration=25)
    voicemail = sms("Voice message", type="VoiceMail", attachments=(recording,), transcript="Hi,\ncall me")
    assert said(voicemail) == [f"Voicemail (0:25): {LINK}", "Transcript: Hi,", "call me"]
    assert said(sms("Voice message", type="VoiceMail")) == ["Voicemail"]
    assert said(sms("Call me", type="VoiceMail")) == ["Call me", "Voicemail"]


def test_fax() -> None:
    page = Attachment(type="RenderedDocument", uri=URI)
    fax = sms("+1 (415) 555-0142", type="Fax", attachments=(page,), fax_page_count=2, fax_resolution="High")
    assert said(fax) == [f"Fax (2 pages, high resolution): {LINK}"]
    assert said(sms("See cover", type="Fax", fax_page_count=1)) == ["See cover", "Fax (1 page)"]


def test_fax_without_link_uri_or_token_says_what_is_known() -> None:
    assert said(
        sms(None, type="Fax", attachments=(Attachment(type="RenderedDocument"),), fax_page_count=3)
    ) == ["Fax (3 pages)"]


def test_mms_attachment_without_content_type_is_logged_with_a_plain_link() -> None:
    assert said(sms("Look", attachments=(Attachment(type="MmsAttachment", uri=URI),))) == [
        "Look",
        f"File: {LINK}",
    ]


def test_every_picture_of_a_message_is_there() -> None:
    pictures = [Attachment(content_type="image/png", file_name=f"{n}.png", uri=URI) for n in range(3)]
    assert said(sms(None, attachments=tuple(pictures))) == [f"Picture {n}.png: {LINK}" for n in range(3)]


@pytest.mark.parametrize("absurd", [-1, 0, 10**400, 1e308])
def test_absurd_numbers_are_not_shown(absurd: float) -> None:
    voicemail = sms(
        None, type="VoiceMail", attachments=(Attachment(type="AudioRecording", vm_duration=absurd),)
    )
    assert said(voicemail) == ["Voicemail"]
    assert said(sms(None, type="Fax", fax_page_count=absurd)) == ["Fax"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("DeliveryFailed", ["Not delivered"]),
        ("SendingFailed", ["Not sent: sending failed"]),
        ("Delivered", []),
        (None, []),
    ],
)
def test_failed_deliveries_in_words(status: str | None, words: list[str]) -> None:
    assert said(sms("Hi", direction="Outbound", message_status=status)) == ["Hi", *words]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("LineBusy", "Not delivered: the line was busy"),
        ("NoAnswer", "Not delivered: nobody answered"),
        ("DBGeneralError", "Not delivered"),
        (None, "Not delivered"),
    ],
)
def test_a_failed_fax_says_why(code: str | None, words: str) -> None:
    to = (Party(name="Maya", fax_error_code=code),)
    fax = sms(None, type="Fax", direction="Outbound", message_status="DeliveryFailed", to=to)
    assert said(fax) == ["Fax", words]


def test_failed_deliveries_to_some_of_several() -> None:
    to = (
        Party(name="Maya", message_status="Delivered"),
        None,
        Party(phone_number="+1", message_status="DeliveryFailed"),
    )
    assert said(sms("Hi", direction="Outbound", to=to)) == ["Hi", "Not delivered (+1)"]


def test_the_captured_two_days_show_their_own_text() -> None:
    info = {
        "conversationId": 1,
        "correspondents": [{"phoneNumber": "+14155550142"}],
        "messages": [{"id": 2, "creationTime": T, "subject": "Thank you! 🙏 <ok>", "direction": "Inbound"}],
    }
    request = parse_log_request(json.dumps({"logInfo": info, "contactId": "c"}).encode())
    body = compose_log(PLAIN, PEOPLE, request.info.messages, request.info.conversation, KEY).body
    assert body.endswith("\n  Thank you! 🙏 <ok>")
