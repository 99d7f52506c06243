"""Social-security numbers of the United States in a text: found and masked. Pure.

With separators (`123-45-6789`) such a number is recognised by itself; nine bare digits only beside a word for it.
"""

from __future__ import annotations

import re
from typing import Final

from messagelog.plugins.cards import GAP
from messagelog.plugins.visible import MASK, as_number, may_have, overwrite

MASKED: Final = "XXX-XX-XXXX"
"""All digits are masked: banks ask for the last four."""

_DIGITS: Final = 9

# There is no area 000, 666 or 9xx, no group 00, and no serial 0000.
_AREA: Final = r"(?!000|666|9)[0-9]{3}"
_GROUP: Final = r"(?!00)[0-9]{2}"
_SERIAL: Final = r"(?!0000)[0-9]{4}"

_DIGIT: Final = rf"[0-9{MASK}]"
_WRITTEN: Final = re.compile(
    rf"(?<![\w+{MASK}])(?<!{_DIGIT}[ ._-])"
    rf"{_AREA}(?P<gap>[ ._-]| [._-] ){_GROUP}(?P=gap){_SERIAL}"
    rf"(?!\w|{_DIGIT})(?!(?P=gap){_DIGIT})"
)

_WORD: Final = (
    r"(?<![^\W_])(?:ssn|s\.s\.n|social[ -]?sec(?:urity)?|soc\.? ?sec|ss ?(?:#|no|num)"
    r"|social(?= (?:is|#|number)))"
)
_NINE: Final = rf"(?<!{_DIGIT})(?!9)(?!000|666)(?:[0-9]{GAP}){{8}}[0-9](?!{_DIGIT})"
_NAMED: Final = re.compile(
    # The number may be at the start of the next line.
    rf"{_WORD}[^0-9{MASK}\n]{{0,40}}(?:\n ?)?(?P<number>{_NINE})",
    re.IGNORECASE,
)
_NAMED_AFTER: Final = re.compile(rf"(?P<number>{_NINE})(?=[^0-9{MASK}\n]{{1,20}}{_WORD})", re.IGNORECASE)


def mask_social_security(text: str, *, in_line: bool = False) -> str:
    """Return the text with social-security numbers masked. A second call changes nothing.

    `in_line`: the text is shown in one line, also if it has line ends.
    """
    if not may_have(_DIGITS, text):
        return text
    seen = as_number(text, in_line=in_line)
    for regex, number in ((_WRITTEN, 0), (_NAMED, "number"), (_NAMED_AFTER, "number")):
        found = [seen.place(*match.span(number)) for match in regex.finditer(seen.text)]
        if found:
            text = overwrite(text, [(place, MASKED) for place in found])
            seen = as_number(text, in_line=in_line)
    return text
