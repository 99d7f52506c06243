"""Shorten an entry that alone is too long for a CRM: its text is cut, and a note says so."""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from messagelog.compose.blocks import Block, Link
from messagelog.compose.detect import syntax_of
from messagelog.compose.model import TextSettings
from messagelog.compose.wording import words_of

_JOINER = "\u200d"
_EXTENDING = frozenset({"Mn", "Me", "Mc"})  # accents, variation selectors, vowel signs
_SKIN_TONES = ("\U0001f3fb", "\U0001f3ff")
_FLAG_LETTERS = ("\U0001f1e6", "\U0001f1ff")


def shorten(block: Block, text_settings: TextSettings, room: int, facts: Sequence[str | Link] = ()) -> Block:
    """Return the block, cut so that its rendered text is within `room`, as the pinned measure counts.

    Links are kept as long as any text can be cut instead. A last line says how much is left out. `facts` are lines
    after everything else that are never cut, so the block may still be too long.
    """
    whole_block = block._replace(lines=[*block.lines, *facts])
    if size_of(whole_block, text_settings) <= room:
        return whole_block

    def cut(characters: int, links: int) -> Block:
        lines = list(_cut_lines(block, characters, links))
        left_out = sum(map(_length, block.lines)) - sum(map(_length, lines))
        return block._replace(lines=[*lines, words_of(text_settings).truncation_note(left_out), *facts])

    length = sum(len(line) for line in block.lines if isinstance(line, str))
    links = sum(isinstance(line, Link) for line in block.lines)
    kept = bisect_right(range(length), room, key=lambda n: size_of(cut(n, links), text_settings)) - 1
    if kept >= 0:
        return cut(kept, links)
    kept = bisect_right(range(links), room, key=lambda n: size_of(cut(0, n), text_settings)) - 1
    return cut(0, max(kept, 0))


def size_of(block: Block, text_settings: TextSettings) -> int:
    """Return how much of the limit the rendered block takes."""
    return text_settings.measure.of(syntax_of(text_settings).render(block))


def _length(line: str | Link) -> int:
    return len(line.label if isinstance(line, Link) else line)


def _cut_lines(block: Block, characters: int, links: int) -> Iterator[str | Link]:
    """Yield the first characters of the text and the first links, in their places."""
    for line in block.lines:
        if isinstance(line, Link):
            if links:
                links -= 1
                yield line
        elif characters > 0:
            characters -= len(line)
            yield line if characters >= 0 else line[: whole(line, len(line) + characters)].rstrip()


def whole(text: str, end: int) -> int:
    """Return the last place up to `end` where a text can be cut without cutting a visible character."""
    while 0 < end < len(text) and _is_inside(text, end):
        end -= 1
    return end


def _is_inside(text: str, end: int) -> bool:
    before, after = text[end - 1], text[end]
    if _JOINER in {before, after} or _SKIN_TONES[0] <= after <= _SKIN_TONES[1]:
        return True
    if _is_flag_letter(after) and _is_flag_letter(before):
        start = end
        while start and _is_flag_letter(text[start - 1]):
            start -= 1
        return (end - start) % 2 == 1
    return unicodedata.category(after) in _EXTENDING


def _is_flag_letter(char: str) -> bool:
    return _FLAG_LETTERS[0] <= char <= _FLAG_LETTERS[1]
