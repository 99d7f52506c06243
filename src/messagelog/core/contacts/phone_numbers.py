"""Phone numbers in the spellings that a CRM may keep them in, and whether two of them are one. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
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


_INTERNATIONAL: Final = re.compile(r"\s*\+[\d\s().-]+")
_SHORTEST: Final = 7
"""Digits of a number that may lack its country: shorter ones are extensions and the short numbers of services."""


@lru_cache(maxsize=4096)
def international(number: str, country: str) -> str:
    """A number as `+14155550142`, by which two spellings of it are one; its digits where that cannot be told.

    `country` (ISO 3166, such as `US`) is the one that numbers without a country code belong to; empty where it is not
    known.
    """
    plain = normalize_number(number)
    if _INTERNATIONAL.fullmatch(number) or len(plain) < _SHORTEST or not (country or plain.startswith("+")):
        return plain
    # Most servers never see such a number, and need not hold what is known of all countries' numbers.
    import phonenumbers  # noqa: PLC0415 - as above

    try:
        parsed = phonenumbers.parse(number, country or None)
    except phonenumbers.NumberParseException:
        return plain
    if not phonenumbers.is_possible_number(parsed):
        return plain
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def alike(numbers: Iterable[str], others: Iterable[str], country: str) -> tuple[str, ...]:
    """Those of the numbers that are one of the others, however they are written, each spelling once."""
    wanted = {international(each, country) for each in others} - {""}
    return tuple(each for each in dict.fromkeys(numbers) if international(each, country) in wanted)


def is_country(text: str) -> bool:
    """Whether a text is a country whose phone numbers are known, such as `US`."""
    import phonenumbers  # noqa: PLC0415 - only to check a setting

    return text in phonenumbers.SUPPORTED_REGIONS


def country_of(number: str) -> str:
    """The country (ISO 3166) of an international number; of several that share a code the main one. Else empty."""
    if not number.lstrip().startswith("+"):
        return ""
    import phonenumbers  # noqa: PLC0415 - asked only beside a number without a country code

    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return ""
    country = str(phonenumbers.region_code_for_country_code(parsed.country_code or 0))
    return country if country in phonenumbers.SUPPORTED_REGIONS else ""


def normalize_number(number: str) -> str:
    """A number without what only makes it readable: `+14155550142`. Empty where it has no digit at all."""
    digits = "".join(char for char in number if char.isascii() and char.isdigit())
    return f"+{digits}" if digits and number.lstrip().startswith("+") else digits


def format_variants(number: str, formats: Iterable[str]) -> list[str]:
    """The number as it is, and as each format writes it, each spelling once.

    A format has a `*` for every digit of the number behind its country code: `(***) ***-****`. One that is for
    longer or shorter numbers, and any for a number without a country code, is left out.
    """
    found = {number: None}
    national = _national(normalize_number(number))
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
