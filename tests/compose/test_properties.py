"""For any messages, in any order and any number of steps: the same text, each message once."""

import itertools
import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messagelog.compose import (
    LANGUAGES,
    Entry,
    KnownEntry,
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
PEOPLE = Participants("Maya Patel", "+14155550142", "Jordan Lee")
TALK = Conversation(conversation_id="1", correspondents=(Party(name="Maya Patel"),))
PINS = {
    format_: TextSettings(format_, "America/Los_Angeles")
    for format_ in LogFormat
    if format_ is not LogFormat.CUSTOM
}

each_format = pytest.mark.parametrize("text_settings", PINS.values(), ids=PINS)

HOSTILE = [
    *("ok", "ok ", "OK", "", " ", "\n", "a\n\n\nb", "  indented", "\ttab", "x" * 200),
    *(
        "<b>bold</b>",
        "</p><p>",
        "<br>",
        "&lt;p&gt;",
        "&amp;",
        "<!--",
        "-->",
        "<script>alert(1)</script>",
        "<",
    ),
    *("[2026-07-13 8:00 PM PDT] Maya Patel", "[2026-07-13 8:00 PM PDT] Maya Patel\n  ok", "\n\n[x]\n  y"),
    *(
        "- **2026-07-13 8:00 PM PDT** Maya Patel  \n  ok",
        "# h",
        "1. one",
        "---",
        "***",
        "`c`",
        "![i](http://x)",
    ),
    *("Conversation with Maya Patel (+14155550142)\nMessages: 1 SMS\nTimes in America/Los_Angeles"),
    *("$&", "$$", "\\1", "\\", "\\n", "%s", "{name}", "> quote", "-- ", "\r\r\n", "\x0b", "\x85", "\u2028"),
    *(
        "\u202eevil",
        "\u2066",
        "\x00",
        "\x1b[1m",
        "\ud83d",
        "\ude00",
        "👩‍👩‍👧",
        "e\u0301",
        "\ufeff",
        "\u200b",
        "\uffff",
    ),
]
HTML_NOTES = ["<p>note &amp; <i>more</i></p>", "<div><p>a</p>b</div>", "<br>", " "]
PLAIN_NOTES = ["note", "  indented", "[2026-07-13 8:00 PM PDT] by hand", "- x", "\tn\n\n  m ", ""]

texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(HOSTILE), min_size=2, max_size=4).map("".join),
    st.text(st.characters(categories=None), max_size=20),
)


KINDS = ["SMS", "VoiceMail", "Fax", "Pager"]
settings_of_activities = st.builds(
    TextSettings,
    st.sampled_from([*PINS]),
    st.sampled_from(["America/Los_Angeles", "Europe/Madrid", "Asia/Tokyo", "UTC-07:00"]),
    st.sampled_from(LANGUAGES),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Draw messages of any kind in any order, some in one minute or one millisecond, some days apart."""
    times = draw(st.lists(st.integers(0, 200) | st.integers(0, 300_000), min_size=1, max_size=7))
    return [
        Message(
            id=str(number + 7),  # some of two digits
            type=draw(st.sampled_from(KINDS)),
            creation_time=T + time * 1_000,
            subject=draw(texts),
            direction=draw(st.sampled_from(["Inbound", "Outbound"])),
        )
        for number, time in enumerate(times)
    ]


def written(text_settings: TextSettings, messages: Sequence[Message]) -> list[Entry]:
    return entries(text_settings, PEOPLE, messages, TALK, KEY)


def known(some: Sequence[Entry]) -> list[KnownEntry]:
    return [(entry.sent_at, entry.hash, entry.id or "") for entry in some]


def total(body: str, text_settings: TextSettings, some: Sequence[Entry]) -> int:
    return sum(count_entries(body, text_settings, {entry.hash for entry in some}, KEY).values())


@settings(max_examples=150, deadline=None)
@given(settings_of_activities, conversations(), st.data())
def test_any_split_into_a_create_and_amends_gives_the_text_at_once(
    text_settings: TextSettings, messages: list[Message], data: st.DataObject
) -> None:
    messages = data.draw(st.permutations(messages))
    cuts = sorted(data.draw(st.lists(st.integers(1, len(messages)), max_size=4)))
    batches = [messages[a:b] for a, b in itertools.pairwise([0, *cuts, len(messages)]) if a < b]

    body = compose_log(text_settings, PEOPLE, batches[0], TALK, KEY).body
    logged = written(text_settings, batches[0])
    for batch in batches[1:]:
        new = written(text_settings, batch)
        before = count_entries(body, text_settings, {e.hash for e in new}, KEY, {e.hash for e in logged})
        amended = amend(body, text_settings, new, known(logged), KEY)
        assert amend(body, text_settings, new, known(logged), KEY, before) == amended
        assert amend(amended, text_settings, new, known(logged), KEY) == amended
        assert amend(amended, text_settings, new, known(logged), KEY, before) == amended
        body, logged = amended, logged + new

    assert body == compose_log(text_settings, PEOPLE, messages, TALK, KEY).body
    assert total(body, text_settings, logged) == len(messages)
    assert body.encode()


@each_format
@settings(max_examples=60, deadline=None)
@given(conversations(), st.data())
def test_what_people_wrote_between_stays_to_the_character(
    text_settings: TextSettings, messages: list[Message], data: st.DataObject
) -> None:
    notes = HTML_NOTES if text_settings.format is LogFormat.HTML else PLAIN_NOTES
    gap = "" if text_settings.format is LogFormat.HTML else "\n"
    some = written(text_settings, messages)
    logged = data.draw(st.lists(st.sampled_from(some), unique_by=lambda entry: entry.id))
    new = [entry for entry in some if entry not in logged]
    pieces = [data.draw(st.sampled_from(notes))]
    if data.draw(st.booleans()):
        pieces.append(data.draw(st.sampled_from(notes)))
    for entry in [entry for entry in some if entry in logged]:
        pieces += [entry.text, data.draw(st.sampled_from(notes))]
    body = gap.join(pieces)

    amended = amend(body, text_settings, new, known(logged), KEY)

    position = 0
    for piece in pieces:  # each to the character, in its order
        position = amended.index(piece, position) + len(piece)
    assert total(amended, text_settings, some) == len(some)
    assert amend(amended, text_settings, new, known(logged), KEY) == amended


def without(amended: str, text_settings: TextSettings, added: Sequence[Entry]) -> str:
    """Return the body without these entries, apart from the counts and days in our heading."""
    gap = "" if text_settings.format is LogFormat.HTML else "\n\n"
    for entry in added:
        for piece in (gap + entry.text, entry.text + gap, entry.text):
            before, found, after = amended.rpartition(piece)
            if found:
                amended = before + after
                break
    return amended


def uncounted(body: str) -> str:
    """Return the body without the parts of a heading that amending may change, and without a heading of its own."""
    body = re.sub(r"\n*(<p><b>|\*\*)?Conversation log\b(?s:.*)", "", body)
    if "<br>" in body:  # in HTML a line of the heading is the same with any line breaks in its blanks
        body = re.sub(r"(Messages|Date):[^<]*", lambda line: " ".join(line[0].split()), body)
    return re.sub(r"(Messages|Date):\s*\d[^\n<]*?(\s*[\n<])", r"\1\2", body)


inserted = st.sampled_from(
    [
        "x",
        "\n",
        "\n\n",
        "  ",
        "\nby hand\n",
        "\n  indented",
        "[2026-07-13 8:00 PM PDT] by hand\n",
        "<p>by hand</p>",
        "&amp;",
    ]
) | st.text(max_size=10)


@each_format
@settings(max_examples=100, deadline=None)
@given(conversations(), inserted, st.data())
def test_whatever_people_put_wherever_is_kept_to_the_character(
    text_settings: TextSettings, messages: list[Message], edit: str, data: st.DataObject
) -> None:
    some = written(text_settings, messages)
    cut = data.draw(st.integers(0, len(some) - 1))
    logged, new = some[:cut], some[cut:]
    logged_messages = [each for each in messages if each.id in {entry.id for entry in logged}]
    body = compose_log(text_settings, PEOPLE, logged_messages, TALK, KEY).body
    at = data.draw(st.integers(0, len(body)))
    edited = body[:at] + edit + body[at:]
    before = count_entries(edited, text_settings, {e.hash for e in new}, KEY, {e.hash for e in logged})

    amended = amend(edited, text_settings, new, known(logged), KEY, before)

    assert uncounted(without(amended, text_settings, new)).rstrip("\n") == uncounted(edited).rstrip("\n")
    assert amend(amended, text_settings, new, known(logged), KEY, before) == amended


PIECES = [
    "<div>",
    "</div>",
    "<p>",
    "</p>",
    "<br/>",
    "<ul><li>",
    "</li></ul>",
    "<b>",
    "3 < 4",
    "&amp",
    "&#0;",
    " ",
    "x",
]
bodies = st.text(st.characters(categories=None)) | st.lists(st.sampled_from(PIECES)).map("".join)


@each_format
@settings(max_examples=60, deadline=None)
@given(bodies, conversations())
def test_a_body_without_anything_of_ours_is_kept_and_added_to_once(
    text_settings: TextSettings, body: str, messages: list[Message]
) -> None:
    if (
        text_settings.format is LogFormat.HTML
        and set(body) & set("<!\"'")
        and not set(body) <= set("".join(PIECES))
    ):
        return  # an unclosed comment or attribute hides what follows
    some = written(text_settings, messages)
    amended = amend(body, text_settings, some, [], KEY)
    assert amended.startswith(body)
    assert total(amended, text_settings, some) == len(some)
    assert amend(amended, text_settings, some, [], KEY) == amended
