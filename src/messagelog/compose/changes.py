"""What RingCentral says about a message after it was logged: that it did not arrive, or what a voicemail says.

The message's entry in the activity is replaced in place. Where people have edited it or taken it away, a status line
stands for it, once.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from messagelog.compose.amend import Order, add_at_end, edited, insertions, known_order
from messagelog.compose.blocks import Block
from messagelog.compose.heading import Edit
from messagelog.compose.log import block_of, entries, without_failure
from messagelog.compose.model import LINE_MARK, Entry, Known, People, Pins
from messagelog.compose.recognise import Found, count_entries, entry_of, find, syntax_of
from messagelog.compose.shorten import shorten, size_of
from messagelog.messages import Conversation, Message


class Change(NamedTuple):
    """A changed message's texts.

    `entry` is its whole entry. `short` is the same with the message's own text shortened, so that it takes no more room
    than the entry took without the facts, as far as that can be; it is `entry` where nothing would be won. `line` is
    the status line: time, speaker and what the facts say. It is None where they say nothing.
    """

    entry: Entry
    short: Entry
    line: Entry | None


class _Text(NamedTuple):
    """A text of a message that stands in a body, and whether it is its status line."""

    order: Order
    block: Found
    is_line: bool


def compose_change(
    pins: Pins, people: People, message: Message, conversation: Conversation, key: bytes
) -> Change:
    """The texts of a message as it is now, in the wording that is pinned. `key` is that of the hashes."""
    block = block_of(pins, people, message, conversation)
    bare = msgspec.structs.replace(without_failure(message), transcript=None)
    without = block_of(pins, people, bare, conversation)
    said = len(without.lines)
    # "No text" is all that an empty message says, until there is a transcript.
    told = block.lines[said:] if block.lines[:said] == without.lines else block.lines
    (entry,) = entries(pins, people, [message], conversation, key)
    if pins.limit is None:
        return Change(entry, entry, entry_of(block._replace(lines=told), pins, key) if told else None)
    own = block._replace(lines=block.lines[: len(block.lines) - len(told)])
    shortest = entry_of(shorten(own, pins, size_of(without, pins), told), pins, key)
    is_shorter = pins.measure.of(shortest.text) < pins.measure.of(entry.text)
    line = shorten(Block(block.title, told, *block[2:]), pins, pins.limit // 2)
    return Change(entry, shortest if is_shorter else entry, entry_of(line, pins, key) if told else None)


def change_hashes(change: Change) -> tuple[bytes, ...]:
    """The hashes of the texts, each once."""
    return tuple(dict.fromkeys([text.hash for text in change if text is not None]))


def count_change(
    body: str, pins: Pins, change: Change, known: Sequence[Known], key: bytes
) -> dict[bytes, int]:
    """How often each of the change's texts stands in the body, by hash; those that do not are missing."""
    return count_entries(body, pins, change_hashes(change), key, {each[1] for each in known})


def append_change(pins: Pins, change: Change) -> str:  # noqa: ARG001 - as `append_text`
    """Only the status line, for CRMs that append; empty where the facts say nothing."""
    return change.line.text if change.line else ""


def amend_change(  # noqa: PLR0917 - a text, and all that is known about it, as for `amend`
    body: str,
    pins: Pins,
    change: Change,
    known: Sequence[Known],
    key: bytes,
    before: Mapping[bytes, int] | None = None,
) -> str | None:
    """The body with the change made; None where there is no room for it. A second call changes nothing.

    `known` are all texts that were logged in this activity, those of one message oldest first. A status line has
    `LINE_MARK` behind its message's id. `before` tells how often each of the change's hashes stood in the body before
    the first attempt.

    The newest text of the message that is there is replaced: its entry by the entry, its status line by the new one.
    Where people have edited all of them, the status line is put in its place by time, or at the end.
    """
    hashes = change_hashes(change)
    found = find(body, pins, {*hashes, *(each[1] for each in known)}, key)
    texts, unclaimed = _texts_in(found, known)
    own = texts.get(change.entry.id or "")
    stands = Counter(block.hash for block in found)
    more = unclaimed if before is None else stands - Counter(before)
    if any(more.get(digest, 0) > 0 for digest in hashes) or (own and own.block.hash in hashes):
        return body
    if own and not syntax_of(pins).holds_more(body[own.block.start : own.block.end]):
        ours = [change.line] if own.is_line else [change.entry, change.short]
        versions = [_replaced(body, pins, own.block, text) for text in ours if text is not None]
    else:
        versions = [_with_line(body, pins, change.line, texts)] if change.line else []
    return next(filter(pins.fits, versions), None) if versions else body


def _texts_in(found: Sequence[Found], known: Sequence[Known]) -> tuple[dict[str, _Text], Counter[bytes]]:
    """The newest text of each message that stands in the body, by the message's id; and what is nobody's, by hash.

    Blocks that look alike belong to their messages in the order of these.
    """
    logged: dict[str, list[Known]] = defaultdict(list)
    for index, each in enumerate(known):
        id_ = each[2].removesuffix(LINE_MARK) if len(each) > 2 else ""  # noqa: PLR2004 - time, hash, id
        logged[id_ or f"\0{index}"].append(each)
    ordered = sorted(logged.items(), key=lambda item: known_order(item[1][0]))
    unclaimed = Counter(block.hash for block in found)
    claims: dict[str, Known] = {}
    # The newest texts of all first: what one message read earlier may be what another reads now.
    for age in range(max(map(len, logged.values()), default=0)):
        for id_, own in ordered:
            if id_ not in claims and age < len(own) and unclaimed[own[-1 - age][1]]:
                claims[id_] = own[-1 - age]
                unclaimed[claims[id_][1]] -= 1
    blocks: dict[bytes, deque[Found]] = defaultdict(deque)
    for block in found:
        blocks[block.hash].append(block)
    texts = {}
    for id_, _ in ordered:
        if id_ in claims:
            claim = claims[id_]
            is_line = len(claim) > 2 and claim[2].endswith(LINE_MARK)  # noqa: PLR2004 - as above
            texts[id_] = _Text(known_order(claim), blocks[claim[1]].popleft(), is_line)
    return texts, unclaimed


def _replaced(body: str, pins: Pins, block: Found, text: Entry) -> str:
    """The body with another text in the place of a block. White space at its end is not ours."""
    end = block.start + len(body[block.start : block.end].rstrip())
    return edited(body, [Edit(block.start, end, syntax_of(pins).fit(text.text, body, block.tag))])


def _with_line(body: str, pins: Pins, line: Entry, texts: Mapping[str, _Text]) -> str:
    """The body with a status line behind the last of our texts that is not younger, or at the end."""
    placed = sorted(((text.order, text.block) for text in texts.values()), key=lambda each: each[1].start)
    if not placed:
        return add_at_end(body, pins, [line.text])
    return edited(body, insertions(body, pins, [line], placed))
