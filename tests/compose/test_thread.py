"""A shared thread: who said what, who took care of it, and our part of the text replaced as a whole."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messagelog.compose import (
    Entry,
    LogFormat,
    Participants,
    TextSettings,
    append_thread_text,
    compose_thread,
    count_entries,
    replace_thread,
    thread_blocks,
)
from messagelog.messages import Attachment, Entity, Owner, Party, Thread

KEY = b"k" * 32
T = 1_784_214_000_000
READER = "https://ringcentral.github.io/ringcentral-media-reader/"
MINUTE, HOUR = 60_000, 3_600_000
PEOPLE = Participants("Maya Patel", "+14155550142")
PINS = {
    format_: TextSettings(format_, "America/Los_Angeles")
    for format_ in LogFormat
    if format_ is not LogFormat.CUSTOM
}
PLAIN = PINS[LogFormat.PLAIN]
JORDAN, SAM = Party(extension_id="5", name="Jordan Lee"), Party(extension_id="6", name="Sam Ortiz")
DESK = Owner(name="Support Queue", extension_type="Department")

each_format = pytest.mark.parametrize("text_settings", PINS.values(), ids=PINS)


def entity(record_type: str | None, at: Any = 0, text: str | None = None, **fields: Any) -> Entity:
    when: dict[str, Any] = {"creation_time": T + at} if isinstance(at, int) else {"creation_time": at}
    number = fields.pop("id", f"{record_type}{at}")
    return Entity(**{"id": number, "record_type": record_type, "text": text} | when | fields)


def said(at: int, text: str, **fields: Any) -> Entity:
    return entity("AliveMessage", at, text, **fields)


def thread(*entities: Entity, **fields: Any) -> Thread:
    given: dict[str, Any] = {"entities": entities, "owner": DESK} | fields
    return Thread(**given)


def blocks(
    some: Thread, text_settings: TextSettings = PLAIN, participants: Participants = PEOPLE
) -> list[Entry]:
    return thread_blocks(text_settings, participants, some, KEY)


def texts(*entities: Entity, **fields: Any) -> list[str]:
    """Return the texts without the summary, and without the times."""
    return [block.text.partition("] ")[2] for block in blocks(thread(*entities, **fields))[1:]]


def summary(*entities: Entity, participants: Participants = PEOPLE, **fields: Any) -> list[str]:
    return [
        line.strip()
        for line in blocks(thread(*entities, **fields), participants=participants)[0].text.split("\n")
    ]


def test_a_thread() -> None:
    content = compose_thread(
        PLAIN,
        PEOPLE,
        thread(
            entity("ThreadCreatedHint"),
            said(MINUTE, "Is anyone there?", direction="Inbound"),
            entity("ThreadAssignedHint", 2 * MINUTE, initiator=JORDAN, assignee=SAM),
            entity("AliveNote", 3 * MINUTE, "VIP\ncall back", author=JORDAN),
            said(4 * MINUTE, "Yes", direction="Outbound", author=SAM),
            entity("ThreadResolvedHint", 50 * HOUR, initiator=SAM),
            status="Resolved",
            status_reason="Done",
            assignee=SAM,
            owner_party=Party(phone_number="+14155550900"),
        ),
        KEY,
    )
    assert content.subject == "Shared SMS conversation with Maya Patel - 2026-07-16"
    assert content.body == (
        "Shared SMS conversation with Maya Patel (+14155550142)\n"
        "  Call queue: Support Queue\n"
        "  Number: +14155550900\n"
        "  Participants: Maya Patel (customer), Jordan Lee, Sam Ortiz\n"
        "  Assigned to: Sam Ortiz\n"
        "  Status: resolved (Done)\n"
        "  Started: 2026-07-16 8:00 AM PDT\n"
        "  Ended: 2026-07-18 10:00 AM PDT\n"
        "  Duration: 2 d 2 h\n"
        "  2 messages, 1 note\n"
        "  Times in America/Los_Angeles\n"
        "\n"
        "[2026-07-16 8:01 AM PDT] Maya Patel\n"
        "  Is anyone there?\n"
        "\n"
        "[2026-07-16 8:02 AM PDT] Assigned to Sam Ortiz by Jordan Lee\n"
        "\n"
        "[2026-07-16 8:03 AM PDT] Note by Jordan Lee\n"
        "  VIP\n"
        "  call back\n"
        "\n"
        "[2026-07-16 8:04 AM PDT] Sam Ortiz\n"
        "  Yes\n"
        "\n"
        "[2026-07-18 10:00 AM PDT] Resolved by Sam Ortiz"
    )


def test_iso_times_no_last_modified_time_and_hints_without_times() -> None:
    some = thread(
        entity("ThreadResolvedHint", None),
        entity("AliveMessage", "2026-07-16T16:00:00Z", "b", direction="Inbound"),
        entity("AliveMessage", "2026-07-16T15:00:00.000Z", "a", direction="Inbound"),
    )
    assert [block.text.split("\n")[0] for block in blocks(some)[1:]] == [
        "[2026-07-16 8:00 AM PDT] Maya Patel",
        "[time unknown] Resolved",
        "[2026-07-16 9:00 AM PDT] Maya Patel",
    ]
    assert "1970" not in compose_thread(PLAIN, PEOPLE, some, KEY).body


def test_a_thread_without_any_time_says_nothing_about_times() -> None:
    lines = summary(entity("ThreadCreatedHint", None))
    assert lines == [
        "Shared SMS conversation with Maya Patel (+14155550142)",
        "Call queue: Support Queue",
        "Participants: Maya Patel (customer)",
        "Status: open",
        "0 messages, 0 notes",
        "Times in America/Los_Angeles",
    ]


def test_a_thread_of_more_than_a_day_counts_the_remainder() -> None:
    assert "Duration so far: 2 d 2 h" in summary(said(0, "a"), said(50 * HOUR, "b"))


def test_a_thread_that_goes_on_says_so() -> None:
    lines = summary(said(0, "a"), entity("ThreadResolvedHint", HOUR), said(2 * HOUR, "b"), status="Open")
    assert "Status: open" in lines
    assert "Last activity: 2026-07-16 10:00 AM PDT" in lines
    assert not any(line.startswith("Ended") for line in lines)


def test_the_end_is_when_it_was_resolved_and_hints_tell_where_nothing_else_does() -> None:
    some = (said(0, "a"), entity("ThreadResolvedHint", HOUR), entity("AliveNote", 2 * HOUR, "late"))
    lines = summary(*some)
    assert "Status: resolved" in lines
    assert "Ended: 2026-07-16 9:00 AM PDT" in lines
    assert "Duration: 1 h" in lines
    assert "Status: open" in summary(*some, entity("ThreadReopenedHint", 3 * HOUR))


def test_deleted_things_count_nowhere() -> None:
    gone = [
        entity("DeletedMessage", 9 * HOUR, "x"),
        said(9 * HOUR, "y", availability="Deleted", direction="Outbound", author=SAM),
        entity("AliveNote", 9 * HOUR, "z", availability="Purged", author=SAM),
    ]
    assert summary(said(0, "a"), *gone) == summary(said(0, "a"))


def test_a_user_who_owns_the_inbox_is_its_owner() -> None:
    assert summary(said(0, "a"), owner=Owner(name="Ana", extension_type="User"))[1] == "Owner: Ana"


def test_an_outbound_entry_without_author_is_the_owners_or_an_unknown_agents() -> None:
    out = said(0, "Hi", direction="Outbound")
    assert texts(out) == ["Support Queue\n  Hi"]
    assert texts(out, owner=Owner()) == ["Unknown agent\n  Hi"]
    assert texts(entity("AliveNote", 0, "x")) == ["Note by Unknown agent\n  x"]


def test_each_agent_is_listed_once_and_the_customer_never() -> None:
    lines = summary(
        said(0, "a", direction="Inbound", author=Party(name="Maya Patel")),
        said(1, "b", direction="Outbound", author=SAM),
        said(2, "c", direction="Outbound", author=Party(extension_id="6", name="Sam O.")),
        said(3, "d", direction="Outbound", author=Party(name="sam ortiz")),
        said(4, "e", direction="Outbound", author=Party(extension_id="5")),
        entity("AliveNote", 5, "n", author=JORDAN),
        entity("ThreadAssignedHint", 6, initiator=JORDAN, assignee=Party(name="maya  patel")),
        entity(
            "ThreadAssignedHint", 7, initiator=JORDAN, assignee=Party(name="X", phone_number="+14155550142")
        ),
        assignee=SAM,
    )
    assert "Participants: Maya Patel (customer), Sam Ortiz, Jordan Lee" in lines


def test_assignments_say_from_whom_to_whom() -> None:
    hint = "ThreadAssignedHint"
    assert texts(
        entity(hint, 1, assignee=SAM, initiator=JORDAN),
        entity(hint, 2, assignee=JORDAN, initiator=SAM),
        entity(hint, 3, initiator=SAM),
        entity(hint, 4, assignee=SAM),
        entity(hint, 5, assignee=SAM, previous_assignee=Party(name="Ana")),
        entity(hint, 6, previous_assignee=SAM),
        entity(hint, 7),
    ) == [
        "Assigned to Sam Ortiz by Jordan Lee",
        "Assigned from Sam Ortiz to Jordan Lee by Sam Ortiz",
        "Unassigned from Jordan Lee by Sam Ortiz",
        "Assigned to Sam Ortiz",
        "Assigned from Ana to Sam Ortiz",
        "Unassigned from Sam Ortiz",
        "Unassigned",
    ]


def test_what_is_deleted_or_tells_nothing_new_is_left_out() -> None:
    assert texts(
        *(entity(kind, 0, "secret") for kind in ("DeletedMessage", "DeletedNote", "ThreadDeletedHint")),
        *(entity(kind, 0) for kind in ("ThreadCreatedHint", "ThreadNoteAddedHint", "Novelty")),
        said(1, "gone", availability="Deleted"),
        entity("ThreadReopenedHint", 2, initiator=SAM),
    ) == ["Reopened by Sam Ortiz"]


def test_media_failures_and_empty_messages() -> None:
    picture = Attachment(
        type="MmsAttachment", content_type="image/png", file_name="a.png", uri="https://m.test/x"
    )
    assert texts(
        said(0, "Look", direction="Inbound", attachments=(picture,)),
        said(1, "Hi", direction="Outbound", author=SAM, message_status="SendingFailed"),
        said(2, " ", direction="Inbound", message_status="DeliveryFailed"),
    ) == [
        f"Maya Patel\n  Look\n  Picture a.png: {READER}?media=https%3A%2F%2Fm.test%2Fx",
        "Sam Ortiz\n  Hi\n  Not sent: sending failed",
        "Maya Patel\n  (no text)",
    ]


def test_without_a_direction_an_author_tells_who_sent_it() -> None:
    assert texts(entity(None, 0, "a", author=SAM), entity(None, 1, "b")) == [
        "Sam Ortiz\n  a",
        "Maya Patel\n  b",
    ]


def test_blocks_know_their_entity_and_the_summary_has_none() -> None:
    some = blocks(thread(said(0, "a", id="e1"), said(0, "a", id="e2")))
    assert [block.id for block in some] == [None, "e1", "e2"]
    assert append_thread_text(PLAIN, some[1:]) == f"{some[1].text}\n\n{some[2].text}"


# -- replacing our part ------------------------------------------------------------------------------------

BEFORE = thread(said(0, "one", direction="Inbound"), said(MINUTE, "two", direction="Inbound"))
AFTER = thread(
    said(0, "one", direction="Inbound"),
    entity("DeletedMessage", MINUTE, "two"),
    said(2 * MINUTE, "three", direction="Inbound"),
)


def hashes(some: list[Entry]) -> set[bytes]:
    return {block.hash for block in some}


def body(text_settings: TextSettings, some: Thread) -> str:
    return compose_thread(text_settings, PEOPLE, some, KEY).body


@each_format
def test_the_new_text_takes_the_place_of_the_old(text_settings: TextSettings) -> None:
    old, new = blocks(BEFORE, text_settings), blocks(AFTER, text_settings)
    replaced = replace_thread(body(text_settings, BEFORE), text_settings, new, hashes(old), KEY)
    assert replaced == body(text_settings, AFTER)
    assert replace_thread(replaced, text_settings, new, hashes(old), KEY) == replaced


@each_format
def test_every_block_is_recognised(text_settings: TextSettings) -> None:
    some = blocks(AFTER, text_settings)
    assert sum(count_entries(body(text_settings, AFTER), text_settings, hashes(some), KEY).values()) == len(
        some
    )


@each_format
def test_people_s_own_text_stays_around_and_between(text_settings: TextSettings) -> None:
    old, new = blocks(BEFORE, text_settings), blocks(AFTER, text_settings)
    html = text_settings.format is LogFormat.HTML
    notes = [
        f"<p>note {n} &amp; <i>more</i></p>" if html else f"note {n}\n  * more  \n\n\tend" for n in range(3)
    ]
    gap = "" if html else "\n\n"
    edited = gap.join([notes[0], old[0].text, old[1].text, notes[1], old[2].text, notes[2]])

    replaced = replace_thread(edited, text_settings, new, hashes(old), KEY)
    assert replaced == gap.join([notes[0], *(block.text for block in new), notes[1], notes[2]])
    assert replace_thread(replaced, text_settings, new, hashes(old), KEY) == replaced


@each_format
@pytest.mark.parametrize("existing", ["", "Something of people.", "Something of people.\n"])
def test_where_nothing_of_ours_is_left_it_goes_to_the_end(text_settings: TextSettings, existing: str) -> None:
    old, new = blocks(BEFORE, text_settings), blocks(AFTER, text_settings)
    replaced = replace_thread(existing, text_settings, new, hashes(old), KEY)
    assert replaced.startswith(existing)
    assert replaced.endswith(body(text_settings, AFTER))
    assert replace_thread(replaced, text_settings, new, hashes(old), KEY) == replaced


def test_crms_line_ends_and_stripped_blanks() -> None:
    old, new = blocks(BEFORE), blocks(AFTER)
    stored = "\r\n".join(line.rstrip() for line in body(PLAIN, BEFORE).split("\n"))
    replaced = replace_thread(f"note\r\n\r\n{stored}\r\nbye", PLAIN, new, hashes(old), KEY)
    assert replaced == f"note\r\n\r\n{body(PLAIN, AFTER)}\nbye".replace("\r\n", "\n").replace("\n", "\r\n")


@st.composite
def histories(draw: st.DrawFn) -> list[Thread]:
    """Draw snapshots of one thread as it grows, with entries edited and deleted."""
    count = draw(st.integers(1, 6))
    kinds = st.sampled_from(["AliveMessage", "AliveNote", "ThreadResolvedHint", "DeletedMessage"])
    words = st.sampled_from(
        ["ok", "a\n\nb", "<p>", "[x] y\n  z", "- **x** y", "\ud83d", "  ", "Times in UTC"]
    )
    all_of_them = [entity(draw(kinds), n * MINUTE, draw(words), id=str(n)) for n in range(count)]
    sizes = draw(st.lists(st.integers(0, count), min_size=1, max_size=3))
    return [thread(*draw(st.permutations(all_of_them))[:size]) for size in sizes]


@each_format
@settings(max_examples=60, deadline=None)
@given(histories(), st.sampled_from(["", "note", "note\n"]), st.sampled_from(["", "\n\nnote", "<p>x</p>"]))
def test_any_history_ends_in_the_text_of_the_newest_snapshot(
    text_settings: TextSettings, history: list[Thread], above: str, below: str
) -> None:
    glue = "" if text_settings.format is LogFormat.HTML else "\n\n"
    text = above + glue + body(text_settings, history[0]) + glue + below
    sent = hashes(blocks(history[0], text_settings))
    for snapshot in history[1:]:
        new = blocks(snapshot, text_settings)
        text = replace_thread(text, text_settings, new, sent, KEY)
        sent |= hashes(new)
        assert replace_thread(text, text_settings, new, sent, KEY) == text
    assert text == above + glue + body(text_settings, history[-1]) + glue + below
    assert text.encode()
