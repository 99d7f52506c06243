"""Amend a body in the CRM: add entries, and leave people's own text as it is."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from messagelog.compose.detect import FoundBlock, find, syntax_of
from messagelog.compose.heading import Edit, heading_edits, lost_heading
from messagelog.compose.model import LINE_MARK, Entry, KnownEntry, TextSettings

Order = tuple[int, int, str]
"""The sort key of entries: time, then id (ids of digits by their number)."""


def amend(  # noqa: PLR0917 - a text, and what is known about it
    body: str,
    text_settings: TextSettings,
    new: Sequence[Entry],
    known: Sequence[KnownEntry],
    key: bytes,
    before: Mapping[bytes, int] | None = None,
) -> str:
    """Return the body with each new entry in its place by time; a second call changes nothing.

    `known` are the entries that were logged earlier, without the new ones. `before` is how often each hash was in the
    body before the first attempt: it tells two equal entries in one minute from one that is there already, even if
    people have deleted the older one.

    The counts and the days in our heading are updated. If none of our entries is recognised any more, the new ones go
    to the end, under a heading of their own if ours is gone too.
    """
    found = find(body, text_settings, {entry.hash for entry in new} | {each[1] for each in known}, key)
    missing = _missing(new, known, Counter(block.hash for block in found), before)
    if not missing:
        return body
    heading = heading_edits(body, text_settings, found, missing, known)
    if found:
        return apply_edits(
            body,
            [
                *(heading or ()),
                *insertions(body, text_settings, missing, blocks_with_order(found, new, known)),
            ],
        )
    texts = [entry.text for entry in missing]
    if heading is None:
        texts = [syntax_of(text_settings).render(lost_heading(text_settings, missing)), *texts]
    return apply_edits(add_at_end(body, text_settings, texts), heading or ())


def append_text(text_settings: TextSettings, new: Sequence[Entry]) -> str:
    """Return only the new entries, oldest first, for append-only CRMs."""
    return syntax_of(text_settings).separator.join([entry.text for entry in in_order(new)])


def add_at_end(body: str, text_settings: TextSettings, texts: Iterable[str]) -> str:
    """Return the body with rendered blocks after everything else."""
    syntax = syntax_of(text_settings)
    end = syntax.append_position(body)
    text = syntax.separator_after(body[:end]) + syntax.separator.join(texts)
    return body[:end] + syntax.adapt(text, body, "") + body[end:]


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries, oldest first."""
    return sorted(entries, key=order_of)


def order_of(entry: Entry) -> Order:
    """Return an entry's sort key."""
    return (entry.sent_at, len(entry.id or ""), entry.id or "")


def order_of_known(known: KnownEntry) -> Order:
    """Return the sort key of a text that was logged earlier; a status line's is that of its message."""
    id_ = known[2].removesuffix(LINE_MARK) if len(known) > 2 else ""  # noqa: PLR2004 - time, hash, id
    return (known[0], len(id_), id_)


def _missing(
    new: Sequence[Entry],
    known: Sequence[KnownEntry],
    in_body: Mapping[bytes, int],
    before: Mapping[bytes, int] | None,
) -> list[Entry]:
    """Return the new entries that are not in the body yet, oldest first."""
    stood = Counter([each[1] for each in known]) if before is None else before
    alike: dict[bytes, list[Entry]] = defaultdict(list)
    for entry in in_order(new):
        alike[entry.hash].append(entry)
    missing = []
    for digest, entries in alike.items():
        lacking = stood.get(digest, 0) + len(entries) - in_body.get(digest, 0)
        missing.extend(entries[len(entries) - max(0, min(len(entries), lacking)) :])
    return in_order(missing)


def blocks_with_order(
    found: Sequence[FoundBlock], new: Sequence[Entry], known: Sequence[KnownEntry]
) -> list[tuple[Order, FoundBlock]]:
    """Return each of our blocks in the body with its sort key. Equal blocks take theirs one after the other."""
    orders: dict[bytes, list[Order]] = defaultdict(list)
    for each in known:
        orders[each[1]].append(order_of_known(each))
    for alike in orders.values():
        if len(alike) > 1:
            alike.sort()
    for entry in in_order(new):
        orders[entry.hash].append(order_of(entry))
    counts = Counter([block.hash for block in found])
    queues = {digest: orders[digest][count - 1 :: -1] for digest, count in counts.items()}
    return [(queue.pop() if len(queue := queues[block.hash]) > 1 else queue[0], block) for block in found]


def insertions(
    body: str,
    text_settings: TextSettings,
    missing: Sequence[Entry],
    placed: Sequence[tuple[Order, FoundBlock]],
) -> list[Edit]:
    """Return an insertion for each entry: after our last block that is not younger, or before our first."""
    syntax = syntax_of(text_settings)
    # From the back, the least sort key so far: an entry may follow no block after it. It never falls.
    least = list(accumulate((order for order, _ in reversed(placed)), min))[::-1]
    after: dict[int, list[Entry]] = defaultdict(list)
    for entry in missing:
        after[bisect_right(least, order_of(entry)) - 1].append(entry)
    edits = []
    for index, entries in after.items():
        block = placed[max(index, 0)][1]
        text = syntax.separator.join([entry.text for entry in entries])
        if index < 0:
            edits.append(
                Edit(block.start, block.start, syntax.adapt(text + syntax.separator, body, block.tag))
            )
        else:
            edits.append(Edit(block.end, block.end, syntax.adapt(syntax.separator + text, body, block.tag)))
    return edits


def apply_edits(body: str, edits: Iterable[Edit]) -> str:
    """Return the body with every edit made; edits do not overlap."""
    pieces = []
    position = 0
    for edit in sorted(edits):
        pieces += [body[position : edit.start], edit.text]
        position = edit.end
    return "".join([*pieces, body[position:]])
