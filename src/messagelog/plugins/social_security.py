"""Social-security numbers of the United States in a text: found and masked. Pure.

Written with separators (`123-45-6789`) such a number is known by itself; nine bare digits only beside a word for it.
"""

from __future__ import annotations

import re
from typing import Final

from messagelog.plugins.cards import GAP, MASK

MASKED: Final = "XXX-XX-XXXX"
"""All of it: its last four digits are what banks ask for."""

# No area 000, 666 or 9xx was ever given out, nor a group 00, nor a serial 0000.
_AREA: Final = r"(?!000|666|9)\d{3}"
_GROUP: Final = r"(?!00)\d{2}"
_SERIAL: Final = r"(?!0000)\d{4}"

_DIGIT: Final = rf"[\d{MASK}]"
_BLANK: Final = " \u00a0\u2009\u202f"
_DASH: Final = "\\-\u2010-\u2015\u2212"

_WRITTEN: Final = re.compile(
    rf"(?<![\w+{MASK}])(?<!{_DIGIT}[{_BLANK}{_DASH}.])"
    rf"{_AREA}(?P<gap>[{_BLANK}{_DASH}.]){_GROUP}(?P=gap){_SERIAL}"
    rf"(?!\w|{_DIGIT})(?!(?P=gap){_DIGIT})"
)

_WORD: Final = (
    r"(?<![^\W_])(?:ssn|s\.s\.n|social[ \-]?sec(?:urity)?|soc\.? ?sec|ss ?(?:#|no|num)"
    r"|social(?= (?:is|#|number)))"
)
_NINE: Final = rf"(?<!{_DIGIT})(?!9)(?!000|666)(?:\d{GAP}){{8}}\d(?!{_DIGIT})"
_NAMED: Final = re.compile(rf"(?P<word>{_WORD}[^\d{MASK}\n]{{0,40}})(?P<number>{_NINE})", re.IGNORECASE)
_NAMED_AFTER: Final = re.compile(rf"(?P<number>{_NINE})(?=[^\d{MASK}\n]{{1,20}}{_WORD})", re.IGNORECASE)


def mask_social_security(text: str) -> str:
    """The text with social-security numbers masked. Doing it twice changes nothing more."""
    text = _WRITTEN.sub(MASKED, text)
    text = _NAMED.sub(lambda match: match["word"] + MASKED, text)
    return _NAMED_AFTER.sub(MASKED, text)
