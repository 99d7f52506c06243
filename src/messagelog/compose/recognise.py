"""Finding our own blocks again in a body that a CRM has stored and people have edited."""

import hmac
from collections import Counter
from collections.abc import Collection, Iterator
from typing import NamedTuple

from messagelog.compose.blocks import Block, Candidate, Syntax
from messagelog.compose.clean import normalise
from messagelog.compose.html import Html
from messagelog.compose.markdown import Markdown
from messagelog.compose.model import Entry, LogFormat, Pins
from messagelog.compose.plain import Plain

HASH_BYTES = 16

_SYNTAXES: dict[LogFormat, Syntax] = {
    LogFormat.PLAIN: Plain(),
    LogFormat.HTML: Html(),
    LogFormat.MARKDOWN: Markdown(),
}


class Found(NamedTuple):
    """A block of ours in a body: from `start` to before `end`, in the element `tag` (HTML)."""

    start: int
    end: int
    hash: bytes
    tag: str


def syntax_of(pins: Pins) -> Syntax:
    """How the pinned format is written and read. ValueError for `custom`: its connector writes the text."""
    try:
        return _SYNTAXES[pins.format]
    except KeyError:
        raise ValueError("a custom log format has no text of ours: its connector composes") from None


def entry_of(block: Block, pins: Pins, key: bytes) -> Entry:
    """The block, written out and with the hash by which it is found again."""
    syntax = syntax_of(pins)
    text = syntax.render(block)
    *_, (_, digest) = _digests(next(iter(syntax.scan(text))), key)
    return Entry(hash=digest, sent_at=block.sent_at, text=text, id=block.id)


def find(body: str, pins: Pins, hashes: Collection[bytes], key: bytes) -> list[Found]:
    """Every block with one of the hashes, in the order of the body, as far down as it fits."""
    found = []
    for candidate in syntax_of(pins).scan(body):
        fits = [(end, digest) for end, digest in _digests(candidate, key) if digest in hashes]
        if fits:
            found.append(Found(candidate.start, *fits[-1], candidate.tag))
    return sorted(found)


def count_entries(body: str, pins: Pins, hashes: Collection[bytes], key: bytes) -> dict[bytes, int]:
    """How often each of the hashes stands in the body; those that do not are missing."""
    return dict(Counter(block.hash for block in find(body, pins, frozenset(hashes), key)))


def _digests(candidate: Candidate, key: bytes) -> Iterator[tuple[int, bytes]]:
    """Each possible end with the hash of the normalised text up to it: HMAC-SHA256, its first 16 bytes."""
    mac = hmac.new(key, digestmod="sha256")
    space = b""
    for end, visible in candidate.ends:
        piece = normalise(visible)
        if piece:
            mac.update(space + piece.encode("utf-8", "surrogatepass"))
            space = b" "
            yield end, mac.copy().digest()[:HASH_BYTES]
