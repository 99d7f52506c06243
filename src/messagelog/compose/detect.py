"""Finding our own blocks again in a body that a CRM has stored and people have edited."""

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

# A CRM that wraps lines, or makes a paragraph of each, leaves an entry in several places that look like blocks.
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
    """A block of ours in a body: from `start` to before `end`, in the element `tag` (HTML)."""

    start: int
    end: int
    hash: bytes
    tag: str


def syntax_of(text_settings: TextSettings) -> Syntax:
    """How the pinned format is written and read. ValueError for `custom`: its connector writes the text."""
    try:
        return _SYNTAXES[text_settings.format]
    except KeyError:
        raise ValueError("a custom log format has no text of ours: its connector composes") from None


def entry_of(block: Block, text_settings: TextSettings, key: bytes) -> Entry:
    """The block, written out and with the hash by which it is found again."""
    syntax = syntax_of(text_settings)
    digest = _digest(normalise(syntax.visible_text(block)), _mac(text_settings.template, key))
    return Entry(digest, block.sent_at, syntax.render(block), block.id, block.kind)


def find(body: str, text_settings: TextSettings, hashes: Collection[bytes], key: bytes) -> list[FoundBlock]:
    """Every block with one of the hashes, in the order of the body, as far down as it fits."""
    found = _find(body, text_settings, hashes, key)
    ends = [*[block.start for block in found[1:]], len(body)][: len(found)]
    # An entry may begin with the very text of another, and go on in lines that a CRM has wrapped to the margin.
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
    """The block that a candidate is or begins with."""
    whole = _digest(normalise(" ".join(candidate.pieces)), empty)
    if whole in hashes:
        return FoundBlock(candidate.start, candidate.ends[-1], whole, candidate.tag)
    return _block_across([candidate], hashes, empty) if len(candidate.ends) > 1 else None


def _block_across(
    candidates: Sequence[Candidate], hashes: Collection[bytes], empty: Mac
) -> FoundBlock | None:
    """The longest block that begins where the first candidate does, however its lines were wrapped since."""
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
    """How often each of the hashes stands in the body; those that do not are missing.

    `others` are the hashes of what else may be there: one of those may begin with the very text of one that is
    looked for, and has to be told from it.
    """
    found = Counter(block.hash for block in find(body, text_settings, frozenset({*hashes, *others}), key))
    return {digest: count for digest, count in found.items() if digest in hashes}


@lru_cache(maxsize=32)
def _mac(template: int, key: bytes) -> Mac:
    """A keyed hash with nothing in it yet. Activities of the first template were written with a slower one."""
    return hmac.new(key, digestmod="sha256") if template == 1 else blake2b(key=key, digest_size=HASH_BYTES)


def _digest(text: str, empty: Mac) -> bytes:
    """The first 16 bytes of the keyed hash."""
    mac = empty.copy()
    mac.update(text.encode("utf-8", "surrogatepass"))
    return mac.digest()[:HASH_BYTES]
