"""Adding entries to a body that is already in the CRM, without touching what people wrote there."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from messagelog.compose import words
from messagelog.compose.blocks import Block, Syntax
from messagelog.compose.clean import normalise
from messagelog.compose.model import Entry, Pins
from messagelog.compose.recognise import Found, find, syntax_of

LATER_HEADING = "Conversation log"


def amend(  # noqa: PLR0917 - a text, and all that is known about it
    body: str,
    pins: Pins,
    new: Sequence[Entry],
    known: Sequence[tuple[int, bytes]],
    key: bytes,
    before: Mapping[bytes, int] | None = None,
) -> str:
    """The body with each new entry in its place by time; a second call changes nothing.

    `known` are time and hash of the entries that were logged earlier, without the new ones. `before` tells
    how often each hash stood in the body before the first attempt: with it, two equal entries in one minute
    are told from one that is there already, even if people have deleted the older.

    Where none of our entries can be recognised any more, the new ones go to the end.
    """
    found = find(body, pins, {entry.hash for entry in new} | {digest for _, digest in known}, key)
    missing = _missing(new, known, Counter(block.hash for block in found), before)
    if not missing:
        return body
    if not found:
        return add_at_end(body, pins, [*_lost_heading(body, pins), *(entry.text for entry in missing)])
    return _insert(body, syntax_of(pins), missing, _with_times(found, new, known))


def append_text(pins: Pins, new: Sequence[Entry]) -> str:
    """Only the new entries, oldest first, for CRMs that append."""
    return syntax_of(pins).separator.join(entry.text for entry in _by_time(new))


def add_at_end(body: str, pins: Pins, texts: Iterable[str]) -> str:
    """The body with rendered blocks after everything else in it."""
    syntax = syntax_of(pins)
    end = syntax.end_of(body)
    text = syntax.glue(body[:end]) + syntax.separator.join(texts)
    return body[:end] + syntax.fit(text, body, "") + body[end:]


def _by_time(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.sent_at)


def _missing(
    new: Sequence[Entry],
    known: Sequence[tuple[int, bytes]],
    in_body: Mapping[bytes, int],
    before: Mapping[bytes, int] | None,
) -> list[Entry]:
    """The new entries that are not in the body yet, oldest first."""
    stood = Counter(digest for _, digest in known) if before is None else before
    alike: dict[bytes, list[Entry]] = defaultdict(list)
    for entry in _by_time(new):
        alike[entry.hash].append(entry)
    missing = []
    for digest, entries in alike.items():
        lacking = stood.get(digest, 0) + len(entries) - in_body.get(digest, 0)
        missing.extend(entries[len(entries) - max(0, min(len(entries), lacking)) :])
    return _by_time(missing)


def _with_times(
    found: Sequence[Found], new: Sequence[Entry], known: Sequence[tuple[int, bytes]]
) -> list[tuple[int, Found]]:
    """Each of our blocks in the body with its time. Blocks that look alike take their times in order."""
    times: dict[bytes, list[int]] = defaultdict(list)
    for sent_at, digest in [*sorted(known), *((entry.sent_at, entry.hash) for entry in _by_time(new))]:
        times[digest].append(sent_at)
    counts = Counter(block.hash for block in found)
    queues = {digest: sorted(times[digest][:count], reverse=True) for digest, count in counts.items()}
    return [(queue.pop() if len(queue := queues[block.hash]) > 1 else queue[0], block) for block in found]


def _insert(body: str, syntax: Syntax, missing: Sequence[Entry], placed: Sequence[tuple[int, Found]]) -> str:
    """Each entry after the last of ours that is not younger, or before the first of all."""
    after: dict[int, list[Entry]] = defaultdict(list)
    for entry in missing:
        older = [index for index, (sent_at, _) in enumerate(placed) if sent_at <= entry.sent_at]
        after[older[-1] if older else -1].append(entry)
    for index, entries in sorted(after.items(), reverse=True):
        block = placed[max(index, 0)][1]
        text = syntax.separator.join(entry.text for entry in entries)
        if index < 0:
            body = (
                body[: block.start]
                + syntax.fit(text + syntax.separator, body, block.tag)
                + body[block.start :]
            )
        else:
            body = (
                body[: block.end] + syntax.fit(syntax.separator + text, body, block.tag) + body[block.end :]
            )
    return body


def _lost_heading(body: str, pins: Pins) -> list[str]:
    """A small heading, if the one with the zone is gone too."""
    syntax = syntax_of(pins)
    note = words.zone_note(pins.zone)
    if normalise(note) in normalise(syntax.visible(body)):
        return []
    return [syntax.render(Block(title=LATER_HEADING, lines=[note]))]
