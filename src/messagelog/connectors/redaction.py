"""Removes credentials from a CRM's answer, so that an operator may read it. Pure.

CRMs quote what they were sent in unforeseeable shapes. So three nets are laid over each other: the secrets that we
know, whole or in pieces; what follows a name such as `access_token`; and what looks like a token.
"""

from __future__ import annotations

import base64
import html
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST: Final = 2_000
"""How many characters of an answer are stored: enough for what a CRM says about an error."""

READ: Final = 8_000
"""How many of them are read: a CRM's page about an error may be megabytes long."""

REDACTED: Final = "[redacted]"

_PIECE: Final = 8  # this many characters of a secret in a row count as a piece of it
_SHORTEST: Final = 4  # anything shorter is no secret, and may be a part of any word

_NAMES: Final = (
    r"(?:token|secret|passw(?:or)?d|passwd|pwd|(?:api|access|private|auth)[_-]?key|credential|authori[sz]ation|"
    r"session|cookie|signature|assertion|jwt|\bauth\b|\bsid\b|\bsig\b)[\w-]{0,40}"
)
_VALUE: Final = (
    r"(?:\\\"(?:(?!\\\").)*(?:\\\"|$)|\"(?:[^\"\\]|\\.)*(?:\"|$)|'[^']*(?:'|$)|&quot;.*?(?:&quot;|$)"
    r"|[^\s,;&\"'<>})\]]+)"
)
_SCHEMES: Final = r"(?:Bearer|Basic|Digest|OAuth|Negotiate)"
_HEADER: Final = re.compile(
    r"\b((?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]{0,40}(?:key|token|secret|auth)[\w-]{0,40})(\s*[:=]\s*)[^\r\n<]+",
    re.IGNORECASE,
)
_AFTER_NAME: Final = re.compile(
    rf"({_NAMES}(?:\\?[\"']|&quot;|%22)?\s*(?:=>|[:=]|%3A|%3D)\s*)(?:{_SCHEMES}\s+)?{_VALUE}",
    re.IGNORECASE | re.DOTALL,
)
_IN_TAG: Final = re.compile(rf"(<(?:\w{{1,40}}:)?\w{{0,40}}{_NAMES}(?:\s[^>]*)?>)[^<]*", re.IGNORECASE)
_SCHEME: Final = re.compile(rf"\b({_SCHEMES}(?:\s+|%20|\+))[^\s\"'<>,;]+", re.IGNORECASE)
_JWT: Final = re.compile(r"eyJ[\w-]{5,}(?:\.[\w-]*)*")
_USER_IN_URL: Final = re.compile(r"(//)[^/\s@\"'<>]{1,400}@")
_LONG: Final = re.compile(r"[\w+/=~.!-]{32,}", re.ASCII)
_OPAQUE: Final = 28
"""Characters without a dot or a slash: longer than the ids of records, shorter than most tokens."""
_PARTS: Final = re.compile(r"[./]")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return what may be stored of an answer: at most `LONGEST` characters, without any credential.

    `secrets` are those that the call was made with.
    """
    cut = len(text) > READ
    text = text[:READ]
    text = _without_pieces(text, {part for secret in secrets for part in _parts(secret)}, cut=cut)
    text = _USER_IN_URL.sub(rf"\1{REDACTED}@", text)
    text = _HEADER.sub(rf"\1\2{REDACTED}", text)
    for pattern in (_IN_TAG, _AFTER_NAME, _SCHEME):
        text = pattern.sub(rf"\1{REDACTED}", text)
    text = _JWT.sub(REDACTED, text)
    text = _LONG.sub(lambda found: REDACTED if _is_opaque(found[0]) else found[0], text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _parts(secret: str) -> set[str]:
    """Return the parts of a secret between blanks, such as what follows `Bearer`, in the spellings of quotes."""
    parts = {part for part in secret.split() if len(part) >= _SHORTEST}
    for part in [*parts]:
        with suppress(ValueError):  # it is no `user:password` in Base64
            _, _, password = base64.b64decode(part, validate=True).decode().partition(":")
            if len(password) >= _SHORTEST:
                parts.add(password)
    return {spelled for part in parts for spelled in _spellings(part)}


def _spellings(part: str) -> set[str]:
    spelled = {part, quote(part, safe=""), quote_plus(part), html.escape(part)}
    spelled |= {
        json.dumps(part)[1:-1],
        part.replace("/", "\\/"),
        base64.b64encode(part.encode()).decode().rstrip("="),
    }
    return spelled


def _is_opaque(run: str) -> bool:
    """Return whether a long run of characters is a token rather than words, a path, or a record's id."""
    return any(
        len(part) >= _OPAQUE
        and any(map(str.isdigit, part))
        and any(map(str.isalpha, part))
        and _UUID.fullmatch(part) is None
        for part in _PARTS.split(run)
    )


def _without_pieces(text: str, secrets: Iterable[str], *, cut: bool) -> str:
    """Return the text without these secrets, in upper or lower case, and without longer pieces of them.

    The text is read once for each size of pieces, however many secrets there are: a form has room for many.
    """
    folded = _fold(text)
    covered = bytearray(len(text))
    secrets = [*map(_fold, secrets)]
    pieces: dict[int, set[str]] = {}
    for secret in secrets:
        size = min(len(secret), _PIECE)
        pieces.setdefault(size, set()).update(secret[at : at + size] for at in range(len(secret) - size + 1))
    for size, found in pieces.items():
        for at in range(len(folded) - size + 1):
            if folded[at : at + size] in found:
                covered[at : at + size] = b"\x01" * size
    for secret in secrets if cut else ():  # one may have been cut in two
        size = min(len(secret), _PIECE)
        ends = next((n for n in range(size - 1, 0, -1) if folded.endswith(secret[:n])), 0)
        covered[len(text) - ends :] = b"\x01" * ends
    parts = re.finditer(rb"\x01+|\x00+", covered)
    return "".join(REDACTED if covered[part.start()] else text[part.start() : part.end()] for part in parts)


def _fold(text: str) -> str:
    """Return lower case of the same length."""
    return "".join(low if len(low := character.lower()) == 1 else character for character in text)
