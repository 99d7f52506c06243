"""Write phone numbers as CRMs may keep them, and tell whether two spellings are one number. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from phonenumbers import PhoneNumber

LONGEST_NUMBER: Final = 64
MOST_FORMATS: Final = 10

_INTERNATIONAL: Final = re.compile(r"\s*\+[\d\s().-]+")
_SHORTEST: Final = 7
"""Digits of a number that may lack its country: shorter ones are extensions and the short numbers of services."""


@lru_cache(maxsize=4096)
def international(number: str, country: str) -> str:
    """Return a number as `+14155550142`, the same for all its spellings; its digits where that is not known.

    `country` (ISO 3166, such as `US`) is the country of numbers without a country code; empty if it is not known.
    """
    plain = normalize_number(number)
    if _INTERNATIONAL.fullmatch(number) or len(plain) < _SHORTEST:
        return plain
    parsed = _parse(number, country)
    if parsed is None:
        return plain
    import phonenumbers  # noqa: PLC0415 - loaded by now

    if not phonenumbers.is_possible_number(parsed):
        return plain
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def alike(numbers: Iterable[str], others: Iterable[str], country: str) -> tuple[str, ...]:
    """Return the numbers that are one of `others`, however they are written; each spelling once."""
    wanted = {international(each, country) for each in others} - {""}
    return tuple(each for each in dict.fromkeys(numbers) if international(each, country) in wanted)


def is_country(text: str) -> bool:
    """Return whether a text is a country whose phone numbers are known, such as `US`."""
    import phonenumbers  # noqa: PLC0415 - only to check a setting

    return text in phonenumbers.SUPPORTED_REGIONS


def country_of(number: str) -> str:
    """Return the country (ISO 3166) of an international number, else an empty text.

    Of several countries that share a code it is the main one.
    """
    parsed = _parse(number)
    if parsed is None:
        return ""
    import phonenumbers  # noqa: PLC0415 - loaded by now

    country = str(phonenumbers.region_code_for_country_code(parsed.country_code or 0))
    return country if country in phonenumbers.SUPPORTED_REGIONS else ""


def normalize_number(number: str) -> str:
    """Return a number without what only makes it readable: `+14155550142`. Empty if it has no digit at all."""
    digits = "".join(char for char in number if char.isascii() and char.isdigit())
    return f"+{digits}" if digits and number.lstrip().startswith("+") else digits


def format_variants(number: str, formats: Collection[str]) -> list[str]:
    """Return the number as it is, and as each format writes it; each spelling once.

    A format has a `*` for each digit of the number after its country code: `(***) ***-****`. Formats of longer or
    shorter numbers are left out; so are all formats, if the number has no country code.
    """
    found = {number: None}
    parsed = _parse(number) if formats else None
    if parsed is not None:
        import phonenumbers  # noqa: PLC0415 - loaded by now

        national = phonenumbers.national_significant_number(parsed)
        for format_ in formats:
            if format_.count("*") == len(national):
                digits = iter(national)
                found["".join(next(digits) if char == "*" else char for char in format_)] = None
    return list(found)


def _parse(number: str, country: str = "") -> PhoneNumber | None:
    """Return a number as the library knows it; None if it has no country code and `country` is empty, or is none."""
    if not country and not number.lstrip().startswith("+"):
        return None
    # Most servers only see numbers with a country code, and need not hold what is known of all countries' numbers.
    import phonenumbers  # noqa: PLC0415 - as above

    try:
        return phonenumbers.parse(number, country or None)
    except phonenumbers.NumberParseException:
        return None
