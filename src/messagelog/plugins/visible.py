"""The visible text of a message in the CRM, and the place of each of its characters in the text itself. Pure.

A rule that searches the text as it was written would miss numbers that a person reads in it: between their digits may
be characters that `compose` leaves out, that no font shows, or that decorate the digit before them. So a rule searches
the visible text, and masks the same place in the text itself.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from messagelog.compose.clean import DROPPED, NEW_LINES, PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MASK: Final = "\N{BULLET}"
"""The mask of a digit. Nothing changes it, so that masked text is recognised."""

BLANK: Final = " "
NEW_LINE: Final = "\n"
DASH: Final = "-"
DOT: Final = "."
SLASH: Final = "/"
UNDERSCORE: Final = "_"
BRACKET: Final = "("
SIGN: Final = ":"
"""The form in `as_number` of each character that may separate the digits of one number."""

_IGNORABLE: Final = re.compile(
    # Unicode's Default_Ignorable_Code_Point, which `unicodedata` does not know. No font shows them.
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_DECORATING: Final = frozenset({"Mn", "Me", "Mc", "Cf"})
_BLANKS: Final = frozenset(
    "\t\u2800"
)  # besides the characters that Unicode calls spaces; Braille's blank looks like one
_DASHES: Final = frozenset(
    "\u02d7\u2043\u207b\u208b\u2212\u2500\u2501\u2796"
    "\u30fc\uff70"  # the mark of a long vowel on Japanese keyboards, which looks like a dash
)
_DOTS: Final = frozenset(
    ".\u00b7\u0387\u06d4\u2024\u2027\u2219\u22c5\u2e31\u2e33\u3002\u30fb\ufe52\uff0e\uff61\uff65"
)
_SLASHES: Final = frozenset("/\\|\u00a6\u2044\u2215\u29f8\u29f9\ufe68\uff0f\uff3c\uff5c")
_COMMA: Final = ","
_OF_LISTS: Final = frozenset(",;+&#@%\u060c\u061b\u066c\u3001")
"""The separators of several numbers, or marks in front of each."""

_KINDS: Final = {
    "Zs": BLANK,
    "Pd": DASH,
    "Pc": UNDERSCORE,
    **dict.fromkeys(("Ps", "Pe", "Pi", "Pf"), BRACKET),
}
_NUMBER_IN_A_SHAPE: Final = re.compile(r"\(?([0-9]+)[.,)]?", re.ASCII)
_ASCII_DIGIT: Final = re.compile(r"[0-9]")
_MOST_DIGITS: Final = 2  # of one character
_MOST_REMEMBERED: Final = 8192  # characters


class Visible(NamedTuple):
    """The visible text: `text[n]` was made of the characters from `starts[n]` to before `ends[n]`."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Return the place in the text itself of the visible characters from `start` to before `end`."""
        return self.starts[start], self.ends[end - 1]


def may_have(digits: int, text: str) -> bool:
    """Return whether a text may show so many digits: a quick check, since nearly every message has fewer."""
    if text.isascii():
        return len(_ASCII_DIGIT.findall(text)) >= digits
    return _MOST_DIGITS * sum(map(str.isnumeric, text)) >= digits


def as_number(text: str, *, in_line: bool = False) -> Visible:
    """Return the visible text in the form in which numbers are searched.

    Digits of every script and shape are ASCII digits, each kind of separator is one character, and a row of blanks is
    one. Invisible characters and marks are left out. Letters and other signs stay. `in_line`: the text is shown in one
    line, with its line ends as blanks. Usual digits and those in another shape, such as a raised one after a number,
    are not one number: a comma is put between them.
    """
    seen = _to_visible(text, _as_number, in_line=in_line)
    shaped = [char.isnumeric() and not char.isdecimal() for char in text]
    return _separate_shapes(seen, shaped) if any(shaped) else seen


def as_written(text: str, *, in_line: bool = False) -> Visible:
    """Return the visible text, its characters composed with their marks (NFC)."""
    return _compose_nfc(_to_visible(text, _as_written, in_line=in_line, one_blank=False))


def as_read(text: str, *, in_line: bool = False) -> Visible:
    """Return the visible text in plain characters: the usual letters, digits, blanks and dashes for all kinds of them.

    Accents stay. Marks that are not part of a letter, such as a line below or through it, are left out.
    """
    seen = _compose_nfc(_to_visible(text, _as_read, in_line=in_line))
    kept = [at for at, char in enumerate(seen.text) if not _is_mark(char)]
    if len(kept) == len(seen.text):
        return seen
    text = "".join([seen.text[at] for at in kept])
    return Visible(text, [seen.starts[at] for at in kept], [seen.ends[at] for at in kept])


def overwrite(text: str, replacements: Iterable[tuple[tuple[int, int], str]]) -> str:
    """Return the text with some places replaced; they are in order and do not overlap."""
    pieces, at = [], 0
    for (start, end), words in replacements:
        pieces += [text[at:start], words]
        at = end
    return "".join([*pieces, text[at:]])


def _to_visible(text: str, of: Callable[[str], str], *, in_line: bool, one_blank: bool = True) -> Visible:
    seen: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    before = ""
    for at, char in enumerate(text):
        visible = of(char)
        if visible == NEW_LINE and in_line:
            visible = BLANK
        # A row of blanks is one blank on a page, and CR LF is one line end.
        if (one_blank and visible == BLANK == before) or (char == "\n" and text[at - 1 : at] == "\r"):
            continue
        for each in visible:
            seen.append(each)
            starts.append(at)
            ends.append(at + 1)
        before = visible or before
    return Visible("".join(seen), starts, ends)


def _separate_shapes(seen: Visible, shaped: Sequence[bool]) -> Visible:
    """Return the same with a comma before each digit whose shape differs from that of the digit before it."""
    text: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    before = None
    for char, start, end in zip(*seen, strict=True):
        if char.isdecimal():
            if before not in {None, shaped[start]}:
                text.append(_COMMA)
                starts.append(start)
                ends.append(start)
            before = shaped[start]
        text.append(char)
        starts.append(start)
        ends.append(end)
    return Visible("".join(text), starts, ends)


def _compose_nfc(seen: Visible) -> Visible:
    """Return the same with each character and its marks as one character, if there is one."""
    if unicodedata.is_normalized("NFC", seen.text):
        return seen
    text: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    begins = [at for at, char in enumerate(seen.text) if at == 0 or not unicodedata.combining(char)]
    for begin, behind in itertools.pairwise([*begins, len(seen.text)]):
        whole = unicodedata.normalize("NFC", seen.text[begin:behind])
        text.append(whole)
        starts += [seen.starts[begin]] * len(whole)
        ends += [seen.ends[behind - 1]] * len(whole)
    return Visible("".join(text), starts, ends)


@lru_cache(_MOST_REMEMBERED)
def _as_number(char: str) -> str:
    if _is_unseen(char) or _is_mark(char):
        return ""
    common = char if char == MASK else _common(char)
    if common is not None:
        return common
    for kind, chars in ((DASH, _DASHES), (DOT, _DOTS), (SLASH, _SLASHES)):
        if char in chars:
            return kind
    category = unicodedata.category(char)
    if category in _KINDS:
        return _KINDS[category]
    plain = unicodedata.normalize("NFKC", char)
    if category[0] in "LN" or category == "Sc":
        return plain if len(plain) == 1 else char
    return plain if plain in _OF_LISTS else SIGN


@lru_cache(_MOST_REMEMBERED)
def _as_written(char: str) -> str:
    if _is_unseen(char):
        return ""
    return NEW_LINE if NEW_LINES.match(char) else _whole(char)


@lru_cache(_MOST_REMEMBERED)
def _as_read(char: str) -> str:
    if _is_unseen(char):
        return ""
    common = _common(char)
    if common is not None:
        return common
    if unicodedata.category(char) == "Pd" or char in _DASHES:
        return DASH
    return unicodedata.normalize("NFKC", _whole(char))


def _common(char: str) -> str | None:
    """Return the plain form of a line end, blank or digit; None for other characters."""
    if NEW_LINES.match(char):
        return NEW_LINE
    if char in _BLANKS or unicodedata.category(char) == "Zs":
        return BLANK
    return _digits(char)


def _digits(char: str) -> str | None:
    """Return the digits of a character: 4 for a four in any script, raised or in a circle, 11 for an eleven in one."""
    digit = unicodedata.digit(char, None)
    if digit is not None:
        return str(digit)
    shown = _NUMBER_IN_A_SHAPE.fullmatch(unicodedata.normalize("NFKC", char))
    return shown[1] if shown else None


def _is_unseen(char: str) -> bool:
    """Return whether a character is invisible: `compose` leaves it out, or no font shows it."""
    if char == PLACEHOLDER:
        return True
    return not NEW_LINES.match(char) and bool(DROPPED.match(char) or _IGNORABLE.match(char))


def _is_mark(char: str) -> bool:
    return unicodedata.category(char) in _DECORATING


def _whole(char: str) -> str:
    """Replace half of an emoji by the character that is shown for it."""
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) == "Cs" else char
