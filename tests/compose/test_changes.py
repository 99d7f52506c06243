"""What changes after a message was logged reaches its entry, once, and nothing else."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from messagelog.compose import (
    LANGUAGES,
    LINE_MARK,
    Change,
    Entry,
    KnownEntry,
    LogFormat,
    Measure,
    Participants,
    TextSettings,
    amend,
    amend_change,
    append_change,
    change_hashes,
    compose_change,
    compose_log,
    count_change,
    entries,
)
from messagelog.compose.clean import normalise
from messagelog.messages import Conversation, Message, Party

KEY = b"k" * 32
T = 1_783_998_000_000
SECOND, MINUTE = 1_000, 60_000
MAYA, OMAR = Party(name="Maya Patel", phone_number="+14155550142"), Party(name="Omar", phone_number="+1415")
PEOPLE = Participants("Maya Patel", "+14155550142", "Jordan Lee")
TALK = Conversation(conversation_id="1", correspondents=(MAYA,))
FORMATS = [LogFormat.PLAIN, LogFormat.HTML, LogFormat.MARKDOWN]
PINS = {format_: TextSettings(format_, "America/Los_Angeles") for format_ in FORMATS}
PLAIN, HTML = PINS[LogFormat.PLAIN], PINS[LogFormat.HTML]
FAILED = {"message_status": "DeliveryFailed", "delivery_error_code": "SMS-CAR-411"}

each_format = pytest.mark.parametrize("text_settings", PINS.values(), ids=PINS)


def sms(text: str = "ok", at: int = T, id_: str = "1", **fields: Any) -> Message:
    usual: dict[str, Any] = {"id": id_, "type": "SMS", "creation_time": at, "direction": "Outbound"}
    return Message(**usual | {"subject": text, "to": (MAYA,)} | fields)


def later(message: Message, **fields: Any) -> Message:
    return msgspec.structs.replace(message, **(fields or FAILED))


def body_of(text_settings: TextSettings, *messages: Message) -> str:
    return compose_log(text_settings, PEOPLE, messages, TALK, KEY).body


def known_of(text_settings: TextSettings, *messages: Message) -> list[KnownEntry]:
    return [(e.sent_at, e.hash, e.id or "") for e in entries(text_settings, PEOPLE, messages, TALK, KEY)]


def known_texts(change: Change) -> list[KnownEntry]:
    """Return the journal's known texts after a change that may have stored any of its texts."""
    entry, line = change.entry, change.line
    return [
        *([(line.sent_at, line.hash, f"{line.id}{LINE_MARK}")] if line else []),
        (entry.sent_at, entry.hash, entry.id or ""),
    ]


def change_of(text_settings: TextSettings, message: Message) -> Change:
    return compose_change(text_settings, PEOPLE, message, TALK, KEY)


def amended(body: str, text_settings: TextSettings, change: Change, known: Sequence[KnownEntry]) -> str:
    """Return the body after the change, which a second call must not change."""
    before = count_change(body, text_settings, change, known, KEY)
    once = amend_change(body, text_settings, change, known, KEY, before)
    assert once is not None
    assert amend_change(once, text_settings, change, known, KEY, before) == once
    assert amend_change(once, text_settings, change, known, KEY) == once
    return once


def line_of(change: Change) -> Entry:
    assert change.line is not None
    return change.line


CHANGED = {
    "reason": (sms(), later(sms())),
    "opt-out": (sms(), later(sms(), message_status="SendingFailed", delivery_error_code="SMS-CAR-413")),
    "fax": (
        sms(type="Fax"),
        later(sms(type="Fax"), to=(msgspec.structs.replace(MAYA, fax_error_code="NoAnswer"),)),
    ),
    "transcript": (
        sms(type="VoiceMail", direction="Inbound"),
        later(sms(type="VoiceMail", direction="Inbound"), transcript="Call me\n\nback"),
    ),
    "group": (
        sms(to=(MAYA, OMAR)),
        later(sms(), to=(MAYA, msgspec.structs.replace(OMAR, message_status="DeliveryFailed"))),
    ),
    "delivered": (later(sms()), sms(message_status="Delivered")),
}
each_kind = pytest.mark.parametrize(("old", "new"), CHANGED.values(), ids=CHANGED)


@each_format
@each_kind
@pytest.mark.parametrize("template", [1, 2, 3])
def test_the_entry_reads_as_if_it_had_been_logged_now(
    text_settings: TextSettings, old: Message, new: Message, template: int
) -> None:
    text_settings = dataclasses.replace(text_settings, template=template)
    other = sms("another", T + MINUTE, "2")
    change = change_of(text_settings, new)
    assert amended(
        body_of(text_settings, old, other), text_settings, change, known_of(text_settings, old, other)
    ) == body_of(text_settings, new, other)


@each_format
@each_kind
def test_where_people_edited_the_entry_only_the_facts_are_added(
    text_settings: TextSettings, old: Message, new: Message
) -> None:
    first = known_of(text_settings, old)
    body = (
        body_of(text_settings, old)
        .replace("Jordan", "Jordana")
        .replace("Maya Patel</b><br>", "Maya P.</b><br>")
    )
    body = body.replace("] Maya Patel", "] Maya P.").replace("PDT **Maya Patel", "PDT **Maya P.")
    change = change_of(text_settings, new)
    if change.line is None:
        assert amended(body, text_settings, change, first) == body
        return
    once = amended(body, text_settings, change, first)
    assert once.startswith(body)
    assert once.endswith(change.line.text)
    assert append_change(text_settings, change) == change.line.text


@each_format
def test_the_status_line_stands_in_its_place_by_time(text_settings: TextSettings) -> None:
    some = [sms("one", T, "1"), sms("two", T + MINUTE, "2"), sms("three", T + 2 * MINUTE, "3")]
    first, second, third = entries(text_settings, PEOPLE, some, TALK, KEY)
    gap = "" if text_settings.format is LogFormat.HTML else "\n\n"
    body = gap.join([first.text, third.text])
    change = change_of(text_settings, later(some[1]))
    expected = gap.join([first.text, line_of(change).text, third.text])
    assert amended(body, text_settings, change, known_of(text_settings, *some)) == expected
    assert second.hash not in change_hashes(change)


@each_format
def test_a_later_change_replaces_the_status_line(text_settings: TextSettings) -> None:
    known = known_of(text_settings, sms())
    first, second = (
        change_of(text_settings, later(sms())),
        change_of(text_settings, later(sms(), message_status="Failed")),
    )
    once = amended("By hand.", text_settings, first, known)
    line = line_of(first)
    known = [*known, (line.sent_at, line.hash, f"{line.id}{LINE_MARK}")]
    assert amended(once, text_settings, second, known) == once.replace(line.text, line_of(second).text)
    assert amended(once, text_settings, change_of(text_settings, sms()), known) == once


@each_format
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_equal_twins_each_change_replaces_one(text_settings: TextSettings, order: tuple[int, int]) -> None:
    twins = [sms(), sms(at=T + SECOND, id_="2")]
    body, known = body_of(text_settings, *twins), known_of(text_settings, *twins)
    for count, index in enumerate(order, start=1):
        change = change_of(text_settings, later(twins[index]))
        body = amended(body, text_settings, change, known)
        known = [*known, (change.entry.sent_at, change.entry.hash, change.entry.id or "")]
        assert count_change(body, text_settings, change, known, KEY) == {change.entry.hash: count}
        expected = [later(twin) if at in order[:count] else twin for at, twin in enumerate(twins)]
        assert body == body_of(text_settings, *expected)
    assert body == body_of(text_settings, *map(later, twins))


@pytest.mark.parametrize("measure", Measure)
@each_format
def test_where_there_is_no_room_the_own_text_is_shortened(
    text_settings: TextSettings, measure: Measure
) -> None:
    message = sms("日👍 " * 150)
    body = body_of(text_settings, message)
    limited = dataclasses.replace(text_settings, limit=measure.of(body) + 1_000, measure=measure)
    change = change_of(limited, later(message))
    filled = "x" * 1_000 if text_settings.format is not LogFormat.HTML else f"<p>{'x' * 993}</p>"
    gap = "" if text_settings.format is LogFormat.HTML else "\n\n"
    full = dataclasses.replace(limited, limit=measure.of(filled + gap + body))
    once = amended(filled + gap + body, full, change, known_of(text_settings, message))
    assert full.fits(once)
    assert change.short.text in once
    assert "Not delivered" in change.short.text


@each_format
def test_where_nothing_fits_nothing_is_done(text_settings: TextSettings) -> None:
    body = body_of(text_settings, sms())
    full = dataclasses.replace(text_settings, limit=len(body))
    change = change_of(full, later(sms()))
    assert amend_change(body, full, change, known_of(text_settings, sms()), KEY) is None


@pytest.mark.parametrize(
    "stored",
    [
        lambda body: body.replace("<br>", "<br/>"),
        lambda body: body.replace("<p>", '<DIV class="x">').replace("</p>", "</DIV >"),
        lambda body: body.replace("<b>", "<strong>").replace("</b>", "</strong>"),
        lambda body: f"<ul>{body.replace('<p>', '<li>').replace('</p>', '</li>')}</ul>",
        lambda body: body.replace("<br>", "</p><p>"),
    ],
)
def test_html_that_a_crm_rewrote(stored: Any) -> None:
    body = stored(body_of(HTML, sms(), sms("two", T + MINUTE, "2")))
    once = amended(body, HTML, change_of(HTML, later(sms())), known_of(HTML, sms()))
    assert once.count("Not delivered") == 1
    assert once.endswith(body[body.rindex("two") :])


@pytest.mark.parametrize("theirs", ['<img src="x">', "</p>by hand<p>"])
def test_what_people_put_into_an_entry_is_not_lost(theirs: str) -> None:
    body = body_of(HTML, sms()).replace("</b><br>ok", f"</b>{theirs}ok")
    once = amended(body, HTML, change_of(HTML, later(sms())), known_of(HTML, sms()))
    assert once.startswith(body)


@pytest.mark.parametrize("blank", ["\u200b", "\u2060", "\ufeff"])
@pytest.mark.parametrize("at", [0, 5, -1])
def test_an_entry_with_a_zero_width_blank_is_ours(blank: str, at: int) -> None:
    (old,) = entries(PLAIN, PEOPLE, [sms()], TALK, KEY)
    stored = f"{old.text[:at]}{blank}{old.text[at:]}"
    body = body_of(PLAIN, sms()).replace(old.text, stored)
    once = amended(body, PLAIN, change_of(PLAIN, later(sms())), known_of(PLAIN, sms()))
    assert once == body_of(PLAIN, later(sms()))


def test_the_line_ends_of_the_body_are_kept() -> None:
    body = body_of(PLAIN, sms()).replace("\n", "\r\n")
    once = amended(body, PLAIN, change_of(PLAIN, later(sms())), known_of(PLAIN, sms()))
    assert once == body_of(PLAIN, later(sms())).replace("\n", "\r\n")


NOTES = ["by hand", "\n", "  indented", "<p>note</p>", "&amp;", "[2026-07-13 8:00 PM PDT] by hand\n", ""]
texts = st.sampled_from(["ok", "", "a\n\nb", "<b>x</b>", "- x", "日本"]) | st.text(max_size=20)
pinned = st.builds(
    TextSettings,
    st.sampled_from(FORMATS),
    st.sampled_from(["Asia/Tokyo", "UTC"]),
    st.sampled_from(LANGUAGES),
    st.sampled_from([1, 2, 3]),
)


@settings(max_examples=100, deadline=None)
@given(pinned, st.lists(texts, min_size=2, max_size=4), st.data())
def test_changes_in_any_order_give_the_text_at_once(
    text_settings: TextSettings, some: list[str], data: st.DataObject
) -> None:
    messages = [sms(text, T + n * SECOND, str(n + 7)) for n, text in enumerate(some)]
    changed = data.draw(st.lists(st.sampled_from(messages), unique_by=lambda each: each.id))
    body, known = body_of(text_settings, *messages), known_of(text_settings, *messages)
    for message in changed:
        change = change_of(text_settings, later(message))
        body = amended(body, text_settings, change, known)
        known = [*known, *known_texts(change)]
    ids = {message.id for message in changed}
    now = [later(message) if message.id in ids else message for message in messages]
    assert body == body_of(text_settings, *now)
    added = sms("later", T + MINUTE, "99")
    new = entries(text_settings, PEOPLE, [added], TALK, KEY)
    assert amend(body, text_settings, new, known, KEY, {}) == body_of(text_settings, *now, added)


@settings(max_examples=100, deadline=None)
@given(pinned, texts, st.sampled_from(NOTES) | st.text(max_size=10), st.data())
def test_whatever_people_put_wherever_is_kept(
    text_settings: TextSettings, text: str, note: str, data: st.DataObject
) -> None:
    assume(normalise(note))  # an entry with other white space or zero-width blanks is ours, and is replaced
    message = sms(text)
    (old,) = entries(text_settings, PEOPLE, [message], TALK, KEY)
    body = body_of(text_settings, message)
    at = data.draw(st.integers(0, len(body)))
    if text_settings.format is LogFormat.HTML:  # people write between tags, never into one
        assume(body.rfind("<", 0, at) <= body.rfind(">", 0, at))
    body = body[:at] + note + body[at:]
    change = change_of(text_settings, later(message))
    once = amended(body, text_settings, change, known_of(text_settings, message))
    replaced = [
        body[:start] + change.entry.text + body[start + len(old.text) :]
        for start in range(len(body))
        if body.startswith(old.text, start)
    ]
    gap = "" if text_settings.format is LogFormat.HTML else "\n\n"
    line = line_of(change).text
    inserted = [once.replace(piece, "", 1) for piece in (gap + line, line + gap, line)]
    assert once in replaced or body.rstrip("\n") in {each.rstrip("\n") for each in inserted}


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FORMATS), texts, st.integers(0, 200), st.sampled_from(Measure))
def test_the_result_fits_or_there_is_none(
    format_: LogFormat, text: str, spare: int, measure: Measure
) -> None:
    message = sms(text * 20)
    unlimited = PINS[format_]
    body = body_of(unlimited, message)
    text_settings = dataclasses.replace(unlimited, limit=measure.of(body) + spare, measure=measure)
    for known in (known_of(unlimited, message), []):
        once = amend_change(body, text_settings, change_of(text_settings, later(message)), known, KEY)
        assert once is None or text_settings.fits(once)


def test_hashes_are_each_named_once() -> None:
    change = change_of(PLAIN, later(sms()))
    assert change.short == change.entry
    assert change_hashes(change) == (change.entry.hash, line_of(change).hash)
    assert all(len(a) == 16 and a != b for a, b in itertools.pairwise(change_hashes(change)))
