"""The plugin `redaction`: every text of a request, the operator's patterns, and its own limit of time."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from messagelog.messages import LogRequest, parse_log_request
from messagelog.plugins import BadPluginSetting, ContactForm, Refused, RequestContext
from messagelog.plugins.redaction import AT_ONCE, LONGEST_TEXT, Redaction, TooSlow
from support.requests import START, body, message, thread, to_log_request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTEXT = RequestContext(tenant="acme", platform="memory", crm="Memory CRM", user_id="ada")
CARD, MASKED = "4111 1111 1111 1111", "••••••••••••1111"

REDACTED = {
    "LogInfo.status_reason",
    "Message.subject",
    "Message.text",
    "Message.transcript",
    "Message.cover_page_text",
    "Entity.subject",
    "Entity.text",
    "Entity.body",
    "Attachment.file_name",
}
"""What people wrote."""

NAMES = {"LogRequest.contact_name", "Owner.name", "Party.name"}
"""Of people and queues, by a setting."""

KEPT = {
    # ids, and what is a part of them
    "LogInfo.conversation_id",
    "LogInfo.conversation_log_id",
    "LogInfo.selected_message_ids",
    "LogRequest.selected_message_ids",
    "LogInfo.date",
    "LogRequest.contact_id",
    "Message.id",
    "Message.conversation_id",
    "ConversationRef.id",
    "Entity.id",
    "Attachment.id",
    "Owner.extension_id",
    "Party.extension_id",
    # times
    "LogInfo.creation_time",
    "LogInfo.last_modified_time",
    "Message.creation_time",
    "Message.last_modified_time",
    "Entity.creation_time",
    "Entity.last_modified_time",
    # who it is and how to reach them
    *NAMES,
    "Party.location",
    "Party.phone_number",
    "Party.extension_number",
    # where files are
    "Attachment.uri",
    "Attachment.link",
    # other names of fields above, empty once they are read, and sizes and durations that may arrive as text
    "Attachment.filename",
    "Attachment.content_uri",
    "Attachment.size",
    "Attachment.vm_duration",
    "Message.fax_page_count",
    "Message.typing_duration_ms",
    # words of RingCentral and of the manifest
    "LogRequest.contact_type",
    "LogRequest.overriding_format",
    "LogInfo.type",
    "LogInfo.status",
    "Message.type",
    "Message.direction",
    "Message.message_status",
    "Message.delivery_error_code",
    "Message.priority",
    "Message.vm_transcription_status",
    "Message.fax_resolution",
    "Message.record_type",
    "Message.availability",
    "Entity.record_type",
    "Entity.availability",
    "Entity.direction",
    "Entity.message_status",
    "Entity.delivery_error_code",
    "Attachment.type",
    "Attachment.content_type",
    "Owner.extension_type",
    "Party.message_status",
    "Party.fax_error_code",
    "Party.error_code",
    # RingCentral's token, which plugins are not shown
    "LogInfo.rc_access_token",
}


def redaction(**settings: str) -> Redaction:
    return Redaction(settings)


def with_patterns(folder: Path, text: str) -> Redaction:
    path = folder / "patterns"
    path.write_text(text, "utf-8")
    return redaction(patterns_file=str(path))


async def seen(request: LogRequest, plugin: Redaction | None = None) -> LogRequest:
    return await (plugin or redaction()).on_request(CONTEXT, request)


def flat(type_: Any) -> Iterator[Any]:
    """Return the types that a hint is made of."""
    if get_origin(type_) in {Union, types.UnionType, tuple, dict}:
        for each in get_args(type_):
            yield from flat(each)
    else:
        yield type_


def fields_of(record: type[msgspec.Struct], found: dict[str, bool]) -> dict[str, bool]:
    """Yield every field of a record and of those in it, and whether it may hold a text."""
    for name, hint in get_type_hints(record).items():
        parts = list(flat(hint))
        key = f"{record.__name__}.{name}"
        if key not in found:
            found[key] = str in parts
            for part in parts:
                if isinstance(part, type) and issubclass(part, msgspec.Struct):
                    fields_of(part, found)
    return found


def filled(record: type[msgspec.Struct]) -> dict[str, Any]:
    """Return JSON of a record with a card's number in every field that may hold a text, except times."""
    made: dict[str, Any] = {}
    hints = get_type_hints(record)
    for field in msgspec.structs.fields(record):
        parts = list(flat(hints[field.name]))
        inner = [part for part in parts if isinstance(part, type) and issubclass(part, msgspec.Struct)]
        many = get_origin(hints[field.name]) is not None and tuple in {
            get_origin(each) for each in (hints[field.name], *get_args(hints[field.name]))
        }
        if inner:
            value: Any = filled(inner[0])
        elif field.name.endswith("_time"):
            value = START
        elif str in parts and field.name != "additional_submission":
            value = CARD
        else:
            continue
        made[field.encode_name] = [value] if many else value
    return made


def texts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a record and of those in it, with their values."""
    for field in msgspec.structs.fields(value):
        held = getattr(value, field.name)
        for each in held if isinstance(held, tuple) else (held,):
            if isinstance(each, msgspec.Struct):
                yield from texts(each)
            elif each is not None:
                yield f"{type(value).__name__}.{field.name}", each


@pytest.mark.parametrize(
    ("settings", "redacted"),
    [({}, REDACTED), ({"names": "false"}, REDACTED), ({"names": "true"}, REDACTED | NAMES)],
)
async def test_of_every_field_that_holds_text_it_is_said_whether_it_is_redacted(
    settings: dict[str, str], redacted: set[str]
) -> None:
    fields = {name for name, holds_text in fields_of(LogRequest, {}).items() if holds_text}
    assert fields == (REDACTED | KEPT | {"LogRequest.additional_submission"})
    request = parse_log_request(msgspec.json.encode(filled(LogRequest)))
    before, after = list(texts(request)), list(texts(await seen(request, redaction(**settings))))
    changed = {name for (name, old), (_, new) in zip(before, after, strict=True) if old != new}
    assert changed == redacted
    assert {name for name, held in before if held == CARD} >= redacted
    assert all(held == MASKED for name, held in after if name in redacted)


async def test_a_request_without_such_numbers_is_the_same_object() -> None:
    request = to_log_request(body(message(1), submission={"note": "call back", "choices": ["a", 1]}))
    assert await seen(request) is request


async def test_only_what_changes_is_made_anew() -> None:
    request = to_log_request(body(message(1, "fine"), message(2, f"it is {CARD}")))
    after = await seen(request)
    (second, first) = after.info.messages
    assert second.subject == f"it is {MASKED}"
    assert first is request.info.messages[1]


async def test_notes_of_a_shared_thread_are_redacted() -> None:
    after = await seen(to_log_request(thread("hello", f"it is {CARD}")))
    assert [entity.text for entity in after.thread.entities] == ["hello", f"it is {MASKED}"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("4111111111111111", "••••••••••••1111"),
        (CARD, MASKED),
        ("SSN 123-45-6789", "SSN XXX-XX-XXXX"),
        ("4000000000000000006", "4000000000000000006"),  # as long as ids of some CRMs are
        ("0061t00000AbCdEfGH", "0061t00000AbCdEfGH"),
        (
            "4111\u31641111\u31641111\u31641111",
            "••••••••••••1111",
        ),  # no font shows U+3164, which counts as a letter
        ("\u2463\u2460\u2460\u2460" + "\u2460" * 12, "••••••••••••1111"),
    ],
)
async def test_answers_of_the_form_are_redacted_but_for_ids(answer: str, expected: str) -> None:
    after = await seen(to_log_request(body(message(1), submission={"a": {"b": [answer, 3, None]}})))
    assert after.additional_submission == {"a": {"b": [expected, 3, None]}}


async def test_a_new_contacts_answers_are_redacted_and_by_a_setting_its_name() -> None:
    form = ContactForm(f"Maya {CARD}", {"note": f"card {CARD}", "choice": "0061t00000AbCdEfGH"})
    answers = {"note": f"card {MASKED}", "choice": "0061t00000AbCdEfGH"}
    assert await redaction().on_contact(CONTEXT, form) == ContactForm(form.name, answers)
    named = await redaction(names="true").on_contact(CONTEXT, form)
    assert named == ContactForm(f"Maya {MASKED}", answers)
    with pytest.raises(Refused, match="a text has more than 50,000 characters"):
        await redaction().on_contact(CONTEXT, ContactForm("Maya", {"note": "x " * LONGEST_TEXT}))


# ---------------------------------------------------------------------------------------- own patterns


async def test_own_patterns_are_replaced_by_their_names(tmp_path: Path) -> None:
    plugin = with_patterns(tmp_path, "# ours\n\naccount = (?i)\\bacc-\\d{6}\\b\nproject X = Projekt Ü\\w+\n")
    after = await seen(to_log_request(body(message(1, f"é Acc-123456, Projekt Über and {CARD} ✓"))), plugin)
    assert after.info.messages[0].subject == f"é [account], [project X] and {MASKED} ✓"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acc-12\u200b34\u00ad56!", "[account]!"),  # invisible characters
        ("acc-1\u03322\u03323\u03324\u03325\u03326\u0332!", "[account]\u0332!"),  # marks
        ("acc\u2011\uff11\uff12\uff13\uff14\uff15\uff16!", "[account]!"),  # full-width digits, another dash
        ("\u202eacc-123456\u202c", "\u202e[account]\u202c"),
        ("Mu\u0308ller", "[name]"),  # an u and two dots, as some computers write an ü
        ("Muller", "Muller"),
        ("acc-123456 acc-1234567", "[account] [account]7"),
        ("xacc-123456y", "[outer]"),  # nothing is left of overlapping matches
        ("अकाउंट", "[hindi]"),  # its marks are letters to a reader
        ("two  blanks", "[blanks]"),
        ("[account]", "[account]"),
    ],
)
async def test_own_patterns_find_what_a_reader_sees(tmp_path: Path, text: str, expected: str) -> None:
    patterns = "account = acc-\\d{6}\nname = Müller\nouter = x.*y\nhindi = अकाउंट\nblanks = two  blanks\n"
    after = await seen(to_log_request(body(message(1, text))), with_patterns(tmp_path, patterns))
    assert after.info.messages[0].subject == expected


async def test_own_patterns_see_the_names_of_files_in_one_line(tmp_path: Path) -> None:
    plugin = with_patterns(tmp_path, "client = client \\d+\n")
    files = [{"type": "MmsAttachment", "fileName": "client\n12.pdf"}]
    after = await seen(to_log_request(body(message(1, "client\n12", attachments=files))), plugin)
    (sms,) = after.info.messages
    assert (sms.subject, sms.attachments[0].file_name) == ("client\n12", "[client].pdf")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("fine = a\nno equals sign", r"patterns: line 2: expected `name = regular expression`\."),
        ("= a", "line 1: expected"),
        ("9 lives = a", "line 1: expected"),
        ("a = b\na = c", "line 2: there is another pattern called a"),
        ("a = (b", r"line 1: not a regular expression of RE2: missing \): \(b"),
        ("a = (?=b)", "line 1: not a regular expression of RE2: invalid perl operator"),
        ("a = (b)\\1", "line 1: not a regular expression of RE2: invalid escape sequence"),
        ("a = x{1000}{1000}", "line 1: not a regular expression of RE2"),
        ("a = b*", "line 1: it matches where nothing is written"),
    ],
)
def test_a_bad_pattern_is_told_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(BadPluginSetting, match=problem):
        with_patterns(tmp_path, text)


def test_settings_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPluginSetting, match=r"names: expected true or false\."):
        redaction(names="yes")
    with pytest.raises(BadPluginSetting, match=r"it has no setting pattern_file\."):
        redaction(pattern_file="x")
    with pytest.raises(BadPluginSetting, match=r"patterns_file: .*/none cannot be read: FileNotFoundError\."):
        redaction(patterns_file=str(tmp_path / "none"))
    (tmp_path / "latin").write_bytes(b"a = \xff")
    with pytest.raises(BadPluginSetting, match=r"cannot be read: UnicodeDecodeError\."):
        redaction(patterns_file=str(tmp_path / "latin"))


async def test_a_pattern_that_is_slow_elsewhere_ends_here(tmp_path: Path) -> None:
    plugin = with_patterns(tmp_path, "slow = (a+)+$\n")
    text = "a" * 2000 + "!"
    after = await seen(to_log_request(body(message(1, text))), plugin)
    assert after.info.messages[0].subject == text


async def test_a_pattern_with_more_finds_than_there_is_time_for_fails(tmp_path: Path) -> None:
    path = tmp_path / "patterns"
    path.write_text("letter = x", "utf-8")
    ticks = iter(range(10_000))
    plugin = Redaction({"patterns_file": str(path)}, clock=lambda: next(ticks) / 100)
    few = await seen(to_log_request(body(message(1, "x" * 50))), plugin)
    assert few.info.messages[0].subject == "[letter]" * 50
    with pytest.raises(TooSlow):
        await seen(to_log_request(body(message(1, "x" * 5000))), plugin)


# ---------------------------------------------------------------------------------------- the event loop


class Work:
    """A counter of the characters that are searched without a pause."""

    def __init__(self) -> None:
        self.since_pause, self.most, self.all = 0, 0, 0

    def rule(self, text: str, *, in_line: bool) -> str:
        self.since_pause += len(text)
        self.all += len(text)
        self.most = max(self.most, self.since_pause)
        return text

    async def pause(self) -> None:
        self.since_pause = 0


async def test_the_event_loop_has_its_turn_between_texts() -> None:
    work = Work()
    plugin = Redaction({}, pause=work.pause, rules=(work.rule,))
    sizes = [1, LONGEST_TEXT, 300, *([AT_ONCE // 3] * 30), AT_ONCE, AT_ONCE + 1, *([50] * 900)]
    request = to_log_request(
        body(
            *(message(at, f"{at:05}".rjust(size, "4")) for at, size in enumerate(sizes, 10_000)),
            submission={"notes": ["a b" * at for at in range(200)]},
        )
    )
    await seen(request, plugin)
    assert work.all > LONGEST_TEXT + 13 * AT_ONCE
    assert work.most == LONGEST_TEXT
    longest_first = Redaction({}, pause=work.pause, rules=(work.rule,))
    work.most = 0
    await seen(
        to_log_request(body(*(message(at, "7" * (AT_ONCE // 4) + str(at)) for at in range(90)))),
        longest_first,
    )
    assert AT_ONCE // 2 < work.most <= AT_ONCE


async def test_a_short_request_is_redacted_without_a_pause() -> None:
    async def never() -> None:
        raise AssertionError("it waited")

    plugin = Redaction({}, pause=never)
    after = await seen(to_log_request(body(*(message(at, f"{at}: {CARD}") for at in range(100)))), plugin)
    assert all(each.subject is not None and MASKED in each.subject for each in after.info.messages)


@pytest.mark.parametrize(
    "long",
    [
        body(message(1, "fine"), message(2, "4" * (LONGEST_TEXT + 1))),
        thread("fine", "\N{BULLET}" * (LONGEST_TEXT + 1)),
        body(message(1), submission={"note": ["x " * LONGEST_TEXT]}),
    ],
)
async def test_a_text_that_is_too_long_is_refused_and_not_looked_at(long: dict[str, Any]) -> None:
    work = Work()
    with pytest.raises(Refused) as refused:
        await seen(to_log_request(long), Redaction({}, rules=(work.rule,)))
    assert "a text has more than 50,000 characters" in refused.value.sentence
    assert not work.all


async def test_time_is_watched_between_texts() -> None:
    work, ticks = Work(), iter(range(10_000))
    plugin = Redaction({}, clock=lambda: next(ticks), pause=work.pause, rules=(work.rule,))
    plugin.seconds = 5.0  # type: ignore[misc] # its own, for this test
    with pytest.raises(TooSlow):
        await seen(to_log_request(body(*(message(at, f"text {at}") for at in range(100)))), plugin)
    assert 0 < work.all < 100


async def test_a_row_of_bullets_is_read_once() -> None:
    """With a new search from each bullet, this one text would take half a minute."""
    text = f"{CARD} " + "\N{BULLET}" * (LONGEST_TEXT - 100)
    after = await seen(to_log_request(body(message(1, text))))
    assert after.info.messages[0].subject == text.replace(CARD, MASKED)


def test_it_is_required_whatever_the_operator_says() -> None:
    assert redaction().required
