"""The corpus: lines that must be masked, with marks around what, and lines that must stay as they are."""

from __future__ import annotations

import re
from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "plugins" / "corpus"
_MARKED = re.compile(r"\[\[(.+?)\]\]")


def lines(name: str) -> list[str]:
    """The lines of a file of the corpus; those with `#` and a blank in front are headings."""
    text = (_FOLDER / f"{name}.txt").read_text("utf-8")
    return [line for line in text.split("\n") if line and not line.startswith("# ")]


def strip_marks(line: str) -> str:
    return _MARKED.sub(lambda match: match[1], line)


def with_cards_masked(line: str) -> str:
    """The line as it is to be: digits between marks are bullets, but for the last four."""

    def mask(match: re.Match[str]) -> str:
        digits = [char for char in match[1] if char.isdecimal()]
        return "•" * (len(digits) - 4) + "".join(digits[-4:])

    return _MARKED.sub(mask, line)


def with_social_security_masked(line: str) -> str:
    return _MARKED.sub("XXX-XX-XXXX", line)
