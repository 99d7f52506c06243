"""Text of strangers, made harmless: it can be stored, encoded and laid out, and says the same."""

import re
import unicodedata

LONGEST_NAME = 120
"""Characters of a name, a file name or a status: more is not a name, and would bury the message."""

_NEW_LINES = re.compile(r"\r\n?|[\n\v\f\x1c-\x1e\x85\u2028\u2029]")

# Direction overrides, embeddings and isolates can reorder what stands around them; the plain marks cannot.
_BIDI = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_NOT_CHARACTERS = [
    *range(0xFDD0, 0xFDF0),
    *(plane + low for plane in range(0, 0x110000, 0x10000) for low in (0xFFFE, 0xFFFF)),
]
_INVISIBLE = [0x200B, 0x2060, 0xFEFF, *range(0xFFF9, 0xFFFC)]
_CONTROLS = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"]

_DROPPED: dict[int, None] = dict.fromkeys([*_CONTROLS, *_BIDI, *_NOT_CHARACTERS, *_INVISIBLE])


def clean(text: str) -> str:
    """Text of one or more lines, separated by line feeds only, without trailing white space.

    Half emoji become U+FFFD; control characters, direction overrides and zero-width blanks are left out.
    """
    if text.isascii() and text.isprintable():
        return text.rstrip()
    text = _NEW_LINES.sub("\n", _whole_characters(text)).translate(_DROPPED)
    return "\n".join(line.rstrip() for line in text.split("\n")).strip("\n").rstrip()


def clean_line(text: str | None, longest: int = LONGEST_NAME) -> str:
    """Text for one line, such as a name: every run of white space is one space."""
    if not text:
        return ""
    line = " ".join(clean(text[: longest * 8]).split())
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"


def normalise(visible: str) -> str:
    """The same text however a CRM has stored it: composed characters, single spaces, no zero-width blanks."""
    return " ".join(unicodedata.normalize("NFC", visible.translate(_BLANKS)).split())


_BLANKS: dict[int, None] = dict.fromkeys([0x200B, 0x2060, 0xFEFF])


def _whole_characters(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # Two halves beside each other are one character; a half alone is none.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
