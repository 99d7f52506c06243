"""A CRM's limit drops nothing: the log goes on in another activity, and only what is too long alone is shortened."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messagelog.compose import (
    Entry,
    KnownEntry,
    LogFormat,
    Measure,
    Participants,
    TextSettings,
    amend,
    compose_log,
    continuation_heading,
    count_entries,
    entries,
    fit_blocks,
    fit_log,
    replace_thread,
    subject_of,
    thread_blocks,
    thread_subject,
)
from messagelog.compose.shorten import whole
from messagelog.messages import Attachment, Conversation, Entity, Message, Owner, Party, Thread, message_order

KEY = b"k" * 32
T = 1_783_998_000_000
MINUTE = 60_000
PEOPLE = Participants("Maya Patel", "+14155550142", "Jordan Lee")
TALK = Conversation(conversation_id="1", correspondents=(Party(name="Maya Patel"),))
FORMATS = [LogFormat.PLAIN, LogFormat.HTML, LogFormat.MARKDOWN]
FAMILY = "👩‍👩‍👧"

each_format = pytest.mark.parametrize("format_", FORMATS)


def pinned(format_: LogFormat, limit: int | None, measure: Measure = Measure.CHARACTERS) -> TextSettings:
    return TextSettings(format_, "America/Los_Angeles", limit=limit, measure=measure)


def sms(number: int, text: str, **fields: Any) -> Message:
    given: dict[str, Any] = {"creation_time": T + number * MINUTE, "subject": text, "direction": "Inbound"}
    return Message(**{"id": str(number), "type": "SMS"} | given | fields)


def _room_for(
    new: Sequence[Entry], body: str, text_settings: TextSettings, known: Sequence[KnownEntry]
) -> int:
    """Return how many of the new entries can be added before the body is full."""
    counts = range(len(new), -1, -1)
    return next(
        n for n in counts if n == 0 or text_settings.fits(amend(body, text_settings, new[:n], known, KEY))
    )


def written(text_settings: TextSettings, messages: Sequence[Message]) -> list[Entry]:
    return entries(text_settings, PEOPLE, messages, TALK, KEY)


@each_format
def test_without_a_limit_everything_fits(format_: LogFormat) -> None:
    text_settings = pinned(format_, None)
    messages = [sms(n, "x" * 10_000) for n in range(20)]
    assert fit_log(text_settings, PEOPLE, messages, TALK, KEY) == 20
    assert fit_blocks(text_settings, written(text_settings, messages)) == 20


@st.composite
def activities(draw: st.DrawFn) -> tuple[TextSettings, list[Message]]:
    text_settings = TextSettings(
        draw(st.sampled_from(FORMATS)),
        "Asia/Tokyo",
        draw(st.sampled_from(["en", "es", "ja"])),
        limit=draw(st.integers(600, 2_000)),
        measure=draw(st.sampled_from(Measure)),
    )
    pieces = [
        "ok ",
        "a & b <c> ",
        "*x* ",
        "\n",
        "señor ",
        "日本 ",
        FAMILY,
        "x" * 300,
        "y" * 2_000,
        FAMILY * 100,
    ]
    texts = draw(st.lists(st.lists(st.sampled_from(pieces), max_size=4).map("".join), min_size=1, max_size=8))
    return text_settings, [sms(n, text) for n, text in enumerate(texts)]


@settings(max_examples=100, deadline=None)
@given(activities(), st.data())
def test_a_log_goes_on_in_as_many_activities_as_it_needs(
    given_: tuple[TextSettings, list[Message]], data: st.DataObject
) -> None:
    text_settings, messages = given_
    bodies: list[str] = []
    inside: list[list[Entry]] = []
    waiting = sorted(messages, key=message_order)
    first = data.draw(st.integers(1, len(waiting)))
    batches = [waiting[:first], waiting[first:]]
    for batch in filter(None, batches):
        if bodies:  # the last activity takes what it can
            new = written(text_settings, batch)
            known = [(entry.sent_at, entry.hash, entry.id or "") for entry in inside[-1]]
            fits = _room_for(new, bodies[-1], text_settings, known)
            bodies[-1] = amend(bodies[-1], text_settings, new[:fits], known, KEY)
            inside[-1] += new[:fits]
            batch = batch[fits:]  # noqa: PLW2901 - what is left of it
        while batch:
            fits = fit_log(text_settings, PEOPLE, batch, TALK, KEY, continued=bool(bodies))
            bodies.append(
                compose_log(text_settings, PEOPLE, batch[:fits], TALK, KEY, continued=bool(bodies)).body
            )
            inside.append(written(text_settings, batch[:fits]))
            batch = batch[fits:]  # noqa: PLW2901 - as above

    everything = written(text_settings, messages)
    hashes = {entry.hash for entry in everything}
    assert all(map(text_settings.fits, bodies))
    assert sum(sum(count_entries(body, text_settings, hashes, KEY).values()) for body in bodies) == len(
        messages
    )
    assert [entry for some in inside for entry in some] == everything
    assert all(body.encode() for body in bodies)


@each_format
@pytest.mark.parametrize("measure", Measure)
def test_an_entry_that_is_too_long_alone_says_so(format_: LogFormat, measure: Measure) -> None:
    text_settings = pinned(format_, 1_000, measure)
    picture = Attachment(
        type="MmsAttachment", content_type="image/png", file_name="a.png", uri="https://m.test/x"
    )
    long = sms(1, f"{FAMILY} & <b> " * 8_000, attachments=(picture,))
    (entry,) = written(text_settings, [long])
    body = compose_log(text_settings, PEOPLE, [long], TALK, KEY, continued=True).body
    assert text_settings.fits(body)
    assert text_settings.measure.of(body) > 900, "no more is cut than has to be"
    assert "Shortened:" in entry.text
    assert "a.png" in entry.text
    cut = entry.text.partition("Shortened:")[0]
    assert cut.count("👧") == cut.count("👩") / 2, "no half of a family"
    assert written(text_settings, [long]) == [entry]


def test_a_short_entry_is_not_shortened_because_of_its_neighbours() -> None:
    text_settings = pinned(LogFormat.PLAIN, 1_000)
    messages = [sms(n, "x" * 400) for n in range(5)]
    assert written(text_settings, messages) == written(pinned(LogFormat.PLAIN, None), messages)
    assert fit_log(text_settings, PEOPLE, messages, TALK, KEY) == 1
    assert fit_log(text_settings, PEOPLE, [], TALK, KEY) == 0


def test_a_message_of_nothing_but_links_keeps_as_many_as_fit() -> None:
    text_settings = pinned(LogFormat.PLAIN, 1_000)
    files = [
        Attachment(type="MmsAttachment", file_name=f"{n}.bin", uri="https://m.test/x") for n in range(50)
    ]
    (entry,) = written(text_settings, [sms(1, "look", attachments=tuple(files))])
    assert "0.bin" in entry.text
    assert "49.bin" not in entry.text
    assert text_settings.fits(
        compose_log(text_settings, PEOPLE, [sms(1, "look", attachments=tuple(files))], TALK, KEY).body
    )


def test_names_cannot_fill_an_activity() -> None:
    crowd = tuple(Party(name=f"{n}&" * 50, phone_number=f"+1{n}") for n in range(100))
    talk = Conversation(conversation_id="1", correspondents=crowd)
    participants = Participants("<&>" * 100, "+1", "&" * 200)
    for format_ in FORMATS:
        text_settings = pinned(format_, 600)
        body = compose_log(text_settings, participants, [sms(1, "x" * 10_000)], talk, KEY).body
        assert text_settings.fits(body)
        assert body.count("x") > 20
    unlimited = compose_log(pinned(LogFormat.PLAIN, None), participants, [sms(1, "x")], talk, KEY).body
    assert "and 90 others" in unlimited


@pytest.mark.parametrize(
    ("text", "end", "cut"),
    [
        ("abc", 2, "ab"),
        ("abc", 3, "abc"),
        ("e\u0301x", 1, ""),
        ("ae\u0301x", 2, "a"),
        (f"a{FAMILY}", 2, "a"),
        (f"a{FAMILY}", 4, "a"),
        (f"{FAMILY}b", 5, FAMILY),
        ("👍🏽!", 1, ""),
        ("❤\ufe0f!", 1, ""),
        ("🇪🇸🇯🇵", 1, ""),
        ("🇪🇸🇯🇵", 2, "🇪🇸"),
        ("🇪🇸🇯🇵", 3, "🇪🇸"),
    ],
)
def test_no_character_is_halved(text: str, end: int, cut: str) -> None:
    assert text[: whole(text, end)] == cut


def test_what_goes_on_says_so() -> None:
    text_settings = pinned(LogFormat.PLAIN, None)
    content = compose_log(text_settings, PEOPLE, [sms(1, "x")], TALK, KEY, continued=True)
    assert content.subject == "SMS conversation with Maya Patel - 2026-07-13 (continued)"
    assert content.subject == subject_of(text_settings, PEOPLE, [sms(1, "x")], TALK, continued=True)
    assert content.body.startswith("Conversation with Maya Patel (+14155550142) (continued)\n")
    assert thread_subject(text_settings, PEOPLE, thread(1), continued=True).endswith(
        " - 2026-07-13 (continued)"
    )


# -- shared threads ----------------------------------------------------------------------------------------


def thread(count: int, length: int = 200) -> Thread:
    said = [
        Entity(
            id=str(n), record_type="AliveMessage", text=f"{n} " + "x" * length, creation_time=T + n * MINUTE
        )
        for n in range(count)
    ]
    return Thread(entities=tuple(said), owner=Owner(name="Support"))


def pages_of(text_settings: TextSettings, threaded: Thread) -> list[list[Entry]]:
    """Return the blocks of a thread in as many activities as they need."""
    left = thread_blocks(text_settings, PEOPLE, threaded, KEY)
    pages = []
    while left:
        count = fit_blocks(text_settings, left)
        pages.append(left[:count])
        left = [continuation_heading(text_settings, PEOPLE, KEY), *left[count:]] if left[count:] else []
    return pages


@each_format
def test_a_thread_is_divided_among_activities(format_: LogFormat) -> None:
    unlimited = pinned(format_, None)
    assert pages_of(unlimited, thread(50)) == [thread_blocks(unlimited, PEOPLE, thread(50), KEY)]
    text_settings = pinned(format_, 2_000)
    pages = pages_of(text_settings, thread(50))
    assert len(pages) > 5
    assert [block.id for page in pages for block in page if block.id] == [str(n) for n in range(50)]
    for number, page in enumerate(pages):
        body = replace_thread("", text_settings, page, set(), KEY)
        assert text_settings.fits(body)
        assert ("(continued)" in body) == (number > 0)
        assert replace_thread(body, text_settings, page, {block.hash for block in page}, KEY) == body


def test_a_thread_that_grows_leaves_full_activities_as_they_are() -> None:
    text_settings = pinned(LogFormat.PLAIN, 2_000)
    before, after = (pages_of(text_settings, thread(count)) for count in (20, 30))
    assert after[1 : len(before) - 1] == before[1:-1]
    assert after[0][1:] == before[0][1:], "but for the summary"


def test_a_note_that_is_too_long_alone_is_shortened() -> None:
    text_settings = pinned(LogFormat.HTML, 1_000)
    pages = pages_of(text_settings, thread(3, 5_000))
    assert len(pages) == 4
    for page in pages:
        assert text_settings.fits(replace_thread("", text_settings, page, set(), KEY))
    assert all("Shortened" in page[-1].text for page in pages[1:])


@pytest.mark.parametrize("measure", Measure)
@pytest.mark.parametrize("limit", [400, 700, 1_500])
@each_format
def test_what_is_too_long_says_that_it_did_not_arrive(
    format_: LogFormat, limit: int, measure: Measure
) -> None:
    text_settings = pinned(format_, limit, measure)
    ours = sms(1, FAMILY * 2_000, direction="Outbound", message_status="DeliveryFailed")
    (entry,) = written(text_settings, [ours])
    assert entry.text.count("Not delivered") == 1
    assert "Shortened" in entry.text
    body = compose_log(text_settings, PEOPLE, [ours], TALK, KEY).body
    assert text_settings.fits(body)
    assert count_entries(body, text_settings, [entry.hash], KEY) == {entry.hash: 1}


@pytest.mark.parametrize("room", [60, 120, 200])
@each_format
def test_where_there_is_hardly_any_room_it_is_cut_as_all_others_are(format_: LogFormat, room: int) -> None:
    text_settings = pinned(format_, room)
    to = tuple(Party(name=f"Person {n} " + "n" * 40, message_status="DeliveryFailed") for n in range(5))
    ours = sms(1, "x" * 2_000, direction="Outbound", message_status="DeliveryFailed", to=to)
    others = sms(1, "x" * 2_000, direction="Outbound", message_status="Sent")
    assert len(written(text_settings, [ours])[0].text) <= max(
        room, len(written(text_settings, [others])[0].text)
    )


@each_format
def test_a_transcript_is_cut_before_its_recordings_link(format_: LogFormat) -> None:
    attachments = (Attachment(type="AudioRecording", uri="https://media.test/1", content_type="audio/mpeg"),)
    spoken = sms(1, "", type="VoiceMail", transcript="word " * 1_000, attachments=attachments)
    assert "media-reader/" in written(pinned(format_, 900), [spoken])[0].text
