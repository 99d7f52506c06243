"""Changes of a message after it was logged: it was not delivered, or its voicemail was transcribed.

The message's entry in the activity is replaced in place. If people have edited or removed it, one status line
is added in its place.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from messagelog.compose.amend import Order, add_at_end, apply_edits, insertions, order_of_known
from messagelog.compose.blocks import Block
from messagelog.compose.detect import FoundBlock, count_entries, entry_of, find, syntax_of
from messagelog.compose.heading import Edit
from messagelog.compose.log import block_of, entries, without_failure
from messagelog.compose.model import LINE_MARK, Entry, KnownEntry, Participants, TextSettings
from messagelog.compose.shorten import shorten, size_of
from messagelog.messages import Conversation, Message


class Change(NamedTuple):
    """A changed message's texts.

    `entry` is the whole entry. `short` is the same with the message's own text shortened, so that it is no longer than
    the entry without the facts, if possible; it is `entry` if that would save nothing. `line` is the status line: time,
    sender and the facts. It is None if there are none.
    """

    entry: Entry
    short: Entry
    line: Entry | None


class _Text(NamedTuple):
    """A message's text in a body, and whether it is the status line."""

    order: Order
    block: FoundBlock
    is_line: bool


def compose_change(
    text_settings: TextSettings,
    participants: Participants,
    message: Message,
    conversation: Conversation,
    key: bytes,
) -> Change:
    """Return the texts of a message as it is now, in the pinned wording. `key` is the hashes' key."""
    block = block_of(text_settings, participants, message, conversation)
    bare = msgspec.structs.replace(without_failure(message), transcript=None)
    without = block_of(text_settings, participants, bare, conversation)
    said = len(without.lines)
    # An empty message's entry is only "No text", until there is a transcript.
    told = block.lines[said:] if block.lines[:said] == without.lines else block.lines
    (entry,) = entries(text_settings, participants, [message], conversation, key)
    if text_settings.limit is None:
        return Change(
            entry, entry, entry_of(block._replace(lines=told), text_settings, key) if told else None
        )
    own = block._replace(lines=block.lines[: len(block.lines) - len(told)])
    shortest = entry_of(
        shorten(own, text_settings, size_of(without, text_settings), told), text_settings, key
    )
    is_shorter = text_settings.measure.of(shortest.text) < text_settings.measure.of(entry.text)
    line = shorten(Block(block.title, told, *block[2:]), text_settings, text_settings.limit // 2)
    return Change(
        entry, shortest if is_shorter else entry, entry_of(line, text_settings, key) if told else None
    )


def change_hashes(change: Change) -> tuple[bytes, ...]:
    """Return the hashes of the texts, each once."""
    return tuple(dict.fromkeys([text.hash for text in change if text is not None]))


def count_change(
    body: str, text_settings: TextSettings, change: Change, known: Sequence[KnownEntry], key: bytes
) -> dict[bytes, int]:
    """Return how often each of the change's texts is in the body, by hash, without those that are not."""
    return count_entries(body, text_settings, change_hashes(change), key, {each[1] for each in known})


def append_change(text_settings: TextSettings, change: Change) -> str:  # noqa: ARG001 - as `append_text`
    """Return only the status line, for append-only CRMs; empty if there are no facts."""
    return change.line.text if change.line else ""


def amend_change(  # noqa: PLR0917 - a text, and what is known about it, as for `amend`
    body: str,
    text_settings: TextSettings,
    change: Change,
    known: Sequence[KnownEntry],
    key: bytes,
    before: Mapping[bytes, int] | None = None,
) -> str | None:
    """Return the body with the change made; None if there is no room for it. A second call changes nothing.

    `known` are all texts that were logged in this activity, those of one message oldest first. A status line has
    `LINE_MARK` behind its message's id. `before` is how often each of the change's hashes was in the body before the
    first attempt.

    The newest text of the message in the body is replaced: its entry by the entry, its status line by the new one. If
    people have edited all of them, the status line is put in its place by time, or at the end.
    """
    hashes = change_hashes(change)
    found = find(body, text_settings, {*hashes, *(each[1] for each in known)}, key)
    texts, unclaimed = _texts_in(found, known)
    own = texts.get(change.entry.id or "")
    stands = Counter(block.hash for block in found)
    more = unclaimed if before is None else stands - Counter(before)
    if any(more.get(digest, 0) > 0 for digest in hashes) or (own and own.block.hash in hashes):
        return body
    if own and not syntax_of(text_settings).holds_more(body[own.block.start : own.block.end]):
        ours = [change.line] if own.is_line else [change.entry, change.short]
        versions = [_replace_block(body, text_settings, own.block, text) for text in ours if text is not None]
    else:
        versions = [_with_line(body, text_settings, change.line, texts)] if change.line else []
    return next(filter(text_settings.fits, versions), None) if versions else body


def _texts_in(
    found: Sequence[FoundBlock], known: Sequence[KnownEntry]
) -> tuple[dict[str, _Text], Counter[bytes]]:
    """Return each message's newest text in the body, by the message's id, and the counts of other blocks, by hash.

    Equal blocks belong to their messages in the order of the messages.
    """
    logged: dict[str, list[KnownEntry]] = defaultdict(list)
    for index, each in enumerate(known):
        id_ = each[2].removesuffix(LINE_MARK) if len(each) > 2 else ""  # noqa: PLR2004 - time, hash, id
        logged[id_ or f"\0{index}"].append(each)
    ordered = sorted(logged.items(), key=lambda item: order_of_known(item[1][0]))
    unclaimed = Counter(block.hash for block in found)
    claims: dict[str, KnownEntry] = {}
    # All newest texts first: an earlier text of one message may equal the present text of another.
    for age in range(max(map(len, logged.values()), default=0)):
        for id_, own in ordered:
            if id_ not in claims and age < len(own) and unclaimed[own[-1 - age][1]]:
                claims[id_] = own[-1 - age]
                unclaimed[claims[id_][1]] -= 1
    blocks: dict[bytes, deque[FoundBlock]] = defaultdict(deque)
    for block in found:
        blocks[block.hash].append(block)
    texts = {}
    for id_, _ in ordered:
        if id_ in claims:
            claim = claims[id_]
            is_line = len(claim) > 2 and claim[2].endswith(LINE_MARK)  # noqa: PLR2004 - as above
            texts[id_] = _Text(order_of_known(claim), blocks[claim[1]].popleft(), is_line)
    return texts, unclaimed


def _replace_block(body: str, text_settings: TextSettings, block: FoundBlock, text: Entry) -> str:
    """Return the body with a block replaced. White space at the block's end is not ours, and stays."""
    end = block.start + len(body[block.start : block.end].rstrip())
    return apply_edits(
        body, [Edit(block.start, end, syntax_of(text_settings).adapt(text.text, body, block.tag))]
    )


def _with_line(body: str, text_settings: TextSettings, line: Entry, texts: Mapping[str, _Text]) -> str:
    """Return the body with a status line after our last text that is not younger, or at the end."""
    placed = sorted(((text.order, text.block) for text in texts.values()), key=lambda each: each[1].start)
    if not placed:
        return add_at_end(body, text_settings, [line.text])
    return apply_edits(body, insertions(body, text_settings, [line], placed))
