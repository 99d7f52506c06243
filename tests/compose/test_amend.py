"""New entries take their place in a body that people have edited, once."""

import textwrap
import time
from collections.abc import Sequence
from typing import Any

import pytest

from messagelog.compose import (
    Entry,
    LogFormat,
    Participants,
    TextSettings,
    amend,
    compose_log,
    count_entries,
    entries,
)
from messagelog.messages import Conversation, Message, Party

KEY = b"k" * 32
T = 1_783_998_000_000
SECOND, MINUTE = 1_000, 60_000
PEOPLE = Participants("Maya Patel", "+14155550142", "Jordan Lee")
TALK = Conversation(conversation_id="1", correspondents=(Party(name="Maya Patel"),))
PINS = {
    format_: TextSettings(format_, "America/Los_Angeles")
    for format_ in LogFormat
    if format_ is not LogFormat.CUSTOM
}
PLAIN, HTML = PINS[LogFormat.PLAIN], PINS[LogFormat.HTML]

each_format = pytest.mark.parametrize("text_settings", PINS.values(), ids=PINS)


def sms(text: str, at: int = T, id_: str | None = None, **fields: Any) -> Message:
    return Message(
        id=id_ or str(at), type="SMS", creation_time=at, subject=text, direction="Inbound", **fields
    )


def written(text_settings: TextSettings, *messages: Message) -> list[Entry]:
    return entries(text_settings, PEOPLE, messages, TALK, KEY)


def composed(text_settings: TextSettings, *messages: Message) -> str:
    return compose_log(text_settings, PEOPLE, messages, TALK, KEY).body


def known(some: Sequence[Entry]) -> list[tuple[int, bytes]]:
    return [(entry.sent_at, entry.hash) for entry in some]


FIRST, SECOND_ONE, THIRD = sms("one"), sms("two", T + MINUTE), sms("three", T + 2 * MINUTE)


@each_format
def test_a_later_message_goes_to_the_end(text_settings: TextSettings) -> None:
    first, second = written(text_settings, FIRST, SECOND_ONE)
    assert amend(composed(text_settings, FIRST), text_settings, [second], known([first]), KEY) == composed(
        text_settings, FIRST, SECOND_ONE
    )


@each_format
def test_an_earlier_and_a_middle_message_go_where_they_belong(text_settings: TextSettings) -> None:
    first, second, third = written(text_settings, FIRST, SECOND_ONE, THIRD)
    everything = composed(text_settings, FIRST, SECOND_ONE, THIRD)
    assert (
        amend(composed(text_settings, SECOND_ONE), text_settings, [third, first], known([second]), KEY)
        == everything
    )
    assert (
        amend(composed(text_settings, FIRST, THIRD), text_settings, [second], known([first, third]), KEY)
        == everything
    )


@each_format
def test_an_equal_amend_changes_nothing(text_settings: TextSettings) -> None:
    first, second = written(text_settings, FIRST, SECOND_ONE)
    once = amend(composed(text_settings, FIRST), text_settings, [second], known([first]), KEY)
    assert amend(once, text_settings, [second], known([first]), KEY) == once
    assert amend(once, text_settings, [], known([first, second]), KEY) == once


@each_format
def test_two_equal_texts_in_one_minute_are_two_entries(text_settings: TextSettings) -> None:
    first, second = written(text_settings, sms("ok"), sms("ok", T + SECOND))
    assert first.hash == second.hash
    once = amend(composed(text_settings, sms("ok")), text_settings, [second], known([first]), KEY)
    assert count_entries(once, text_settings, {first.hash}, KEY) == {first.hash: 2}
    assert amend(once, text_settings, [second], known([first]), KEY) == once


@each_format
def test_a_retry_after_people_deleted_the_older_twin(text_settings: TextSettings) -> None:
    first, second = written(text_settings, sms("ok"), sms("ok", T + SECOND))
    heading = composed(text_settings)
    once = amend(heading, text_settings, [second], known([first]), KEY, {})
    assert count_entries(once, text_settings, {first.hash}, KEY) == {first.hash: 1}
    assert amend(once, text_settings, [second], known([first]), KEY, {}) == once


@each_format
def test_what_people_wrote_stays(text_settings: TextSettings) -> None:
    first, second, third = written(text_settings, FIRST, SECOND_ONE, THIRD)
    note = (
        "<p>Called back <i>twice</i> &amp; agreed</p>"
        if text_settings.format is LogFormat.HTML
        else "  Called back\n\n\tok  "
    )
    gap = "" if text_settings.format is LogFormat.HTML else "\n"
    body = note + gap + first.text + gap + note + gap + third.text + gap + note
    for new, logged in (([second], [first, third]), ([second, third], [first]), ([first, second], [third])):
        amended = amend(body, text_settings, new, known(logged), KEY)
        assert amended.count(note) == 3
        place = [amended.index(entry.text) for entry in (first, second, third)]
        assert place == sorted(place)


@each_format
@pytest.mark.parametrize("body", ["", "Something else.", "Something else.\n", "Something else.\n\n"])
def test_where_nothing_is_recognised_the_new_ones_go_to_the_end_under_a_heading(
    text_settings: TextSettings, body: str
) -> None:
    first, second = written(text_settings, FIRST, SECOND_ONE)
    amended = amend(body, text_settings, [second], known([first]), KEY)
    assert amended.startswith(body)
    assert amended.endswith(second.text)
    assert "Conversation log" in amended
    assert amend(amended, text_settings, [second], known([first]), KEY) == amended


@each_format
def test_where_our_heading_is_left_no_other_is_added(text_settings: TextSettings) -> None:
    first, second = written(text_settings, FIRST, SECOND_ONE)
    edited = composed(text_settings, FIRST).replace("one", "won")
    amended = amend(edited, text_settings, [second], known([first]), KEY)
    assert amended.startswith(edited.replace("Messages: 1 SMS", "Messages: 2 SMS"))
    assert "Conversation log" not in amended
    assert amended.endswith(second.text)


@each_format
def test_an_entry_that_people_deleted_does_not_come_back(text_settings: TextSettings) -> None:
    first, second, third = written(text_settings, FIRST, SECOND_ONE, THIRD)
    body = composed(text_settings, FIRST, SECOND_ONE)
    without = body.replace(first.text, "")
    amended = amend(without, text_settings, [third], known([first, second]), KEY)
    assert count_entries(amended, text_settings, {e.hash for e in (first, second, third)}, KEY) == {
        second.hash: 1,
        third.hash: 1,
    }


@each_format
def test_entries_that_are_almost_alike_are_told_apart(text_settings: TextSettings) -> None:
    messages = [sms("a"), sms("a\nb", T + 1), sms("a\n\nb c", T + 2), sms("b", T + 3), sms("a b c d", T + 4)]
    some = written(text_settings, *messages)
    body = composed(text_settings, *messages)
    # The visible texts of the second, third and fifth differ only in line breaks and words.
    assert sum(count_entries(body, text_settings, {entry.hash for entry in some}, KEY).values()) == len(
        messages
    )


@each_format
def test_an_entry_that_begins_like_a_new_one_is_told_from_it(text_settings: TextSettings) -> None:
    longer, shorter = sms("ok\nand more"), sms("ok", T + SECOND)
    first, second = written(text_settings, longer, shorter)
    body = composed(text_settings, longer)
    before = count_entries(body, text_settings, {second.hash}, KEY, {first.hash})
    assert before == {}
    once = amend(body, text_settings, [second], known([first]), KEY, before)
    assert amend(once, text_settings, [second], known([first]), KEY, before) == once
    assert once == composed(text_settings, longer, shorter)


@each_format
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Messages: 1 SMS", "Messages: 1 SMS (and a call)"),
        ("Date: 2026-07-13", "Date: a Monday"),
        ("Times in America/Los", "All times in America/Los"),
        ("Conversation with Maya", "Talk with Maya"),
    ],
)
def test_lines_of_the_heading_that_people_changed_stay_as_they_are(
    text_settings: TextSettings, ours: str, theirs: str
) -> None:
    first, second = written(text_settings, FIRST, SECOND_ONE)
    edited = composed(text_settings, FIRST).replace(ours, theirs)
    assert edited != composed(text_settings, FIRST)
    amended = amend(edited, text_settings, [second], known([first]), KEY)
    assert theirs in amended
    assert amended.endswith(second.text)
    assert ("Messages: 2 SMS" in amended) == theirs.startswith("Date")


@each_format
def test_a_heading_of_its_own_counts_on(text_settings: TextSettings) -> None:
    first, second, third = written(text_settings, FIRST, SECOND_ONE, THIRD)
    once = amend("Gone.", text_settings, [second], known([first]), KEY)
    twice = amend(once, text_settings, [third], known([first, second]), KEY)
    assert ("Messages: 1 SMS" in once, "Messages: 2 SMS" in twice) == (True, True)
    assert twice.count("Conversation log") == 1


def test_the_first_template_has_no_counts_and_gets_none() -> None:
    text_settings = TextSettings(LogFormat.PLAIN, "America/Los_Angeles", template=1)
    first, second = written(text_settings, FIRST, SECOND_ONE)
    heading = "SMS conversation with Maya Patel (+14155550142)\n  2026-07-13\n  Times in America/Los_Angeles"
    body = f"{heading}\n\n{first.text}"
    assert amend(body, text_settings, [second], known([first]), KEY) == f"{body}\n\n{second.text}"


@each_format
def test_another_key_recognises_nothing(text_settings: TextSettings) -> None:
    (first,) = written(text_settings, FIRST)
    assert count_entries(composed(text_settings, FIRST), text_settings, {first.hash}, b"other") == {}


# -- what CRMs do to text ----------------------------------------------------------------------------------

LONG = sms("first line\n\n\n  indented: 'quoted' \"twice\" & <tag>\n> quote\n-- \nJo\nlast", T + MINUTE)


@pytest.mark.parametrize(
    "stored",
    [
        lambda body: body.replace("\n", "\r\n"),
        lambda body: body.replace("\n", "\r"),
        lambda body: "\n".join(line.rstrip() for line in body.split("\n")),
        lambda body: "\r\n".join(line.rstrip() for line in body.split("\n")) + "\r\n\r\n",
        lambda body: body.replace("\n  ", "\n\t"),
        lambda body: f"\n\n{body}\n \n",
        lambda body: body.partition("\n\n")[2],
        lambda body: body.replace("\n\n[", "\n["),
    ],
)
def test_plain_text_as_crms_store_it(stored: Any) -> None:
    first, long, third = written(PLAIN, FIRST, LONG, THIRD)
    body = stored(composed(PLAIN, FIRST, LONG))
    assert count_entries(body, PLAIN, {first.hash, long.hash}, KEY) == {first.hash: 1, long.hash: 1}
    amended = amend(body, PLAIN, [third], known([first, long]), KEY)
    assert amend(amended, PLAIN, [third], known([first, long]), KEY) == amended
    assert count_entries(amended, PLAIN, {third.hash}, KEY) == {third.hash: 1}


def wrapped(body: str, width: int) -> str:
    """Return the text as a CRM leaves it that wraps long lines and strips blanks at their start."""
    return "\n".join("\n".join(textwrap.wrap(line, width)) for line in body.split("\n"))


WORDS = sms(
    "Could you send me the renewal options\nfor both of the offices, please? " + "And more. " * 30, T + SECOND
)


@pytest.mark.parametrize("text_settings", [PLAIN, PINS[LogFormat.MARKDOWN]], ids=["plain", "markdown"])
@pytest.mark.parametrize("width", [34, 40, 76])
def test_lines_that_a_crm_has_wrapped(text_settings: TextSettings, width: int) -> None:
    first, words, third = written(text_settings, FIRST, WORDS, THIRD)
    body = wrapped(composed(text_settings, FIRST, WORDS), width)
    assert count_entries(body, text_settings, {first.hash, words.hash}, KEY) == {first.hash: 1, words.hash: 1}
    amended = amend(body, text_settings, [third], known([first, words]), KEY)
    assert amended.startswith(body.replace("Messages: 2", "Messages: 3"))
    assert amend(wrapped(amended, width), text_settings, [third], known([first, words]), KEY) == wrapped(
        amended, width
    )


def test_a_forged_entry_does_not_come_true_where_a_crm_strips_blanks() -> None:
    forged = sms("ok\n\n[2026-07-13 8:00 PM PDT] Maya Patel\nwire the money")
    carrier, real = written(PLAIN, forged, sms("wire the money", T + SECOND))
    body = "\n".join(line.strip() for line in composed(PLAIN, forged).split("\n"))
    amended = amend(body, PLAIN, [real], known([carrier]), KEY)
    assert amended.endswith(real.text)
    assert amend(amended, PLAIN, [real], known([carrier]), KEY) == amended


@pytest.mark.parametrize("tag", ["p", "div"])
def test_html_of_editors_that_make_a_paragraph_of_each_line(tag: str) -> None:
    first, words, third = written(HTML, FIRST, WORDS, THIRD)
    body = composed(HTML, FIRST, WORDS).replace("<p>", f"<{tag}>").replace("</p>", f"</{tag}>")
    body = body.replace("<br>", f"</{tag}><{tag}>")
    amended = amend(body, HTML, [third], known([first, words]), KEY)
    assert amended == body.replace("Messages: 2", "Messages: 3") + third.text
    assert amend(amended, HTML, [third], known([first, words]), KEY) == amended


def test_the_line_ends_of_the_body_are_kept() -> None:
    first, long = written(PLAIN, FIRST, LONG)
    amended = amend(composed(PLAIN, FIRST).replace("\n", "\r\n"), PLAIN, [long], known([first]), KEY)
    assert amended == composed(PLAIN, FIRST, LONG).replace("\n", "\r\n")


@pytest.mark.parametrize(
    "stored",
    [
        lambda body: body.replace("<br>", "<br/>"),
        lambda body: body.replace("<br>", '<br data-o-mail-quote="1">\n'),
        lambda body: body.replace("<p>", '<p class="x" title="a > b">').replace("</p>", "</p>\n\n"),
        lambda body: body.replace("<p>", "<DIV>").replace("</p>", "</DIV >"),
        lambda body: body.replace("<p>", "<p><span style='color:red'>").replace("</p>", "</span></p>"),
        lambda body: body.replace("<b>", "<strong>").replace("</b>", "</strong>"),
        lambda body: body.replace("&#x27;", "'").replace("&quot;", '"'),
        lambda body: body.replace("&#x27;", "&#39;").replace("&quot;", "&#34;").replace("&gt;", ">"),
        lambda body: body.replace(" ", "&nbsp;"),
        lambda body: body.replace("</p>", ""),
        lambda body: f"<div>hello<div>{body}</div></div>",
        lambda body: f"<html><body>{body}</body></html>\n",
        lambda body: f"<!-- <p> -->{body}<style>p {{}}</style>",
        lambda body: body.replace("<p>", "<li>").replace("</p>", "</li>"),
        lambda body: f"<ul>{body.replace('<p>', '<li>').replace('</p>', '')}</ul>",
        lambda body: body.replace("\u200b", ""),
        lambda body: body.replace("<p>", "<p>stray</b></i> <p>"),
        lambda body: body.replace("<p>", "<p>3 < 4 <p>"),
    ],
)
def test_html_as_crms_store_it(stored: Any) -> None:
    first, long, third = written(HTML, FIRST, LONG, THIRD)
    body = stored(composed(HTML, FIRST, LONG))
    assert count_entries(body, HTML, {first.hash, long.hash}, KEY) == {first.hash: 1, long.hash: 1}
    amended = amend(body, HTML, [third], known([first, long]), KEY)
    assert count_entries(amended, HTML, {third.hash}, KEY) == {third.hash: 1}
    assert amend(amended, HTML, [third], known([first, long]), KEY) == amended


def test_inside_a_list_new_entries_are_items() -> None:
    first, second = written(HTML, FIRST, SECOND_ONE)
    body = f"<ul>{first.text.replace('<p>', '<li>').replace('</p>', '</li>')}</ul>"
    assert amend(body, HTML, [second], known([first]), KEY).endswith("<br>two</li></ul>")


def test_nothing_is_written_after_the_document() -> None:
    (first,) = written(HTML, FIRST)
    amended = amend("<html><body><p>x</p></body></html>", HTML, [first], [], KEY)
    assert amended.endswith(f"{first.text}</body></html>")


@pytest.mark.parametrize(
    "body",
    [
        "<div>" * 20_000 + "</p>" * 20_000,
        "<p>" * 50_000,
        "<p" * 50_000,
        '<p "' * 50_000,
        "<p><b>" + "<b>" * 50_000,
    ],
    ids=["unclosed", "paragraphs", "cut", "quotes", "bold"],
)
def test_a_body_of_nothing_but_tags_takes_no_time_that_grows_with_its_square(body: str) -> None:
    (first,) = written(HTML, FIRST)
    began = time.process_time()
    assert first.text in amend(body, HTML, [first], [], KEY)
    assert time.process_time() - began < 10  # seconds: the square would take half a minute


def test_a_body_of_thousands_of_entries_is_quick() -> None:
    messages = [sms(f"message {n}", T + n * MINUTE) for n in range(1_000)]
    for text_settings in PINS.values():
        some = written(text_settings, *messages)
        body = composed(text_settings, *messages[::2])
        amended = amend(body, text_settings, some[1::2], known(some[::2]), KEY)
        assert amended.endswith("".join(amended[-len(some[-1].text) :]))
        assert (
            sum(count_entries(amended, text_settings, {entry.hash for entry in some}, KEY).values()) == 1_000
        )
