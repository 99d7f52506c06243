"""Clean text from outside: it can be stored, encoded and laid out, and says the same."""

import re
import unicodedata

LONGEST_NAME = 120
"""The most characters of a name, a file name or a status: more is not a name, and would hide the message."""

NEW_LINES = re.compile(r"\r\n?|[\n\v\f\x1c-\x1e\x85\u2028\u2029]")
"""Every kind of line end."""

DROPPED = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, but for tab and line feed
    "\u202a-\u202e\u2066-\u2069"  # overrides, embeddings and isolates reorder the text around them
    "\u200b\u2060\ufeff\ufff9-\ufffb"  # invisible characters
    "\ufdd0-\ufdef"
    + "".join(chr(plane + 0xFFFE) + chr(plane + 0xFFFF) for plane in range(0, 0x110000, 0x10000))
    + "]"
)
"""The characters that are left out of every text. A search in a text must ignore them."""

PLACEHOLDER = "\ufffc"
"""The character in place of a picture, which is an attachment. It is left out of texts."""

_BLANKS = ("\u200b", "\u2060", "\ufeff")


def clean(text: str) -> str:
    """Return text of one or more lines, separated by line feeds only, without trailing white space.

    Half emoji become U+FFFD; control characters, direction overrides and zero-width blanks are left out.
    """
    if text.isprintable():
        return text.rstrip()
    lines = text.split("\n")
    if not all(map(str.isprintable, lines)):
        lines = DROPPED.sub("", NEW_LINES.sub("\n", _whole_characters(text))).split("\n")
    return "\n".join([line.rstrip() for line in lines]).strip("\n").rstrip()


def clean_line(text: str | None, longest: int = LONGEST_NAME) -> str:
    """Return text for one line, such as a name: every run of white space is one space."""
    if not text:
        return ""
    line = " ".join(clean(text[: longest * 8]).split())
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"


def normalise(visible: str) -> str:
    """Return the same text for every way to store it: composed characters, single spaces, no zero-width blanks."""
    if not visible.isascii():
        for blank in _BLANKS:
            visible = visible.replace(blank, "")
        visible = unicodedata.normalize("NFC", visible)
    return " ".join(visible.split())


def _whole_characters(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # Two halves beside each other are one character; one half alone is not a character.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
