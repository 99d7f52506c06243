"""The text of a conversation, for people."""

import dataclasses
import hmac
import json
from typing import Any

import pytest

from messagelog.compose import LogFormat, Participants, TextSettings, append_text, compose_log, entries
from messagelog.messages import Attachment, Conversation, Message, Party, parse_log_request

KEY = b"k" * 32
T = 1_783_998_000_000
MINUTE = 60_000
PLAIN = TextSettings(LogFormat.PLAIN, "America/Los_Angeles")
HTML = TextSettings(LogFormat.HTML, "America/Los_Angeles")
MARKDOWN = TextSettings(LogFormat.MARKDOWN, "America/Los_Angeles")
MAYA, OMAR = (
    Party(name="Maya Patel", phone_number="+14155550142"),
    Party(name="Omar", phone_number="+14155550177"),
)
PEOPLE = Participants("Maya Patel", "+14155550142", "Jordan Lee")
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


def entry(
    message: Message,
    text_settings: TextSettings = PLAIN,
    participants: Participants = PEOPLE,
    talk: Conversation = TALK,
) -> str:
    (only,) = entries(text_settings, participants, [message], talk, KEY)
    return only.text


def who(message: Message, participants: Participants = PEOPLE, talk: Conversation = TALK) -> str:
    return entry(message, participants=participants, talk=talk).split("\n")[0].partition("] ")[2]


def said(message: Message) -> list[str]:
    return [line.removeprefix("  ") for line in entry(message).split("\n")[1:]]


def test_plain() -> None:
    messages = [
        sms("Here they are.\n\nBest", id="2", creation_time=T + 5 * MINUTE, direction="Outbound"),
        sms(),
    ]
    content = compose_log(PLAIN, PEOPLE, messages, TALK, KEY)

    assert content.subject == "SMS conversation with Maya Patel - 2026-07-13"
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
    text_settings = TextSettings(LogFormat.PLAIN, "America/Los_Angeles", appends=True)
    heading = compose_log(text_settings, PEOPLE, [sms()], TALK, KEY).body.partition("\n\n")[0]
    assert heading.splitlines()[1:] == [
        "  Agent: Jordan Lee",
        "  Date: 2026-07-13",
        "  Times in America/Los_Angeles",
    ]


def test_custom_has_no_text_of_ours() -> None:
    with pytest.raises(ValueError, match="custom"):
        compose_log(TextSettings(LogFormat.CUSTOM, "UTC"), PEOPLE, [sms()], TALK, KEY)


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
    (one,) = entries(
        TextSettings(LogFormat.PLAIN, "UTC", template=1), PEOPLE, [sms("caf\u00e9  au")], TALK, KEY
    )
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
    assert compose_log(PLAIN, PEOPLE, messages, TALK, KEY).subject == f"{subject} - 2026-07-13"


def test_a_subject_has_the_day_of_the_first_message_in_the_users_zone_and_language() -> None:
    messages = [sms(id="2", creation_time=T + 24 * 60 * MINUTE), sms(), sms(id="3", creation_time=None)]
    for zone, language, subject in (
        ("America/Los_Angeles", "en", "SMS conversation with Maya Patel - 2026-07-13"),
        ("Europe/Madrid", "es", "Conversación por SMS con Maya Patel - 14 jul 2026"),
        ("Asia/Tokyo", "ja", "Maya PatelさんとのSMS - 2026/07/14"),
    ):
        text_settings = TextSettings(LogFormat.PLAIN, zone, language)
        assert compose_log(text_settings, PEOPLE, messages, TALK, KEY).subject == subject
    nowhen = [sms(creation_time=None)]
    assert compose_log(PLAIN, PEOPLE, nowhen, TALK, KEY).subject == "SMS conversation with Maya Patel"


def test_a_contact_without_a_name_is_its_number() -> None:
    content = compose_log(PLAIN, Participants(" ", "+1"), [sms()], TALK, KEY)
    assert content.subject == "SMS conversation with +1 - 2026-07-13"
    assert content.body.startswith("Conversation with +1\n")
    assert (
        compose_log(PLAIN, Participants(""), [sms()], TALK, KEY).subject
        == "SMS conversation with Unknown contact - 2026-07-13"
    )


def test_a_subject_is_one_line_without_markup_of_ours() -> None:
    name = "Maya <b>\r\n\x00Patel\u202e & {name} $& " + "x" * 500
    subject = compose_log(HTML, Participants(name), [sms()], TALK, KEY).subject
    assert subject.startswith("SMS conversation with Maya <b> Patel & {name} $& xxx")
    assert subject.endswith(" - 2026-07-13")
    assert len(subject) < 175


def test_several_days_are_named() -> None:
    messages = [sms(), sms(id="2", creation_time=T + 24 * 60 * MINUTE)]
    assert "\n  Date: 2026-07-13 to 2026-07-14\n" in compose_log(PLAIN, PEOPLE, messages, TALK, KEY).body


def test_a_group_names_who_else_takes_part() -> None:
    assert (
        "\n  Also taking part: Omar (+14155550177)\n" in compose_log(PLAIN, PEOPLE, [sms()], GROUP, KEY).body
    )


def test_the_contact_goes_by_the_crms_name_whatever_the_network_calls_it() -> None:
    for name in ("Maya P.", "WIRELESS CALLER", "PATEL M", None):
        for number in ("+14155550142", "+1 (415) 555-0142", None):
            assert who(sms(from_=Party(name=name, phone_number=number))) == "Maya Patel"
    assert who(sms()) == "Maya Patel"


def test_another_number_is_somebody_else_even_where_one_correspondent_is_known() -> None:
    """As in a group that the client has seen as one to one."""
    assert who(sms(from_=Party(phone_number="+14155550199"))) == "+14155550199"
    assert who(sms(from_=Party(name="Omar", phone_number="+14155550199"))) == "Omar"
    spelt = dataclasses.replace(PEOPLE, contact_numbers=("(415) 555-0142",))
    assert who(sms(from_=Party(phone_number="4155550142")), spelt) == "Maya Patel"


def test_who_said_it_inbound_where_the_contact_has_no_name() -> None:
    assert who(sms(from_=Party(name="Maya P.", phone_number="+1")), Participants("", "+1")) == "Maya P."
    assert who(sms(from_=Party(phone_number="+1")), Participants("")) == "+1"
    assert who(sms(), Participants("")) == "Unknown contact"


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
    assert who(sms(**out), Participants("Maya")) == "+14155550101"
    assert who(sms(**out), Participants("Maya"), nobody) == "Unknown agent"


def test_without_a_direction_the_sender_tells() -> None:
    assert who(sms(direction=None, from_=Party(phone_number="+14155550101"))) == "Jordan Lee"
    assert who(sms(direction=None, from_=Party(phone_number="+14155550142"))) == "Maya Patel"


def test_a_message_with_neither_text_nor_media_leaves_an_entry() -> None:
    assert said(sms(None)) == ["(no text)"]
    assert said(sms(" \n\u202e\x00 ")) == ["(no text)"]
    assert entry(sms(None, creation_time=None)) == "[time unknown] Maya Patel\n  (no text)"


def test_in_a_group_a_name_alone_never_tells_the_contact() -> None:
    namesake = Party(name="Maya Patel", phone_number="+14155550199")
    talk = Conversation(conversation_id="1", correspondents=(namesake, MAYA))
    assert who(sms(from_=namesake), talk=talk) == "Maya Patel"
    heading = compose_log(PLAIN, PEOPLE, [sms()], talk, KEY).body
    assert heading.startswith("Conversation with Maya Patel (+14155550142)\n")
    assert "\n  Also taking part: Maya Patel (+14155550199)\n" in heading

    unnamed = Conversation(
        conversation_id="1",
        correspondents=(Party(phone_number="+14155550199"), Party(phone_number="(415) 555-0142")),
    )
    found = dataclasses.replace(
        PEOPLE, contact_phone="(415) 555-0142", contact_numbers=("(415) 555-0142", "+14155550142")
    )
    body = compose_log(PLAIN, found, [sms(from_=MAYA)], unnamed, KEY).body
    assert "\n  Also taking part: +14155550199\n" in body
    assert "] Maya Patel\n  Hi" in body


def test_our_side_is_the_signed_in_user_where_the_records_have_no_name() -> None:
    number = Party(phone_number="+14155550101")
    ada = Participants("Maya Patel", "+14155550142", "Ada Lovell")
    for message, talk, name in (
        (sms(direction="Outbound", from_=number), TALK, "Ada Lovell"),
        (sms(direction="Outbound"), Conversation(conversation_id="1", correspondents=(MAYA,)), "Ada Lovell"),
        (sms(direction="Outbound", from_=Party(name="Jordan Lee")), TALK, "Jordan Lee"),
    ):
        body = compose_log(PLAIN, ada, [message], talk, KEY).body
        assert f"\n  Agent: {name}\n" in body
        assert f"] {name}\n" in body
    assert "\n  Agent: Ada Lovell\n" in compose_log(PLAIN, ada, [sms()], TALK, KEY).body


def test_voicemail() -> None:
    recording = Attachment(type="AudioRecording", uri=URI, vm_duration=25)
    voicemail = sms("Voice message", type="VoiceMail", attachments=(recording,), transcript="Hi,\ncall me")
    assert said(voicemail) == [f"Voicemail (0:25): {LINK}", "Transcript: Hi,", "call me"]
    assert said(sms("Voice message", type="VoiceMail")) == ["Voicemail"]
    assert said(sms("WIRELESS CALLER", type="VoiceMail")) == ["Voicemail"]
    urgent = sms("x", type="VoiceMail", attachments=(recording,), priority="High")
    assert said(urgent) == [f"Urgent voicemail (0:25): {LINK}"]
    assert said(sms("x", priority="High")) == ["x"]


@pytest.mark.parametrize("status", ["InProgress", "CompletedPartially", "Completed", "NotAvailable", None])
@pytest.mark.parametrize(
    "placeholder",
    ["In progress", "in progress...", "Fetching transcription\u2026", "Failed to fetch transcription"],
)
def test_what_stands_for_a_transcript_is_not_the_callers_words(status: str | None, placeholder: str) -> None:
    voicemail = sms(None, type="VoiceMail", transcript=placeholder, vm_transcription_status=status)
    assert said(voicemail) == ["Voicemail"]


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        *(("Completed", True), ("CompletedPartially", True), ("NotAvailable", True), (None, True)),
        *(("InProgress", False), ("TimedOut", False), ("Failed", False)),
    ],
)
def test_a_transcript_is_shown_once_it_is_there(status: str | None, *, shown: bool) -> None:
    voicemail = sms(None, type="VoiceMail", transcript="It is in progress.", vm_transcription_status=status)
    assert said(voicemail) == ["Voicemail", *(["Transcript: It is in progress."] if shown else [])]


def test_the_file_with_the_transcript_is_no_file_of_its_own() -> None:
    parts = (
        Attachment(type="AudioRecording", vm_duration=25),
        Attachment(type="AudioTranscription", content_type="text/plain", uri=URI),
    )
    assert said(sms(None, type="VoiceMail", attachments=parts)) == ["Voicemail (0:25)"]
    assert said(sms(None, type="VoiceMail", attachments=parts[1:])) == ["Voicemail"]


def test_fax() -> None:
    page = Attachment(type="RenderedDocument", uri=URI)
    fax = sms("+1 (415) 555-0142", type="Fax", attachments=(page,), fax_page_count=2, fax_resolution="High")
    assert said(fax) == [f"Fax (2 pages, high resolution): {LINK}"]
    sent: dict[str, Any] = {"type": "Fax", "direction": "Outbound", "fax_page_count": 1}
    assert said(sms("See cover", **sent)) == ["See cover", "Fax (1 page)"]
    assert said(sms("Maya Patel", **sent, to=(MAYA,))) == ["Fax (1 page)"]
    assert said(sms("PATEL M", type="Fax", fax_page_count=1)) == ["Fax (1 page)"]
    assert said(sms(None, **sent, cover_page_text="Signed.\nBye")) == [
        "Fax (1 page)",
        "Cover page: Signed.",
        "Bye",
    ]
    assert said(sms(None, **sent, cover_page_text=" \n")) == ["Fax (1 page)"]


def test_the_document_that_a_fax_was_made_of_is_the_fax_until_that_is_rendered() -> None:
    source = Attachment(type="SourceDocument", content_type="image/tiff", file_name="Lease.tiff", uri=URI)
    page = Attachment(type="RenderedDocument", content_type="application/pdf", uri=URI)
    assert said(sms(None, type="Fax", attachments=(source, page))) == [f"Fax: {LINK}"]
    assert said(sms(None, type="Fax", attachments=(source,))) == [f"Fax Lease.tiff: {LINK}"]


def test_fax_without_link_uri_or_token_says_what_is_known() -> None:
    assert said(
        sms(None, type="Fax", attachments=(Attachment(type="RenderedDocument"),), fax_page_count=3)
    ) == ["Fax (3 pages)"]


def test_mms_attachment_without_content_type_is_logged_with_a_plain_link() -> None:
    assert said(sms("Look", attachments=(Attachment(type="MmsAttachment", uri=URI),))) == [
        "Look",
        f"File: {LINK}",
    ]


@pytest.mark.parametrize(
    ("content_type", "name", "label"),
    [
        ("text/x-vCard", "Ana Ruiz.vcf", "Contact card Ana Ruiz.vcf"),
        ("text/vcard; charset=utf-8", None, "Contact card"),
        (None, "Ana.vcf", "Contact card Ana.vcf"),
        ("application/pdf", "a.pdf", "PDF a.pdf"),
        ("application/octet-stream", "a.PDF", "PDF a.PDF"),
        ("audio/amr", None, "Audio"),
        ("application/octet-stream", "voice.m4a", "Audio voice.m4a"),
        ("text/plain", "notes.txt", "Text file notes.txt"),
        ("text/calendar", None, "Calendar entry"),
        ("application/vnd.ms-excel", "q3.xls", "Spreadsheet q3.xls"),
        ("application/zip", "all.zip", "Archive all.zip"),
        ("image/heic", "x.heic", "Picture x.heic"),
        ("application/x-novelty", "x.nov", "File x.nov"),
        ("application/x-novelty", None, "File"),
    ],
)
def test_files_by_a_word_and_their_name(content_type: str | None, name: str | None, label: str) -> None:
    file = Attachment(type="MmsAttachment", content_type=content_type, file_name=name, uri=URI)
    assert said(sms(None, attachments=(file,))) == [f"{label}: {LINK}"]


@pytest.mark.parametrize(
    "layout",
    [
        Attachment(type="MmsAttachment", content_type="application/smil", uri=URI),
        Attachment(type="MmsAttachment", content_type="Application/SMIL; charset=us-ascii", uri=URI),
        Attachment(type="MmsAttachment", content_type="text/plain", file_name="0.smil", uri=URI),
    ],
)
def test_the_layout_of_an_mms_is_no_file(layout: Attachment) -> None:
    picture = Attachment(type="MmsAttachment", content_type="image/jpeg", file_name="roof.jpg", uri=URI)
    assert said(sms("The roof", attachments=(layout, picture))) == ["The roof", f"Picture roof.jpg: {LINK}"]
    assert said(sms(None, attachments=(layout,))) == ["(no text)"]


def test_what_stands_for_a_picture_in_a_text_is_not_shown() -> None:
    picture = Attachment(type="MmsAttachment", content_type="image/jpeg", uri=URI)
    for text in ("\ufffc", "\ufffc\ufffc", " \ufffc\n\ufffc", "\u3164", "\ufe0f", "\u200d\u00ad"):
        assert said(sms(text, attachments=(picture,))) == [f"Picture: {LINK}"]
        assert said(sms(text)) == ["(no text)"]
    assert said(sms("\ufffc\nThe roof\n\ufffc\n\nand\ufffc more")) == ["The roof", "", "", "and more"]


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
        ("DBGeneralError", "Not delivered: RingCentral had a fault"),
        ("Novelty", "Not delivered"),
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


@pytest.mark.parametrize("source", ["RC", "UP", "CAR"])
def test_an_opt_out_is_said_whoever_reports_it(source: str) -> None:
    text = sms(direction="Outbound", message_status="SendingFailed", delivery_error_code=f"SMS-{source}-413")
    assert said(text)[1:] == ["Not sent: the recipient has opted out of text messages"]


def test_an_opt_out_is_said_first() -> None:
    to = (
        Party(name="Omar", phone_number="+1", message_status="DeliveryFailed", error_code="SMS-CAR-411"),
        Party(name="PATEL M", phone_number="+14155550142", error_code="SMS-UP-413"),
    )
    text = sms(direction="Outbound", message_status="DeliveryFailed", to=to)
    assert said(text)[1:] == [
        "Not delivered: the recipient has opted out of text messages (Maya Patel)",
        "Not delivered: the number is a landline, not valid, or takes no text messages (Omar)",
    ]
    both = (Party(fax_error_code="NoAnswer", error_code="SMS-CAR-500"),)
    text = sms(direction="Outbound", delivery_error_code="SMS-RC-413", message_status="Failed", to=both)
    assert said(text)[1:] == ["Not delivered: the recipient has opted out of text messages"]


def test_the_code_of_a_text_to_several_is_told_of_the_one_that_failed_or_of_all() -> None:
    failed: dict[str, Any] = {"message_status": "DeliveryFailed"}
    fine: dict[str, Any] = {"message_status": "Delivered"}
    codes: dict[str, Any] = {"direction": "Outbound", "delivery_error_code": "SMS-CAR-413"}
    one = sms(**codes, to=(Party(name="Omar", **fine), Party(name="Ana", **failed)))
    assert said(one)[1:] == ["Not delivered: the recipient has opted out of text messages (Ana)"]
    both = sms(**codes, to=(Party(name="Omar", **failed), Party(name="Ana", **failed)))
    assert said(both)[1:] == [
        "Not delivered: the recipient has opted out of text messages",
        "Not delivered (Omar)",
        "Not delivered (Ana)",
    ]
    none = sms(**codes, message_status="SendingFailed", to=(Party(name="Omar"), Party(name="Ana")))
    assert said(none)[1:] == ["Not sent: the recipient has opted out of text messages"]


def test_a_code_without_a_status_tells_and_one_beside_a_good_status_does_not() -> None:
    codes: dict[str, Any] = {"direction": "Outbound", "delivery_error_code": "SMS-CAR-413"}
    assert said(sms(**codes))[1:] == ["Not delivered: the recipient has opted out of text messages"]
    assert said(sms(**codes, message_status="Delivered"))[1:] == []
    assert said(sms(direction="Outbound", delivery_error_code="SMS-CAR-104"))[1:] == []
    assert said(sms(direction="Outbound", delivery_error_code="SMS-NO-ERROR"))[1:] == []
    assert said(sms(direction="Inbound", delivery_error_code="SMS-CAR-413"))[1:] == []


def test_the_captured_two_days_show_their_own_text() -> None:
    info = {
        "conversationId": 1,
        "correspondents": [{"phoneNumber": "+14155550142"}],
        "messages": [{"id": 2, "creationTime": T, "subject": "Thank you! 🙏 <ok>", "direction": "Inbound"}],
    }
    request = parse_log_request(json.dumps({"logInfo": info, "contactId": "c"}).encode())
    body = compose_log(PLAIN, PEOPLE, request.info.messages, request.info.conversation, KEY).body
    assert body.endswith("\n  Thank you! 🙏 <ok>")
