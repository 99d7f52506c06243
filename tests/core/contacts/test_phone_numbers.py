"""Phone numbers in the spellings that CRMs keep them in."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messagelog.core.contacts.phone_numbers import (
    alike,
    country_of,
    format_variants,
    international,
    is_country,
    normalize_number,
)

US = "+14155550142"


@pytest.mark.parametrize(
    ("number", "formats", "expected"),
    [
        (US, [], [US]),
        (US, ["(***) ***-****"], [US, "(415) 555-0142"]),
        (US, ["(***) ***-****", "***.***.****"], [US, "(415) 555-0142", "415.555.0142"]),
        (US, ["+1**********"], [US]),
        (US, ["******", "***", ""], [US]),
        ("+493012345678", ["0** ********"], ["+493012345678", "030 12345678"]),
        ("+3531234567", ["0*******"], ["+3531234567", "01234567"]),
        ("+79161234567", ["8 *** *******"], ["+79161234567", "8 916 1234567"]),
        ("+390612345678", ["** ********"], ["+390612345678", "06 12345678"]),
        ("+44 (0)20 7946 0018", ["0** **** ****"], ["+44 (0)20 7946 0018", "020 7946 0018"]),
        ("+999123456", ["******"], ["+999123456"]),
        ("+1 (415) 555-0142", ["***-***-****"], ["+1 (415) 555-0142", "415-555-0142"]),
        ("105", ["***"], ["105"]),
        ("anonymous", ["***"], ["anonymous"]),
    ],
)
def test_a_format_is_filled_with_the_digits_behind_the_country_code(
    number: str, formats: list[str], expected: list[str]
) -> None:
    assert format_variants(number, formats) == expected


@pytest.mark.parametrize(
    ("number", "plain"),
    [
        (US, US),
        (" +1 (415) 555-0142", US),
        ("4155550142", "4155550142"),
        ("105", "105"),
        ("", ""),
        ("anonymous", ""),
        ("+", ""),
        ("١٢٣", ""),
    ],
)
def test_a_plain_number_has_digits_and_perhaps_a_plus(number: str, plain: str) -> None:
    assert normalize_number(number) == plain


@given(st.text(), st.lists(st.text(alphabet="*() -.0123456789+")))
def test_no_number_and_no_format_is_too_odd(number: str, formats: list[str]) -> None:
    found = format_variants(number, formats)
    assert found[0] == number
    assert len(set(found)) == len(found)
    assert not any("*" in spelling for spelling in found[1:])
    assert normalize_number(normalize_number(number)) == normalize_number(number)


@pytest.mark.parametrize(
    ("number", "country", "expected"),
    [
        (US, "", US),
        ("+1 (415) 555-0142", "DE", US),
        ("+1 415 555 0142 ext. 5", "", US),
        ("(415) 555-0142", "US", US),
        ("4155550142", "CA", US),
        ("1 415 555 0142", "US", US),
        ("011 49 30 23125042", "US", "+493023125042"),
        ("030 23125042", "DE", "+493023125042"),
        ("4155550142", "", "4155550142"),
        ("123", "US", "123"),
        ("77777", "US", "77777"),
        ("123456789012345678", "US", "123456789012345678"),
        ("anonymous", "US", ""),
        ("", "US", ""),
    ],
)
def test_a_number_without_its_country_code_is_one_of_the_country(
    number: str, country: str, expected: str
) -> None:
    assert international(number, country) == expected


@given(st.text(max_size=20), st.sampled_from(["", "US", "DE"]))
def test_whatever_a_number_is_it_is_told_by_its_digits_or_its_country(number: str, country: str) -> None:
    told = international(number, country)
    assert told == normalize_number(number) or (told.startswith("+") and told[1:].isdigit())


def test_numbers_that_are_one_of_others() -> None:
    numbers = ["(415) 555-0142", US, "4155550199", "+1 415 555 0142", US, "x"]
    assert alike(numbers, [US], "US") == ("(415) 555-0142", US, "+1 415 555 0142")
    assert alike(numbers, [US], "") == (US, "+1 415 555 0142")
    assert alike(numbers, [], "US") == alike(numbers, ["x", ""], "US") == ()


def test_the_country_of_a_number() -> None:
    assert country_of(US) == "US"
    assert country_of(" +49 30 23125042") == "DE"
    assert country_of("4155550142") == country_of("") == country_of("+") == country_of("+999 1234567") == ""
    assert is_country("US")
    assert not any(map(is_country, ["us", "USA", "XX", "001", ""]))


def test_numbers_with_their_country_code_need_no_library() -> None:
    code = (
        "import sys; from messagelog.core.contacts.phone_numbers import alike, format_variants, international; "
        "alike(['+1 (415) 555-0142'], ['+14155550142', '77777'], ''); international('77777', 'US'); "
        "format_variants('+14155550142', []); "
        "sys.exit('phonenumbers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
