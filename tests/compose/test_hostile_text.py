"""No text of a message can change the layout, or look like something that we wrote."""

import dataclasses
from collections import Counter
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from messagelog.compose import (
    LANGUAGES,
    LogFormat,
    Participants,
    TextSettings,
    amend,
    compose_log,
    compose_thread,
    count_entries,
    entries,
)
from messagelog.compose.clean import clean, clean_line, normalise
from messagelog.compose.entry_lines import text_lines
from messagelog.messages import Attachment, Conversation, Entity, Message, Owner, Party, Thread

KEY = b"k" * 32
T = 1_783_998_000_000
PEOPLE = Participants("Maya Patel", "+14155550142", "Jordan Lee")
TALK = Conversation(conversation_id="1", correspondents=(Party(name="Maya Patel"),))
PINS = {
    format_: TextSettings(format_, "America/Los_Angeles")
    for format_ in LogFormat
    if format_ is not LogFormat.CUSTOM
}
PLAIN, HTML, MARKDOWN = PINS[LogFormat.PLAIN], PINS[LogFormat.HTML], PINS[LogFormat.MARKDOWN]

each_format = pytest.mark.parametrize("text_settings", PINS.values(), ids=PINS)

MARKUP = "<>&\"'/=![]()*_`#+-.|~\\{}:;$^ \t\n\r\u2028abc1"
hostile = st.text(st.sampled_from(MARKUP), max_size=40) | st.text(st.characters(categories=None), max_size=40)


def sms(text: str, name: str | None = None) -> Message:
    return Message(
        id="1",
        type="SMS",
        creation_time=T,
        subject=text,
        direction="Inbound",
        from_=Party(name=name) if name else None,
    )


def body_of(text_settings: TextSettings, text: str, name: str | None = None) -> str:
    participants = PEOPLE if name is None else dataclasses.replace(PEOPLE, contact_name=name)
    return compose_log(text_settings, participants, [sms(text, name)], TALK, KEY).body


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[str] = []
        self.text: list[str] = []
        self.other: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [name for name, _ in attrs]
        self.text.append("\n" if tag == "br" else "")

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        self.other.append(data)

    def handle_decl(self, decl: str) -> None:
        self.other.append(decl)

    def handle_pi(self, data: str) -> None:
        self.other.append(data)


def parsed(html: str) -> Elements:
    elements = Elements()
    elements.feed(html)
    elements.close()
    return elements


@settings(max_examples=150, deadline=None)
@given(hostile, hostile)
def test_html_holds_no_element_from_a_message(text: str, name: str) -> None:
    elements = parsed(body_of(HTML, text, name))
    lines = len(text_lines(text) or ["(no text)"])
    assert elements.tags == Counter(p=2, b=2, br=4 + lines)
    assert not elements.attributes
    assert not elements.other
    shown = "".join(elements.text)
    assert normalise("\n".join(text_lines(text))) in normalise(shown)


@pytest.mark.parametrize("line", [">", "> quoted", ">>> deep", "--", "-- "])
def test_html_has_no_line_that_is_taken_for_a_quotation_or_a_signature(line: str) -> None:
    for shown in "".join(parsed(body_of(HTML, f"{line}\ntext\n{line}")).text).split("\n"):
        assert not shown.startswith(">")
        assert shown.strip() != "--"


def test_html_is_one_line_so_that_nothing_makes_breaks_of_line_ends() -> None:
    assert "\n" not in body_of(HTML, "a\nb\r\nc\u2028d")


def leaves(tokens: list[Token]) -> list[Token]:
    return [leaf for token in tokens for leaf in (leaves(token.children) if token.children else [token])]


@settings(max_examples=150, deadline=None)
@given(hostile, hostile)
def test_markdown_holds_no_markup_from_a_message(text: str, name: str) -> None:
    tokens = leaves(
        MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body_of(MARKDOWN, text, name))
    )
    allowed = {"paragraph_open", "paragraph_close", "bullet_list_open", "bullet_list_close", "list_item_open"}
    allowed |= {
        "list_item_close",
        "strong_open",
        "strong_close",
        "text",
        "softbreak",
        "hardbreak",
        "text_special",
    }
    assert {token.type for token in tokens} - allowed == set()
    counts = Counter(token.type for token in tokens)
    assert (counts["list_item_open"], counts["strong_open"]) == (1, 2)
    shown = "".join(token.content if token.type.startswith("text") else " " for token in tokens)
    said = normalise("\n".join(text_lines(text)))
    assert said.replace(" ", "") in normalise(shown).replace(" ", "")


def with_file(name: str, link: str, uri: str) -> Message:
    file = Attachment(type="MmsAttachment", content_type=name, file_name=name, link=link, uri=uri)
    return Message(id="1", type="SMS", creation_time=T, direction="Inbound", subject="x", attachments=(file,))


addresses = st.sampled_from(["https://", "http://", "javascript:", ""]).flatmap(
    lambda scheme: st.text(st.sampled_from(MARKUP) | st.characters(categories=None), max_size=20).map(
        lambda rest: f"{scheme}media.test/{rest}"
    )
)


@settings(max_examples=150, deadline=None)
@given(hostile, addresses, addresses)
def test_a_file_is_one_safe_link_or_none(name: str, link: str, uri: str) -> None:
    message = with_file(name, link, uri)
    html = compose_log(HTML, PEOPLE, [message], TALK, KEY).body
    elements = parsed(html)
    assert set(elements.tags) <= {"p", "b", "br", "a"}
    assert elements.tags["a"] == len(elements.attributes) <= 1
    assert set(elements.attributes) <= {"href"}
    assert html.count('href="https://') == elements.tags["a"]

    markdown = compose_log(MARKDOWN, PEOPLE, [message], TALK, KEY).body
    links = [token for token in leaves(MarkdownIt("commonmark").parse(markdown)) if token.type == "link_open"]
    assert len(links) == elements.tags["a"]
    assert all(str(token.attrs["href"]).startswith("https://") for token in links)

    plain = compose_log(PLAIN, PEOPLE, [message], TALK, KEY).body
    assert len(plain.split("\n")) == 9
    for text_settings, body in ((HTML, html), (MARKDOWN, markdown), (PLAIN, plain)):
        (entry,) = entries(text_settings, PEOPLE, [message], TALK, KEY)
        assert count_entries(body, text_settings, {entry.hash}, KEY) == {entry.hash: 1}


FORGERIES = [
    "[2026-07-13 8:00 PM PDT] Maya Patel\n  wire the money",
    "\n\n[2026-07-13 8:00 PM PDT] Maya Patel\n  wire the money",
    "ok\r\r[2026-07-13 8:00 PM PDT] Maya Patel\r  wire the money",
    "ok\u2028[2026-07-13 8:00 PM PDT] Maya Patel\u2028  wire the money",
    "ok\x0b[2026-07-13 8:00 PM PDT] Maya Patel\x85  wire the money",
    "</p><p><b>2026-07-13 8:00 PM PDT Maya Patel</b><br>wire the money</p>",
    "&lt;/p>&#60;p><b>2026-07-13 8:00 PM PDT Maya Patel</b><br>wire the money",
    "ok\n\n- **2026-07-13 8:00 PM PDT** Maya Patel  \n  wire the money",
    "ok\n\n- 2026-07-13 8:00 PM PDT **Maya Patel**  \n  wire the money",
    "</p><p>2026-07-13 8:00 PM PDT <b>Maya Patel</b><br>wire the money</p>",
    "ok\n\n\\- \\**2026-07-13 8:00 PM PDT\\** Maya Patel\nwire the money",
    "Conversation with Maya Patel (+14155550142)\n  Messages: 1 SMS\n  Times in America/Los_Angeles",
]


@each_format
@pytest.mark.parametrize("text", FORGERIES)
def test_a_message_cannot_pass_for_another_entry(text_settings: TextSettings, text: str) -> None:
    (forged,) = entries(text_settings, PEOPLE, [sms("wire the money")], TALK, KEY)
    (carrier,) = entries(text_settings, PEOPLE, [sms(text)], TALK, KEY)
    body = body_of(text_settings, text)

    assert count_entries(body, text_settings, {forged.hash, carrier.hash}, KEY) == {carrier.hash: 1}
    # So the real one is still added when it comes.
    amended = amend(body, text_settings, [forged], [(T, carrier.hash)], KEY)
    assert count_entries(amended, text_settings, {forged.hash, carrier.hash}, KEY) == {
        carrier.hash: 1,
        forged.hash: 1,
    }


@each_format
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("separator", ["\n\n", "\n", "\u2029", "</p>", "\n\n-->\n\n```\n\n"])
def test_our_own_entry_inside_a_message_stays_inside(
    text_settings: TextSettings, language: str, separator: str
) -> None:
    text_settings = dataclasses.replace(text_settings, language=language)
    (forged,) = entries(text_settings, PEOPLE, [sms("wire the money")], TALK, KEY)
    heading = compose_log(text_settings, PEOPLE, [sms("wire the money")], TALK, KEY).body
    for text in (f"ok{separator}{forged.text}", f"{forged.text}{separator}ok", f"ok{separator}{heading}"):
        (carrier,) = entries(text_settings, PEOPLE, [sms(text)], TALK, KEY)
        body = compose_log(text_settings, PEOPLE, [sms(text)], TALK, KEY).body
        assert count_entries(body, text_settings, {forged.hash, carrier.hash}, KEY) == {carrier.hash: 1}
        amended = amend(body, text_settings, [forged], [(T, carrier.hash)], KEY)
        assert carrier.text in amended, "nothing in the message is touched"
        assert count_entries(amended, text_settings, {forged.hash, carrier.hash}, KEY) == {
            carrier.hash: 1,
            forged.hash: 1,
        }


@settings(max_examples=100, deadline=None)
@given(st.lists(hostile, min_size=8, max_size=8), st.sampled_from(LANGUAGES))
def test_names_and_words_of_a_thread_bring_no_markup(texts: list[str], language: str) -> None:
    owner, contact, author, note, text, status, reason, file = texts
    picture = Attachment(type="MmsAttachment", file_name=file, uri="https://media.test/x")
    thread = Thread(
        entities=(
            Entity(record_type="AliveNote", text=note, author=Party(name=author), creation_time=T),
            Entity(record_type="AliveMessage", text=text, attachments=(picture,), creation_time=T),
            Entity(
                record_type="ThreadAssignedHint", assignee=Party(name=author), initiator=Party(name=owner)
            ),
        ),
        owner=Owner(name=owner),
        status=status,
        status_reason=reason,
    )
    participants = Participants(contact, "+1")
    html = compose_thread(dataclasses.replace(HTML, language=language), participants, thread, KEY).body
    elements = parsed(html)
    assert set(elements.tags) == {"p", "b", "br", "a"}
    assert (elements.tags["p"], elements.tags["b"], elements.tags["a"]) == (4, 4, 1)
    assert elements.attributes == ["href"]
    assert not elements.other

    markdown = compose_thread(
        dataclasses.replace(MARKDOWN, language=language), participants, thread, KEY
    ).body
    tokens = leaves(MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown))
    counts = Counter(token.type for token in tokens)
    assert (counts["list_item_open"], counts["strong_open"], counts["link_open"]) == (3, 4, 1)
    assert not {"html_inline", "html_block", "code_inline", "code_block", "fence", "em_open", "image"} & set(
        counts
    )
    assert not {"heading_open", "blockquote_open", "hr", "ordered_list_open", "table_open"} & set(counts)


@each_format
@pytest.mark.parametrize("name", FORGERIES)
def test_a_name_cannot_pass_for_an_entry(text_settings: TextSettings, name: str) -> None:
    (forged,) = entries(text_settings, PEOPLE, [sms("wire the money")], TALK, KEY)
    assert count_entries(body_of(text_settings, "hi", name), text_settings, {forged.hash}, KEY) == {}
    heading = compose_log(text_settings, Participants(name, name, name), [sms("hi")], TALK, KEY).body
    assert count_entries(heading, text_settings, {forged.hash}, KEY) == {}


def test_plain_text_of_a_message_is_always_indented() -> None:
    for text in FORGERIES:
        lines = body_of(PLAIN, text).split("\n")
        assert [line for line in lines if line and not line.startswith("  ")] == [
            "Conversation with Maya Patel (+14155550142)",
            "[2026-07-13 8:00 PM PDT] Maya Patel",
        ]


@each_format
@pytest.mark.parametrize("text", ["$& $1 $$ $`", r"\1 \g<0> \\", "%s %(x)s {0} {name}"])
def test_replacement_patterns_are_just_text(text_settings: TextSettings, text: str) -> None:
    (first,) = entries(text_settings, PEOPLE, [sms("hi")], TALK, KEY)
    (second,) = entries(text_settings, PEOPLE, [sms(text)], TALK, KEY)
    amended = amend(body_of(text_settings, "hi"), text_settings, [second], [(T, first.hash)], KEY)
    assert amended.endswith(("" if text_settings is HTML else "\n\n") + second.text)
    assert amended.startswith(body_of(text_settings, "hi").replace("Messages: 1", "Messages: 2"))
    if text_settings is PLAIN:
        assert text in amended


@each_format
def test_a_hundred_thousand_characters_are_all_there(text_settings: TextSettings) -> None:
    text = "abcdefghi\n" * 10_000
    body = body_of(text_settings, text)
    assert body.count("abcdefghi") == 10_000
    (entry,) = entries(text_settings, PEOPLE, [sms(text)], TALK, KEY)
    assert count_entries(body, text_settings, {entry.hash}, KEY) == {entry.hash: 1}


@each_format
def test_half_emoji_controls_and_overrides_do_no_harm(text_settings: TextSettings) -> None:
    body = body_of(
        text_settings,
        "a\x00b\x07c\ud83d d\u202ee\u2066f\ufeffg\x9fh\uffffi \ud83d\ude00",
        "M\ud83d\x00\u202ea",
    )
    assert "abc\ufffd defghi 😀" in body
    assert "M\ufffda" in body
    assert body.encode()


def test_a_name_is_one_line_and_bounded() -> None:
    assert clean_line(" a\n\t b\u2028c ") == "a b c"
    assert clean_line(None) == clean_line("\x00 \u202e") == ""
    assert len(clean_line("x" * 100_000)) == 120


@given(st.text(st.characters(categories=None)))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    once.encode()
    assert normalise(normalise(once)) == normalise(once)
