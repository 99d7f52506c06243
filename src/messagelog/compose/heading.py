"""The heading of a conversation log: who, when, and how many messages; and its update in a body."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from messagelog.compose import earlier
from messagelog.compose.blocks import Block, Line
from messagelog.compose.clean import normalise
from messagelog.compose.detect import FoundBlock, syntax_of
from messagelog.compose.model import Entry, KnownEntry, Participants, TextSettings
from messagelog.compose.senders import agent, contact_with_number, others
from messagelog.compose.times import day
from messagelog.compose.wording import MOST_NAMED, days_of, words_of
from messagelog.messages import Conversation, Message, MessageKind

_LONGEST_TITLE = 200  # characters that are read: more than the fixed words have
_LONGEST_HEADING = 20_000  # characters: with the longest names, and a CRM's markup


class Edit(NamedTuple):
    """The replacement of a part of a body, from `start` to before `end`, by `text`."""

    start: int
    end: int
    text: str


def heading_text(
    text_settings: TextSettings,
    participants: Participants,
    messages: Sequence[Message],
    conversation: Conversation,
    *,
    continued: bool = False,
) -> str:
    """Return the rendered heading; a small one without names if it would take half of the limit."""
    syntax = syntax_of(text_settings)
    text = syntax.render(_heading(text_settings, participants, messages, conversation, continued=continued))
    if text_settings.limit is None or text_settings.measure.of(text) <= text_settings.limit // 2:
        return text
    times = [message.sent_at for message in messages if message.sent_at is not None]
    tail = _tail(text_settings, times, Counter(message.kind for message in messages))
    title = words_of(text_settings).lost_title()
    return syntax.render(Block(words_of(text_settings).continuation(title) if continued else title, tail))


def _heading(
    text_settings: TextSettings,
    participants: Participants,
    messages: Sequence[Message],
    conversation: Conversation,
    *,
    continued: bool = False,
) -> Block:
    """Return the heading of an activity with these messages. Its title does not depend on them."""
    words = words_of(text_settings)
    title = words.title(contact_with_number(participants, words))
    if text_settings.is_earlier:
        name, also = earlier.agent(participants, conversation), earlier.others(participants, conversation)
    else:
        name, also = agent(participants, conversation, messages), others(participants, conversation)
    lines = [words.agent(name)] if name else []
    if also:
        lines.append(words.others(also, MOST_NAMED))
    times = [message.sent_at for message in messages if message.sent_at is not None]
    lines += _tail(text_settings, times, Counter(message.kind for message in messages))
    return Block(words.continuation(title) if continued else title, lines)


def lost_heading(text_settings: TextSettings, entries: Sequence[Entry]) -> Block:
    """Return a small heading for entries in a body where nothing of ours is left."""
    times = [entry.sent_at for entry in entries if entry.sent_at]
    return Block(
        words_of(text_settings).lost_title(),
        _tail(text_settings, times, Counter(entry.kind for entry in entries)),
    )


def _tail(
    text_settings: TextSettings, times: Collection[int], counts: Mapping[MessageKind, int]
) -> list[str]:
    words = words_of(text_settings)
    days = days_of(times, text_settings)
    lines = [words.days(days)] if days else []
    if counts and not text_settings.appends:
        lines.append(words.counts(counts))
    return [*lines, words.zone(text_settings.zone)]


class _Lines(NamedTuple):
    """Two lines of a heading in a body: the counts, and the days unless people have removed them."""

    counts_line: Line
    counts: dict[MessageKind, int]
    days_line: Line | None


def heading_edits(
    body: str,
    text_settings: TextSettings,
    found: Sequence[FoundBlock],
    added: Sequence[Entry],
    known: Sequence[KnownEntry],
) -> list[Edit] | None:
    """Return the edits that update the heading when entries are added; None if there is no heading of ours.

    Only lines that people have not edited are changed.
    """
    heading = _find(body, text_settings, found)
    if heading is None:
        return None
    words = words_of(text_settings)
    syntax = syntax_of(text_settings)
    counts = Counter(heading.counts)
    counts.update(entry.kind for entry in added)
    edits = [_edit(heading.counts_line, syntax.line(words.counts(counts)))]
    if heading.days_line:
        times = sorted({at[0] for at in known if at[0]} | {entry.sent_at for entry in added if entry.sent_at})
        first, *last = words.read_days(normalise(heading.days_line.text)) or [""]
        # Text that people have put there is not one of these days, and stays.
        if _is_day(first, times, text_settings) and (
            not last or _is_day(last[0], reversed(times), text_settings)
        ):
            edits.append(_edit(heading.days_line, syntax.line(words.days(days_of(times, text_settings)))))
    return edits


def _is_day(text: str, times: Iterable[int], text_settings: TextSettings) -> bool:
    return any(day(moment, text_settings.zone, text_settings.language) == text for moment in times)


def _edit(line: Line, text: str) -> Edit:
    return Edit(line.start, line.end, text)


def _find(body: str, text_settings: TextSettings, found: Sequence[FoundBlock]) -> _Lines | None:
    """Return the lines of the first block that begins like our heading, before any entry of ours.

    No message can look like a heading: its entry begins with the time.
    """
    words = words_of(text_settings)
    syntax = syntax_of(text_settings)
    starts = [block.start for block in found]
    for candidate in syntax.scan(body):
        if words.is_title(normalise(candidate.pieces[0][:_LONGEST_TITLE])):
            following = bisect_right(starts, candidate.start)
            end = min([*starts[following : following + 1], candidate.start + _LONGEST_HEADING])
            lines = _read_lines(syntax.lines(body, candidate.start, min(end, len(body))), text_settings)
            if lines is not None:
                return lines
    return None


def _read_lines(lines: Iterator[Line], text_settings: TextSettings) -> _Lines | None:
    """Return the lines of a heading; the line with the zone is the last."""
    words = words_of(text_settings)
    zone = normalise(words.zone(text_settings.zone))
    days_line = counts_line = counts = None
    for line in lines:
        text = normalise(line.text)
        if text == zone:
            break
        if counts is None and (counts := words.read_counts(text)):
            counts_line = line
        elif days_line is None and words.read_days(text):
            days_line = line
    else:
        return None
    return _Lines(counts_line, counts, days_line) if counts_line and counts else None
