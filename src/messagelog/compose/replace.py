"""The body of a shared thread: our part is replaced as a whole, people's own text stays."""

import re
from collections.abc import Collection, Sequence

from messagelog.compose.amend import add_at_end
from messagelog.compose.detect import FoundBlock, find, syntax_of
from messagelog.compose.model import Entry, TextSettings

_EMPTY_LINE = re.compile(r"(?:\r\n|\r|\n){1,2}")


def replace_thread(
    body: str, text_settings: TextSettings, blocks: Sequence[Entry], ours: Collection[bytes], key: bytes
) -> str:
    """Return the body with all our blocks replaced by the new ones, at the place of our first block.

    `ours` are the hashes of the blocks that were sent earlier. A second call changes nothing.
    """
    found = find(body, text_settings, {*ours, *(block.hash for block in blocks)}, key)
    if not found:
        return add_at_end(body, text_settings, [block.text for block in blocks])
    syntax = syntax_of(text_settings)
    text = syntax.adapt(syntax.separator.join(block.text for block in blocks), body, found[0].tag)
    (start, end), *others = _runs(body, found)
    for other_start, other_end in reversed(others):
        # The empty line that we had put after it goes too.
        empty = _EMPTY_LINE.match(body, other_end) if body[:other_start].endswith(("\n", "\r")) else None
        body = body[:other_start] + body[empty.end() if empty else other_end :]
    return body[:start] + text + body[end:]


def append_thread_text(text_settings: TextSettings, blocks: Sequence[Entry]) -> str:
    """Return only these blocks, in their order, for append-only CRMs."""
    return syntax_of(text_settings).separator.join(block.text for block in blocks)


def _runs(body: str, found: Sequence[FoundBlock]) -> list[tuple[int, int]]:
    """Return the places of our blocks; those with only white space between them are one."""
    runs: list[tuple[int, int]] = []
    for block in found:
        if runs and not body[runs[-1][1] : block.start].strip():
            runs[-1] = (runs[-1][0], block.end)
        else:
            runs.append((block.start, block.end))
    return runs
