"""How much fits into an activity whose body is limited. Nothing is dropped: what does not fit goes into another.

A runtime that opens "(continued)" activities asks `fit_log` before a create and `fit_amend` before an update, and
hands over so many of the oldest messages; the others go into the next activity, made by `compose_log` with
`continued=True`. For shared threads `thread_pages` says what stands in each activity. The limit is pinned
(`Pins.limit`), so that an entry that had to be shortened keeps its text, and its hash.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

from messagelog.compose.amend import amend, in_order
from messagelog.compose.log import compose_log, entries
from messagelog.compose.model import Entry, Known, People, Pins
from messagelog.compose.recognise import syntax_of
from messagelog.compose.thread import continued_heading, thread_blocks
from messagelog.messages import Conversation, Message, Thread, message_order


def fit_log(
    pins: Pins,
    people: People,
    messages: Sequence[Message],
    conversation: Conversation,
    key: bytes,
    *,
    continued: bool = False,
) -> int:
    """How many of the messages, oldest first, a new activity has room for; at least one, if there is any."""
    ordered = sorted(messages, key=message_order)
    written = entries(pins, people, ordered, conversation, key)

    def overflows(count: int) -> bool:
        some = (ordered[:count], conversation, key, written[:count])
        return not pins.fits(compose_log(pins, people, *some, continued=continued).body)

    return max(_most(len(ordered), overflows), min(1, len(ordered)))


def fit_amend(  # noqa: PLR0917 - what `amend` takes
    body: str,
    pins: Pins,
    new: Sequence[Entry],
    known: Sequence[Known],
    key: bytes,
    before: Mapping[bytes, int] | None = None,
) -> int:
    """How many of the new entries, oldest first, the body has room for. What stands in it already takes none."""
    ordered = in_order(new)
    return _most(len(ordered), lambda n: not pins.fits(amend(body, pins, ordered[:n], known, key, before)))


def fit_blocks(pins: Pins, blocks: Sequence[Entry]) -> int:
    """How many blocks of a shared thread a new activity has room for: the heading and one at least."""
    if pins.limit is None:
        return len(blocks)
    separator = pins.measure.of(syntax_of(pins).separator)
    ends = list(accumulate(pins.measure.of(block.text) + separator for block in blocks))
    return max(bisect_right(ends, pins.limit + separator), min(2, len(blocks)))


def thread_pages(
    pins: Pins, people: People, thread: Thread, key: bytes, occupied: Sequence[int] = ()
) -> list[list[Entry]]:
    """The blocks of a shared thread, divided among as many activities as are needed: one, without a limit.

    The first begins with the summary, each other with a "(continued)" heading. `occupied` is how much of each
    activity's limit other text takes: that of people. Where that leaves no room, a page is empty.
    """
    blocks = thread_blocks(pins, people, thread, key)
    if pins.limit is None:
        return [blocks]
    separator = pins.measure.of(syntax_of(pins).separator)
    heading = continued_heading(pins, people, key)
    pages: list[list[Entry]] = [[]]
    room = _room(pins, 0, occupied)
    for block in blocks:
        size = pins.measure.of(block.text) + separator
        while size > room and (pages[-1] not in ([], [heading]) or len(pages) <= len(occupied)):
            if pages[-1] == [heading]:
                pages[-1] = []  # people have filled this one
            pages.append([heading])
            room = _room(pins, len(pages) - 1, occupied) - pins.measure.of(heading.text) - separator
        pages[-1].append(block)
        room -= size
    return pages


def _room(pins: Pins, page: int, occupied: Sequence[int]) -> int:
    taken = occupied[page] if page < len(occupied) else 0
    # The last block has no separator behind it.
    return (pins.limit or 0) - taken + pins.measure.of(syntax_of(pins).separator)


def _most(count: int, overflows: Callable[[int], bool]) -> int:
    """The greatest number up to `count` that does not overflow; 0 where even one does."""
    return bisect_right(range(1, count + 1), 0, key=lambda n: int(overflows(n)))
