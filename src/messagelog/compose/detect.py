"""Find our own blocks in a body that a CRM has stored and people have edited."""

import hmac
import re
from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from messagelog.compose.blocks import Block, Candidate, Syntax
from messagelog.compose.clean import normalise
from messagelog.compose.html import Html
from messagelog.compose.markdown import Markdown
from messagelog.compose.model import Entry, LogFormat, TextSettings
from messagelog.compose.plain import Plain

HASH_BYTES = 16

# If a CRM wraps lines, or makes a paragraph of each, one entry is several parts that look like blocks.
_LIKE_A_TIME = re.compile(r"\W*\d{1,4}\b")
_MOST_PIECES = 60
_MOST_ATTEMPTS = 100

Mac = hmac.HMAC | blake2b

_SYNTAXES: dict[LogFormat, Syntax] = {
    LogFormat.PLAIN: Plain(),
    LogFormat.HTML: Html(),
    LogFormat.MARKDOWN: Markdown(),
}


class FoundBlock(NamedTuple):
    """One of our blocks in a body: from `start` to before `end`, in the element `tag` (HTML)."""

    start: int
    end: int
    hash: bytes
    tag: str


def syntax_of(text_settings: TextSettings) -> Syntax:
    """Return the syntax of the pinned format. ValueError for `custom`: its connector writes the text."""
    try:
        return _SYNTAXES[text_settings.format]
    except KeyError:
        raise ValueError("a custom log format has no text of ours: its connector composes") from None


def entry_of(block: Block, text_settings: TextSettings, key: bytes) -> Entry:
    """Return the rendered block, with the hash by which it is found again."""
    syntax = syntax_of(text_settings)
    digest = _digest(normalise(syntax.visible_text(block)), _mac(text_settings.template, key))
    return Entry(digest, block.sent_at, syntax.render(block), block.id, block.kind)


def find(body: str, text_settings: TextSettings, hashes: Collection[bytes], key: bytes) -> list[FoundBlock]:
    """Return every block with one of the hashes, in the order of the body, each as long as possible."""
    found = _find(body, text_settings, hashes, key)
    ends = [*[block.start for block in found[1:]], len(body)][: len(found)]
    # An entry may begin with another entry's text, and continue in lines that a CRM has wrapped to the margin.
    for index, end in enumerate(ends):
        while body[found[index].end : end].strip():
            block = found[index]
            longer = _find(body[block.start : end], text_settings, frozenset(hashes) - {block.hash}, key)[:1]
            if not longer or longer[0].start or block.start + longer[0].end <= block.end:
                break
            found[index] = longer[0]._replace(start=block.start, end=block.start + longer[0].end)
    return found


def _find(body: str, text_settings: TextSettings, hashes: Collection[bytes], key: bytes) -> list[FoundBlock]:
    found: list[FoundBlock] = []
    empty = _mac(text_settings.template, key)
    candidates = list(syntax_of(text_settings).scan(body))
    attempts = _MOST_ATTEMPTS
    claimed = 0
    for index, candidate in enumerate(candidates):
        if candidate.start < claimed:
            continue
        block = _block_in(candidate, hashes, empty)
        if block is None and attempts and _LIKE_A_TIME.match(candidate.pieces[0]):
            attempts -= 1
            block = _block_across(candidates[index : index + _MOST_PIECES], hashes, empty)
        if block is not None:
            found.append(block)
            claimed = block.end
    return found


def _block_in(candidate: Candidate, hashes: Collection[bytes], empty: Mac) -> FoundBlock | None:
    """Return the block that a candidate is or begins with."""
    whole = _digest(normalise(" ".join(candidate.pieces)), empty)
    if whole in hashes:
        return FoundBlock(candidate.start, candidate.ends[-1], whole, candidate.tag)
    return _block_across([candidate], hashes, empty) if len(candidate.ends) > 1 else None


def _block_across(
    candidates: Sequence[Candidate], hashes: Collection[bytes], empty: Mac
) -> FoundBlock | None:
    """Return the longest block that begins at the first candidate, also if its lines have been wrapped."""
    mac = empty.copy()
    space = b""
    fits = None
    first = candidates[0]
    for candidate in candidates:
        for end, visible in zip(candidate.ends, candidate.pieces, strict=True):
            piece = normalise(visible)
            if piece:
                mac.update(space + piece.encode("utf-8", "surrogatepass"))
                space = b" "
                digest = mac.copy().digest()[:HASH_BYTES]
                if digest in hashes:
                    fits = FoundBlock(first.start, end, digest, first.tag)
    return fits


def count_entries(
    body: str,
    text_settings: TextSettings,
    hashes: Collection[bytes],
    key: bytes,
    others: Collection[bytes] = (),
) -> dict[bytes, int]:
    """Return how often each of the hashes is in the body, without those that are not.

    `others` are the hashes of other texts that may be there: one of them may begin with a text that is counted, and
    is not counted as that text.
    """
    found = Counter(block.hash for block in find(body, text_settings, frozenset({*hashes, *others}), key))
    return {digest: count for digest, count in found.items() if digest in hashes}


@lru_cache(maxsize=32)
def _mac(template: int, key: bytes) -> Mac:
    """Return a keyed hash with no input yet. Activities of the first template have a slower one."""
    return hmac.new(key, digestmod="sha256") if template == 1 else blake2b(key=key, digest_size=HASH_BYTES)


def _digest(text: str, empty: Mac) -> bytes:
    """Return the first 16 bytes of the keyed hash."""
    mac = empty.copy()
    mac.update(text.encode("utf-8", "surrogatepass"))
    return mac.digest()[:HASH_BYTES]
