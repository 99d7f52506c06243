"""HTML as a browser reads it, before and after a CRM's sanitiser: exactly our entries."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser, LexborNode

from messagelog.compose import LogFormat, Participants, TextSettings, amend, compose_log, entries
from messagelog.compose.clean import normalise
from messagelog.compose.entry_lines import text_lines
from messagelog.messages import Attachment, Conversation, Message, Party
from support.sanitiser import sanitise

PAIRS = json.loads((Path(__file__).parent / "sanitiser" / "odoo.json").read_text("utf-8"))["pairs"]

KEY = b"k" * 32
T = 1_783_998_000_000
MINUTE = 60_000
PEOPLE = Participants("Maya Patel", "+14155550142", "Jordan Lee")
TALK = Conversation(conversation_id="1", correspondents=(Party(name="Maya Patel"),))
HTML = TextSettings(LogFormat.HTML, "UTC")
READER = "https://ringcentral.github.io/ringcentral-media-reader/?media="

PIECES = [
    *(
        "<p>",
        "</p>",
        "<b>",
        "</b>",
        "<br>",
        "<script>alert(1)</script>",
        "<!--",
        "-->",
        "<![CDATA[",
        "</body>",
    ),
    *(
        "&lt;",
        "&amp;",
        "&",
        "<",
        ">",
        "> quoted",
        "-- ",
        "--",
        '"',
        "'",
        "\n",
        "\r\n\r\n",
        " ",
        "\t",
        "x",
        "ok",
    ),
    *(
        "<a href='javascript:x'>",
        "<style>",
        "<textarea>",
        "<plaintext>",
        "<svg><p>",
        "$&",
        "\u202e",
        "مرحبا",
        "👩‍👩‍👧",
    ),
    *("2026-07-14 3:00 AM UTC Maya Patel", "Messages: 9 SMS", "Times in UTC", "Conversation with Maya Patel"),
]
texts = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(
    st.characters(categories=None), max_size=30
)


@pytest.mark.parametrize("pair", PAIRS, ids=range(len(PAIRS)))
def test_the_model_does_what_the_real_sanitiser_was_seen_doing(pair: dict[str, Any]) -> None:
    assert sanitise(pair["in"]) == pair["out_strict"]


def message(number: int, text: str, *files: Attachment) -> Message:
    return Message(
        id=str(number),
        type="SMS",
        creation_time=T + number * MINUTE,
        subject=text,
        direction="Inbound",
        attachments=files,
    )


def shown(paragraph: LexborNode) -> list[str]:
    """Return the visible lines of a paragraph, without the invisible guard in front of a quotation."""
    for line_break in paragraph.css("br"):
        line_break.replace_with("\n")
    return [normalise(line) for line in paragraph.text().split("\n")]


def expected(each: Message) -> list[str]:
    minute = (each.sent_at or 0) // MINUTE - T // MINUTE
    lines = text_lines(each.subject or "") or ([] if each.attachments else ["(no text)"])
    files = [f"File {file.file_name}" for file in each.attachments]
    return [f"2026-07-14 3:{minute:02} AM UTC Maya Patel", *map(normalise, lines), *files]


def check(body: str, messages: list[Message]) -> None:
    tree = LexborHTMLParser(body)
    assert tree.body is not None
    assert {node.tag for node in tree.body.traverse()} <= {"body", "p", "b", "br", "a"}
    heading, *paragraphs = tree.css("body > p")
    for node in tree.css("a"):
        assert list(node.attributes) == ["href"]
        assert str(node.attributes["href"]).startswith(READER)
    assert shown(heading) == [
        "Conversation with Maya Patel (+14155550142)",
        "Agent: Jordan Lee",
        "Date: 2026-07-14",
        f"Messages: {len(messages)} SMS",
        "Times in UTC",
    ]
    assert [shown(paragraph) for paragraph in paragraphs] == [expected(each) for each in messages]


@settings(max_examples=150, deadline=None)
@example(["\xad"])  # it is invisible: with a file it makes no line, and without one there is no text
@example(["ok", "\xad"])
@given(st.lists(texts, min_size=1, max_size=5))
def test_a_browser_shows_exactly_our_entries_before_and_after(some: list[str]) -> None:
    file = Attachment(type="MmsAttachment", file_name="a.bin", uri="https://media.test/a?b=1&c=2")
    messages = [
        message(number, text, *([file] if number % 2 else [])) for number, text in enumerate(some, start=1)
    ]
    body = compose_log(HTML, PEOPLE, messages, TALK, KEY).body
    check(body, messages)
    assert sanitise(body) == body, "a sanitiser finds nothing to change"


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, min_size=2, max_size=5))
def test_a_body_that_was_sanitised_is_amended(some: list[str]) -> None:
    messages = [message(number, text) for number, text in enumerate(some, start=1)]
    *logged, last = entries(HTML, PEOPLE, messages, TALK, KEY)
    stored = sanitise(compose_log(HTML, PEOPLE, messages[:-1], TALK, KEY).body)
    known = [(entry.sent_at, entry.hash) for entry in logged]
    amended = sanitise(amend(stored, HTML, [last], known, KEY))
    check(amended, messages)
    assert amend(amended, HTML, [last], known, KEY) == amended
