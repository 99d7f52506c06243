"""Canaries: secrets and texts that can be recognised in every place, in every spelling.

Those that a test may choose have one stem in them that nothing else has. A place is searched for the stem in every
spelling, and the text around it tells the canary. Values that others choose (tokens, states, numbers) are `learned`,
and searched for one by one.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_REACH: Final = 200


@dataclass(frozen=True)
class Canaries:
    """The canaries of one test, by name. Their stem is of this test alone, so that old bytes of others are no leak.

    Each has its name on both sides of the stem, since a database may put a page's head into the middle of one.
    """

    stem: str = field(default_factory=lambda: f"cnry{uuid4().hex[:12]}")
    known: set[str] = field(default_factory=set)
    learned: dict[str, set[str]] = field(default_factory=dict)

    def learn(self, name: str, value: str) -> str:
        """Record a value that another program has chosen for a canary of this name."""
        assert value, name
        self.learned.setdefault(name, set()).add(value)
        return value

    def __getitem__(self, name: str) -> str:
        self.known.add(name)
        return f"{name}-{self.stem}-{name}-end"

    def find_in(self, place: bytes) -> set[str]:
        """Return the names of the canaries in a place, with the spelling: `api_key (hex)`. A torn one is `a part`."""
        found = set()
        for text in (place, _unwrap(place)):
            for spelling, stem in _spellings(self.stem):
                for at in _all_of(stem, text):
                    around = text[max(0, at - _REACH) : at + len(stem) + _REACH]
                    found |= {f"{name} ({spelling})" for name in self._names(around, spelling)}
            found |= {
                f"{name} ({spelling})"
                for name, values in self.learned.items()
                for value in values
                for spelling, spelt in _spellings(value)
                if spelt in text
            }
        return found

    def _names(self, around: bytes, spelling: str) -> set[str]:
        """Return the canaries around a stem: its own, and others that are found there too."""
        plain = _READERS[spelling](around)
        seen = {
            name
            for name in self.known
            if f"{self.stem}-{name}-end" in plain or re.search(rf"(?<![a-z_]){name}-{self.stem}", plain)
        }
        return seen or {"a part"}


def names(found: set[str]) -> set[str]:
    """Return the canaries that were found, without their spellings."""
    return {each.partition(" (")[0] for each in found}


def all_spellings(text: str) -> dict[str, bytes]:
    """Return a text in every spelling that is searched for."""
    return {
        "raw": text.encode(),
        "json": json.dumps(text).replace("-", "\\u002d").encode(),
        "url": quote(text, safe="").replace("-", "%2D").encode(),
        "base64": base64.b64encode(text.encode()),
        "base64 +1": base64.b64encode(b"." + text.encode()),
        "base64 +2": base64.b64encode(b".." + text.encode()),
        "base64url": base64.urlsafe_b64encode(text.encode()).rstrip(b"="),
        "hex": text.encode().hex().encode(),
        "HEX": text.encode().hex().upper().encode(),
        "UTF-16LE": text.encode("utf-16-le"),
        "UTF-16BE": text.encode("utf-16-be"),
        "wrapped": "\n".join(text).encode(),
        "wrapped in json": "\\n".join(text).encode(),
    }


def _all_of(stem: bytes, text: bytes) -> Iterator[int]:
    """Yield the places where a stem begins."""
    at = text.find(stem)
    while at >= 0:
        yield at
        at = text.find(stem, at + len(stem))


@cache
def _spellings(stem: str) -> list[tuple[str, bytes]]:
    """Return the beginning of the stem in each spelling; for base64, only the characters that depend on it alone."""
    raw = stem.encode()
    return [
        ("raw", raw),
        *((f"base64 {shift}", _base64_core(raw, shift)) for shift in range(3)),
        ("hex", raw.hex().encode()),
        ("hex", raw.hex().upper().encode()),
        ("UTF-16LE", stem.encode("utf-16-le")),
        ("UTF-16BE", stem.encode("utf-16-be")),
    ]


def _base64_core(raw: bytes, shift: int) -> bytes:
    whole = base64.b64encode(b"." * shift + raw)
    first = (0, 2, 3)[shift]
    return whole[first : (shift + len(raw)) * 8 // 6]


def _unwrap(place: bytes) -> bytes:
    """Return lines without their wrapping, in plain text and in JSON."""
    return place.translate(None, b"\r\n\t ").replace(b"\\n", b"").replace(b"\\r", b"")


def _plain(around: bytes) -> str:
    text = around.decode("latin-1").replace("%2D", "-").replace("%2d", "-").replace("\\u002d", "-")
    return text.replace("%20", " ").replace("+", " ")


def _from_base64(around: bytes) -> str:
    letters = re.sub(rb"[^A-Za-z0-9+/_-]", b" ", around).replace(b"-", b"+").replace(b"_", b"/")
    texts = []
    for word in letters.split(b" "):
        for cut in range(4):
            part = word[cut:]
            whole = part[:-1] if len(part) % 4 == 1 else part
            texts.append(base64.b64decode(whole + b"=" * (-len(whole) % 4)).decode("latin-1"))
    return " ".join(texts)


def _from_hex(around: bytes) -> str:
    words = re.findall(rb"[0-9a-fA-F]{2,}", around)
    pairs = (word[cut : len(word) - (len(word) - cut) % 2] for word in words for cut in (0, 1))
    return " ".join(bytes.fromhex(pair.decode()).decode("latin-1") for pair in pairs)


_READERS: Final[dict[str, Callable[[bytes], str]]] = {
    "raw": _plain,
    "base64 0": _from_base64,
    "base64 1": _from_base64,
    "base64 2": _from_base64,
    "hex": _from_hex,
    "UTF-16LE": lambda around: _plain(around.replace(b"\0", b"")),
    "UTF-16BE": lambda around: _plain(around.replace(b"\0", b"")),
}
