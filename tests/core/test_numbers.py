"""Phone numbers in the spellings that CRMs keep them in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messagelog.core.numbers import plain_number, spellings

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
        ("+1 (415) 555-0142", ["***-***-****"], ["+1 (415) 555-0142", "415-555-0142"]),
        ("105", ["***"], ["105"]),
        ("anonymous", ["***"], ["anonymous"]),
    ],
)
def test_a_format_is_filled_with_the_digits_behind_the_country_code(
    number: str, formats: list[str], expected: list[str]
) -> None:
    assert spellings(number, formats) == expected


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
    assert plain_number(number) == plain


@given(st.text(), st.lists(st.text(alphabet="*() -.0123456789+")))
def test_no_number_and_no_format_is_too_odd(number: str, formats: list[str]) -> None:
    found = spellings(number, formats)
    assert found[0] == number
    assert len(set(found)) == len(found)
    assert not any("*" in spelling for spelling in found[1:])
    assert plain_number(plain_number(number)) == plain_number(number)
