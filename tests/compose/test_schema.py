"""For all that RingCentral's schema allows, a reader sees words: no code, no MIME type, no needless "unknown".

The strategies are written by hand from RingCentral's public API description: its enums, and what may be missing.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messagelog.compose import LANGUAGES, LogFormat, Participants, TextSettings, compose_log, compose_thread
from messagelog.compose.failures import reason_of
from messagelog.compose.wording import words_in
from messagelog.messages import LogRequest, parse_log_request

KEY = b"k" * 32
T = 1_783_998_000_000
MAYAS, OURS = "+14155550142", "+14155550101"
SPELLINGS: Final = (MAYAS, "(415) 555-0142", "4155550142")
PEOPLE = Participants("Maya Patel", MAYAS, "Ada Lovell", SPELLINGS)

STATUSES: Final = ("Queued", "Sent", "Delivered", "DeliveryFailed", "SendingFailed", "Received")
PRIORITIES: Final = ("Normal", "High")
DIRECTIONS: Final = ("Inbound", "Outbound")
AVAILABILITIES: Final = ("Alive", "Deleted", "Purged")
TYPES: Final = ("Fax", "SMS", "VoiceMail", "Pager", "Text")
RESOLUTIONS: Final = ("High", "Low")
ATTACHMENTS: Final = (
    *("AudioRecording", "AudioTranscription", "Text", "SourceDocument", "RenderedDocument", "MmsAttachment"),
)
TRANSCRIPTIONS: Final = (
    *("NotAvailable", "InProgress", "TimedOut", "Completed", "CompletedPartially", "Failed", "Unknown"),
)
FAX_CODES: Final = (
    *("AllLinesInUse", "Undefined", "NoFaxSendPermission", "NoInternationalPermission", "NoFaxMachine"),
    *("NoAnswer", "LineBusy", "CallerHungUp", "NotEnoughCredits", "SentPartially"),
    *("InternationalCallingDisabled", "DestinationCountryDisabled", "UnknownCountryCode", "NotAccepted"),
    *(
        "InvalidNumber",
        "CallDeclined",
        "TooManyCallsPerLine",
        "CallFailed",
        "RenderingFailed",
        "TooManyPages",
    ),
    *("ReturnToDBQueue", "NoCallTime", "WrongNumber", "ProhibitedNumber", "InternalError"),
    *("FaxSendingProhibited", "ThePhoneIsBlacklisted", "UserNotFound", "ConvertError", "DBGeneralError"),
    *("SkypeBillingFailed", "AccountSuspended", "ProhibitedDestination", "InternationalDisabled"),
)
TEXT_CODES: Final = (
    *(f"SMS-RC-{number}" for number in (410, 413, 430, 500, 501, 503, 504)),
    *(f"SMS-UP-{number}" for number in (410, 413, 414, 430, 431, 432, 433, 500)),
    *(
        f"SMS-CAR-{number}"
        for number in (104, 199, 400, 410, 411, 412, 413, 414, 430, 431, 432, 433, 434, 435)
    ),
    *(f"SMS-CAR-{number}" for number in (450, 451, 452, 460, 461, 500)),
)
THREAD_STATUSES: Final = ("Open", "Resolved")
THREAD_REASONS: Final = ("Manual", "ThreadExpired", "OwnerDeleted", "OwnerPhoneNumberDeleted")
EXTENSION_TYPES: Final = ("User", "Department", "DigitalUser", "SharedLinesGroup", "Unknown")
ENTITIES: Final = (
    *(
        "AliveMessage",
        "DeletedMessage",
        "AliveNote",
        "DeletedNote",
        "ThreadCreatedHint",
        "ThreadResolvedHint",
    ),
    *("ThreadDeletedHint", "ThreadAssignedHint"),
)
MIME_TYPES: Final = (
    *("text/plain", "text/vcard", "text/x-vCard", "application/pdf", "application/smil", "audio/mpeg"),
    *("audio/amr", "image/jpeg", "image/tiff", "video/mp4", "application/octet-stream", "text/calendar"),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
)

_CODES: Final = {
    *(*STATUSES[3:], "Queued", "Normal", *AVAILABILITIES[1:], *ATTACHMENTS, *TRANSCRIPTIONS[:1]),
    *(*TRANSCRIPTIONS[1:3], "CompletedPartially", *FAX_CODES, *THREAD_REASONS[1:], *ENTITIES, "VoiceMail"),
    *("DigitalUser", "SharedLinesGroup", "Department", "Manual", "Pager"),
} - {"Text"}
"""Words that no catalog has, and none of the texts below."""

_MIME = re.compile(r"\b(?:text|application|audio|image|video)/[\w.+-]+", re.IGNORECASE)
_LINK = re.compile(r"https://\S+")
_TEXT_CODE = re.compile(r"SMS-[A-Z]+-\d")
_NOTHING = re.compile(r"\b(?:None|null|undefined|nan)\b", re.IGNORECASE)

texts = st.one_of(
    st.none(),
    st.just(""),
    st.sampled_from(["Hi", "\ufffc", "\ufffc\nThe roof", "漢字 ok", "a\n\nb", " ", "\u200b"]),
    st.text(st.sampled_from("abc éñ漢🙂\n"), max_size=12),
)
times = st.integers(0, 40).map(lambda minutes: T + minutes * 60_000)
ids = st.integers(1, 10**12)


def maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw an object with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


def customer(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"phoneNumber": st.sampled_from(SPELLINGS)},
        optional={
            "name": st.sampled_from(["Maya Patel", "WIRELESS CALLER", ""]),
            "location": st.just("San Mateo, CA"),
            **fields,
        },
    )


ours = maybe(
    phoneNumber=st.just(OURS),
    name=st.sampled_from(["Jordan Lee", ""]),
    extensionNumber=st.just("101"),
    extensionId=st.just("178010005"),
)
delivery = {
    "messageStatus": st.sampled_from(STATUSES),
    "faxErrorCode": st.sampled_from(FAX_CODES),
    "errorCode": st.sampled_from(TEXT_CODES),
    "target": st.booleans(),
}
attachments = st.lists(
    maybe(
        id=ids,
        uri=st.just("https://media.ringcentral.com/restapi/v1.0/account/1/message-store/2/content/3"),
        type=st.sampled_from(ATTACHMENTS),
        contentType=st.sampled_from(MIME_TYPES),
        vmDuration=st.integers(0, 600),
        fileName=st.sampled_from(["roof.jpg", "Lease.docx", "Ana.vcf", "", "notes"]),
        size=st.integers(0, 10**7),
    ),
    max_size=3,
)


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a record of the message store, with any fields that it may have."""
    direction = draw(st.sampled_from(DIRECTIONS))
    others = st.lists(customer(**delivery), min_size=1, max_size=2)
    parties = {
        "from": draw(ours if direction == "Outbound" else customer()),
        "to": draw(others if direction == "Outbound" else st.lists(ours, min_size=1, max_size=1)),
    }
    record = draw(
        maybe(
            availability=st.just("Alive"),
            priority=st.sampled_from(PRIORITIES),
            subject=texts,
            messageStatus=st.sampled_from(STATUSES),
            deliveryErrorCode=st.sampled_from([*TEXT_CODES, "SMS-CAR-999", "SMS-RC-777", "NOVELTY_7"]),
            faxPageCount=st.integers(0, 40),
            faxResolution=st.sampled_from(RESOLUTIONS),
            coverIndex=st.integers(0, 13),
            coverPageText=texts,
            vmTranscriptionStatus=st.sampled_from(TRANSCRIPTIONS),
            transcript=st.one_of(texts, st.sampled_from(["In progress", "Fetching transcription"])),
            attachments=attachments,
            readStatus=st.sampled_from(["Read", "Unread"]),
        )
    )
    type_ = draw(st.sampled_from(TYPES))
    fixed = {"id": draw(ids), "type": type_, "direction": direction, "creationTime": draw(times)}
    return {**record, **parties, **fixed}


colleague = maybe(
    extensionId=st.sampled_from(["178010005", "178010006"]), name=st.sampled_from(["Jordan Lee", "Sam Ortiz"])
)
entities = st.lists(
    st.fixed_dictionaries(
        {"id": ids.map(str), "recordType": st.sampled_from(ENTITIES), "lastModifiedTime": times},
        optional={
            "creationTime": times,
            "availability": st.sampled_from(AVAILABILITIES),
            "direction": st.sampled_from(DIRECTIONS),
            "messageStatus": st.sampled_from(STATUSES),
            "deliveryErrorCode": st.sampled_from(TEXT_CODES),
            "text": texts,
            "body": texts,
            "author": colleague,
            "from": colleague,
            "initiator": colleague,
            "assignee": colleague,
            "previousAssignee": colleague,
            "attachments": attachments,
        },
    ),
    min_size=1,
    max_size=6,
)
threads = st.fixed_dictionaries(
    {"entities": entities},
    optional={
        "status": st.sampled_from(THREAD_STATUSES),
        "statusReason": st.sampled_from(THREAD_REASONS),
        "creationTime": times,
        "assignee": colleague,
        "ownerParty": st.just({"phoneNumber": OURS}),
    },
)
owners = maybe(
    name=st.sampled_from(["Support Queue", "Jordan Lee"]),
    extensionType=st.sampled_from(EXTENSION_TYPES),
    extensionId=st.sampled_from(["178010005", "9"]),
)


def request(**info: Any) -> LogRequest:
    usual: dict[str, Any] = {
        "conversationId": "7",
        "messages": [],
        "correspondents": [{"phoneNumber": MAYAS}],
    }
    sent = {"logInfo": usual | info, "contactId": "c-1", "contactName": "Maya Patel"}
    return parse_log_request(json.dumps(sent).encode())


def shown(text_settings: TextSettings, subject: str, body: str) -> str:
    """Return what a person reads: the text without the addresses of links, and without Markdown's escapes."""
    text = f"{subject}\n{_LINK.sub('', body)}"
    return text.replace("\\", "") if text_settings.format is LogFormat.MARKDOWN else text


def check_words(text_settings: TextSettings, text: str) -> None:
    words = set(re.findall(r"[A-Za-z]+", text))
    assert not words & _CODES
    assert not _TEXT_CODE.search(text)
    assert "NOVELTY" not in text
    assert not _MIME.search(text)
    assert not _NOTHING.search(text)
    assert "\ufffc" not in text
    unknown = words_in(text_settings.language)
    assert unknown.unknown_contact not in text
    assert unknown.unknown_time not in text
    for placeholder in ("In progress", "Fetching transcription", "WIRELESS CALLER"):
        assert placeholder not in text


each_language = pytest.mark.parametrize("language", LANGUAGES)
every_pins = st.builds(
    TextSettings,
    st.sampled_from([LogFormat.PLAIN, LogFormat.HTML, LogFormat.MARKDOWN]),
    st.just("America/Los_Angeles"),
    st.sampled_from(LANGUAGES),
)


@settings(max_examples=250, deadline=None)
@given(text_settings=every_pins, some=st.lists(messages(), min_size=1, max_size=3), itself=ours)
def test_messages_are_words(
    text_settings: TextSettings, some: list[dict[str, Any]], itself: dict[str, Any]
) -> None:
    info = request(messages=some, self=itself).info
    content = compose_log(text_settings, PEOPLE, info.loggable, info.conversation, KEY)
    text = shown(text_settings, content.subject, content.body)
    check_words(text_settings, text)
    assert words_in(text_settings.language).unknown_agent not in text


@settings(max_examples=250, deadline=None)
@given(text_settings=every_pins, some=threads, owner=owners)
def test_threads_are_words(text_settings: TextSettings, some: dict[str, Any], owner: dict[str, Any]) -> None:
    read = request(owner=owner, **some)
    content = compose_thread(text_settings, PEOPLE, read.thread, KEY)
    text = shown(text_settings, content.subject, content.body)
    check_words(text_settings, text)
    assert not re.search(r"17801000[56]", text)
    writers = [
        [each.author, each.initiator, each.from_]
        for each in read.thread.entities
        if each.record_type == "AliveNote" and each.is_there
    ]
    if all(any(party and party.name for party in each) for each in writers):
        assert words_in(text_settings.language).unknown_agent not in text


@each_language
@pytest.mark.parametrize("code", FAX_CODES)
def test_every_fax_code_has_a_reason(language: str, code: str) -> None:
    check_reason(language, code)


@each_language
@pytest.mark.parametrize("code", [*TEXT_CODES, *map(str.lower, TEXT_CODES)])
def test_every_code_of_a_text_has_a_reason(language: str, code: str) -> None:
    check_reason(language, code)


def check_reason(language: str, code: str) -> None:
    reason = reason_of(code)
    assert reason is not None
    words = words_in(language)
    line = words.failure("SendingFailed", reason)
    assert line != words.failure("SendingFailed")
    assert code not in line
    if language != "en":
        assert words.why(reason) != words_in("en").why(reason)


@pytest.mark.parametrize("code", [None, "", "SMS-CAR-999", "SMS-XX-413", "0", "Novelty", "413"])
def test_a_code_that_is_not_known_gives_no_reason(code: str | None) -> None:
    assert reason_of(code) is None
