"""What is wrong with a request is told with the path of the field, and never with the value."""

import json
from typing import Any

import msgspec
import pytest

from messagelog.messages import BadRequest, LogRequest, parse_log_request

SECRET = "a customer's words"


def message(**fields: Any) -> dict[str, Any]:
    return {"id": 1, "type": "SMS", "creationTime": 1_783_998_000_000, "subject": SECRET} | fields


def body(messages: Any = None, *, top: Any = None, **info: Any) -> dict[str, Any]:
    log_info = {
        "conversationId": "7",
        "messages": [message()] if messages is None else messages,
        "correspondents": [{"phoneNumber": "+14155550142"}],
    } | info
    return {"logInfo": log_info, "contactId": "c-1"} | (top or {})


def parse(sent: Any) -> LogRequest:
    return parse_log_request(json.dumps(sent).encode())


def problem(sent: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        parse(sent)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert str(caught.value) == f"{caught.value.path}: {caught.value.problem}"
    return str(caught.value)


def path(sent: Any) -> str:
    return problem(sent).partition(":")[0]


def without(sent: dict[str, Any], *names: str) -> dict[str, Any]:
    *parents, last = names
    inner = sent
    for name in parents:
        inner = inner[name]
    del inner[last]
    return sent


# -- the whole ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [b"", b"no", b"{", b"\x00", b"\xff\xfe{\x00}\x00", b"NaN"])
def test_not_json(raw: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^body: is not (JSON|UTF-8)$"):
        parse_log_request(raw)


@pytest.mark.parametrize("sent", [None, [], 1, "text", True])
def test_not_an_object(sent: Any) -> None:
    assert path(sent) == "body"


@pytest.mark.parametrize("place", [b'"subject":"\xff"', b'"unknown":"\xff"', b'"subject":"\xed\xa0\xbd"'])
def test_bad_utf_8_even_where_nothing_is_read(place: bytes) -> None:
    raw = json.dumps(body()).encode().replace(b'"subject": "a customer\'s words"', place)
    assert place in raw
    with pytest.raises(BadRequest, match=r"^body: is not UTF-8$"):
        parse_log_request(raw)


@pytest.mark.parametrize("key", [b"unknown", b"subject", b"additionalSubmission", b"attachments"])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("depth", [5_000, 200_000])
def test_nesting_too_deep(key: bytes, opening: bytes, depth: int) -> None:
    with pytest.raises(BadRequest):
        parse_log_request(b'{"' + key + b'":' + opening * depth)
    with pytest.raises(BadRequest):
        parse_log_request(b'{"logInfo":{"messages":[{"id":1,"' + key + b'":' + opening * depth)


def test_a_form_nested_deeper_than_forms_are() -> None:
    nested: Any = "x"
    for _ in range(33):
        nested = {"a": [nested]}
    assert path(body(top={"additionalSubmission": nested})) == "additionalSubmission"
    assert parse(body(top={"additionalSubmission": {"a": [{"b": 1}]}})).additional_submission == {
        "a": [{"b": 1}]
    }


def test_byte_order_mark_is_no_fault() -> None:
    assert parse_log_request(b"\xef\xbb\xbf" + json.dumps(body()).encode()).contact_id == "c-1"


# -- ids ---------------------------------------------------------------------------------------------------


def test_ids_above_2_to_the_53_as_numbers_stay_exact() -> None:
    sent = body([message(id=9_007_199_254_740_993)], conversationId=8_031_152_018_338_945_839)
    info = parse(sent).info

    assert info.messages[0].id == "9007199254740993"
    assert info.conversation_id == "8031152018338945839"


def test_ids_are_compared_as_text() -> None:
    assert parse(body([message(id=5)])).info.messages == parse(body([message(id="5")])).info.messages


@pytest.mark.parametrize(
    "wrong",
    [True, 1.0, 1.5, [1], {"id": 1}, None, "", " ", "x" * 256, int("9" * 300), "a\x00b", "a\nb", "a\x9fb"],
)
def test_ids_that_are_none_are_refused(wrong: Any) -> None:
    assert path(body([message(), message(id=wrong)])) == "logInfo.messages[1].id"


@pytest.mark.parametrize("wrong", [True, 1.0, [1], {"id": 1}, "x" * 256, "a\x00b", "a\u2028b"])
def test_conversation_ids_that_are_none_are_refused(wrong: Any) -> None:
    assert path(body(conversationId=wrong)) == "logInfo.conversationId"
    assert path(body(conversationLogId=wrong)) == "logInfo.conversationLogId"
    assert path(body([message(conversationId=wrong)])) == "logInfo.messages[0].conversationId"


@pytest.mark.parametrize("wrong", [None, "", "  ", True, 1.0, [1], {"id": 1}, "x" * 256, "a\x00b"])
def test_contact_ids_that_are_none_are_refused(wrong: Any) -> None:
    assert path(body(top={"contactId": wrong})) == "contactId"
    assert path(without(body(), "contactId")) == "contactId"


def test_contact_id_as_a_number() -> None:
    assert parse(body(top={"contactId": 42})).contact_id == "42"


def test_a_missing_id_is_named() -> None:
    assert problem(body([message(), without(message(), "id")])) == "logInfo.messages[1].id: is missing"


def test_what_was_expected_is_said_in_words() -> None:
    wrong = body([message(), message(id=[SECRET])])
    assert problem(wrong) == "logInfo.messages[1].id: expected text or a whole number, got a list"


def test_the_same_message_id_twice_in_one_request_is_one_message() -> None:
    sent = body([message(subject="first"), message(id=2), message(id="1", subject="again")])
    assert [m.body_text for m in parse(sent).info.messages] == ["first", SECRET]


# -- what belongs to a conversation ------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [None, ""])
def test_no_conversation_log_id_is_none(missing: Any) -> None:
    assert parse(body(conversationLogId=missing)).info.conversation_log_id is None
    assert parse(body()).info.conversation_log_id is None


def test_conversation_log_id_as_a_number_is_text() -> None:
    assert (
        parse(body(conversationLogId=8_031_152_018_338_945_839)).info.conversation_log_id
        == "8031152018338945839"
    )


def test_conversation_id_is_taken_from_the_messages() -> None:
    flat = body([message(), message(id=2, conversationId=12)], conversationId=None)
    raw = without(
        body([message(conversation={"id": "12", "uri": "https://x.test"})]), "logInfo", "conversationId"
    )

    assert parse(flat).info.conversation_id == "12"
    assert parse(raw).info.conversation_id == "12"


@pytest.mark.parametrize("kind", ["VoiceMail", "Voicemail", "Fax"])
def test_voicemail_and_fax_are_their_own_conversation(kind: str) -> None:
    assert parse(body([message(id=5, type=kind)], conversationId=None)).info.conversation_id == "5"


def test_an_sms_without_any_conversation_is_refused() -> None:
    assert problem(body(conversationId=None)) == "logInfo.conversationId: is missing"


def test_no_log_info() -> None:
    assert problem({"contactId": "c-1"}) == "logInfo: is missing"
    assert problem({"contactId": "c-1", "logInfo": None}) == "logInfo: is missing"


@pytest.mark.parametrize("missing", [[], None, [None]])
def test_no_messages(missing: Any) -> None:
    sent = body()
    sent["logInfo"]["messages"] = missing
    sent["logInfo"]["conversationId"] = sent["logInfo"]["correspondents"] = None
    assert parse(sent).info.is_empty


@pytest.mark.parametrize("missing", [[], None, [None]])
def test_no_correspondents(missing: Any) -> None:
    assert path(body(correspondents=missing)) == "logInfo.correspondents"


def test_a_shared_thread_may_have_entities_only_and_a_guest_for_a_correspondent() -> None:
    info = parse(
        body(
            [],
            correspondents=None,
            owner={"name": "Desk"},
            entities=[{"id": 1}],
            guestParty={"phoneNumber": "+1"},
        )
    ).info

    assert info.is_shared
    assert [party.phone_number for party in info.correspondents] == ["+1"]


def test_a_guest_is_no_correspondent_of_an_ordinary_conversation() -> None:
    assert path(body(correspondents=None, guestParty={"phoneNumber": "+1"})) == "logInfo.correspondents"


def test_a_shared_thread_without_anything_is_empty() -> None:
    assert parse(body([], owner={"name": "Desk"}, entities=[])).info.is_empty


@pytest.mark.parametrize(
    ("field", "item", "most"),
    [("messages", {"id": 1}, 1_000), ("entities", {"id": 1}, 10_000), ("correspondents", {"name": "A"}, 100)],
)
def test_sizes_are_bounded(field: str, item: dict[str, Any], most: int) -> None:
    assert path(body(**{field: [item] * (most + 1)})) == f"logInfo.{field}"
    assert parse(body(**{field: [item] * most})).contact_id == "c-1"


# -- times -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        1_783_998_000_000,
        1_783_998_000_000.0,
        "1783998000000",
        "2026-07-14T03:00:00Z",
        "2026-07-14T03:00:00.000Z",
        "2026-07-13T20:00:00-07:00",
        "2026-07-14T03:00:00",
    ],
)
def test_times_as_milliseconds_or_iso_text(given: Any) -> None:
    assert parse(body([message(creationTime=given)])).info.messages[0].sent_at == 1_783_998_000_000


@pytest.mark.parametrize(
    "wrong",
    [
        *(0, -1, 1_783_998_000, 10**13, 10**300, 1.5, True, [], {}),
        *("", "yesterday", "07/13/2026", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9" * 5000),
        *("١٧٨٣٩٩٨٠٠٠٠٠٠", "2200-01-01T00:00:00Z", "2026-13-45T00:00:00Z"),
    ],
)
def test_times_that_are_none_are_refused(wrong: Any) -> None:
    assert path(body([message(), message(creationTime=wrong)])) == "logInfo.messages[1].creationTime"
    assert path(body([message(lastModifiedTime=wrong)])) == "logInfo.messages[0].lastModifiedTime"
    assert path(body(creationTime=wrong)) == "logInfo.creationTime"


def test_a_message_without_creation_time_was_sent_when_it_was_last_modified() -> None:
    first, second = parse(
        body(
            [
                message(creationTime=None, lastModifiedTime="2026-07-14T03:00:00Z"),
                message(id=2, creationTime=None),
            ]
        )
    ).info.messages
    assert (first.sent_at, second.sent_at) == (1_783_998_000_000, None)


# -- types -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        (body([message(subject=5)]), "logInfo.messages[0].subject"),
        (body([message(text=[])]), "logInfo.messages[0].text"),
        (body([message(direction={})]), "logInfo.messages[0].direction"),
        (body([message(to="+1")]), "logInfo.messages[0].to"),
        (body([message(to=[None, "+1"])]), "logInfo.messages[0].to[1]"),
        (body([message(attachments=[{}, {"uri": 1}])]), "logInfo.messages[0].attachments[1].uri"),
        (body([message(**{"from": {"name": 1}})]), "logInfo.messages[0].from.name"),
        (body([message(), "x"]), "logInfo.messages[1]"),
        (body({}), "logInfo.messages"),
        (body(self=[]), "logInfo.self"),
        (body(owner="Desk"), "logInfo.owner"),
        (body(owner={}, entities=[{"id": 1}, {"id": 2, "author": "Ana"}]), "logInfo.entities[1].author"),
        (body(rcAccessToken=1), "logInfo.rcAccessToken"),
        (body(top={"logInfo": []}), "logInfo"),
        (body(top={"additionalSubmission": []}), "additionalSubmission"),
        (body(top={"overridingFormat": {}}), "overridingFormat"),
        (body(top={"contactName": 1}), "contactName"),
    ],
)
def test_wrong_types_are_named_with_their_path(sent: Any, where: str) -> None:
    assert path(sent) == where


def test_null_is_as_good_as_absent() -> None:
    names = [
        "type",
        "direction",
        "subject",
        "text",
        "from",
        "to",
        "attachments",
        "messageStatus",
        "transcript",
    ]
    more = ["faxPageCount", "conversationId", "conversation", "author", "creationTime", "lastModifiedTime"]
    nulls = body(
        [dict.fromkeys([*names, *more], None) | {"id": 1}],
        **dict.fromkeys(["self", "owner", "entities", "date", "type", "guestParty", "rcAccessToken"], None),
        top=dict.fromkeys(["contactType", "contactName", "additionalSubmission", "overridingFormat"], None),
    )
    assert parse(nulls) == parse(body([{"id": 1}]))


def test_unknown_fields_are_welcome() -> None:
    sent = body([message(novelty="High", readStatus=["?"])], isAssignedToMe=True, top={"new": {"x": [1]}})
    assert parse(sent) == parse(body())


@pytest.mark.parametrize(
    ("given", "read"),
    [(["text/html"], ("text/html",)), ("text/html", ("text/html",)), ([None], ()), (None, ())],
)
def test_overriding_formats(given: Any, read: tuple[str, ...]) -> None:
    assert parse(body(top={"overridingFormat": given})).overriding_format == read


# -- half emoji --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("escaped", "read"),
    [
        (r"cut \ud83d", "cut \ufffd"),
        (r"\ude00 tail", "\ufffd tail"),
        (r"\ud83d\ud83d\ude00", "\ufffd😀"),
        (r"\ud83d\u0041", "\ufffdA"),
        (r"\uD83D\uDE00", "😀"),
        (r"\\ud83d", r"\ud83d"),
        (r"\\\ud83d", "\\\ufffd"),
        (r"\\\\ud83d \ud83d", "\\\\ud83d \ufffd"),
        (r"\"\ud83d\"", '"\ufffd"'),
        (r"\u0000\ud83d", "\x00\ufffd"),
    ],
)
def test_a_lone_surrogate_becomes_a_replacement_character(escaped: str, read: str) -> None:
    raw = json.dumps(body()).replace(SECRET, escaped).encode()
    assert parse_log_request(raw).info.messages[0].body_text == read


def test_a_lone_surrogate_is_mended_everywhere() -> None:
    raw = json.dumps(
        body(top={"contactName": "NAME", "additionalSubmission": {"KEY": "x"}, "unknown": "NAME"})
    )
    request = parse_log_request(raw.replace("NAME", r"\ud83d").replace("KEY", r"\udc00").encode())
    assert request.contact_name == "\ufffd"
    assert request.additional_submission == {"\ufffd": "x"}
    assert msgspec.json.encode(request)


def test_a_mended_body_is_still_checked() -> None:
    raw = json.dumps(body([message(id=1), message(id=True)])).replace(SECRET, r"\ud83d").encode()
    with pytest.raises(BadRequest, match=r"^logInfo\.messages\[1\]\.id: "):
        parse_log_request(raw)


def test_nul_and_control_characters_in_names_and_texts_are_kept_for_the_writer() -> None:
    info = parse(body([message(subject="a\x00b\x1b[1m", **{"from": {"name": "\x00"}})])).info
    assert info.messages[0].body_text == "a\x00b\x1b[1m"
