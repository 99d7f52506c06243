"""Phone numbers in the spellings that a CRM may keep them in. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_NUMBER: Final = 64
MOST_FORMATS: Final = 10

_ONE_DIGIT_CODES: Final = frozenset({"1", "7"})
_TWO_DIGIT_CODES: Final = frozenset(
    {"20", "27", "36", "39", "40", "41", "81", "82", "84", "86", "98"}.union(
        map(str, [*range(30, 35), *range(43, 50), *range(51, 59), *range(60, 67), *range(90, 96)])
    )
)
"""The country codes of E.164 that are not three digits long. No code begins another one."""


def plain_number(number: str) -> str:
    """A number without what only makes it readable: `+14155550142`. Empty where it has no digit at all."""
    digits = "".join(char for char in number if char.isascii() and char.isdigit())
    return f"+{digits}" if digits and number.lstrip().startswith("+") else digits


def spellings(number: str, formats: Iterable[str]) -> list[str]:
    """The number as it is, and as each format writes it, each spelling once.

    A format has a `*` for every digit of the number behind its country code: `(***) ***-****`. One that is for
    longer or shorter numbers, and any for a number without a country code, is left out.
    """
    found = {number: None}
    national = _national(plain_number(number))
    for format_ in formats:
        if national and format_.count("*") == len(national):
            digits = iter(national)
            found["".join(next(digits) if char == "*" else char for char in format_)] = None
    return list(found)


def _national(number: str) -> str:
    """The digits behind the country code of `+…`; empty for any other number."""
    digits = number.removeprefix("+")
    if not number.startswith("+"):
        return ""
    if digits[:1] in _ONE_DIGIT_CODES:
        return digits[1:]
    return digits[2:] if digits[:2] in _TWO_DIGIT_CODES else digits[3:]
