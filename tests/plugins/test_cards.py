"""Any card number in any text is masked, and nothing else is touched."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from messagelog.plugins.cards import mask_cards, passes_luhn
from messagelog.plugins.social_security import MASKED, mask_social_security

# Written for the test from the issuers' ranges, not copied from the code.
ISSUERS = {
    16: (
        "4",
        "51",
        "55",
        "2221",
        "2720",
        "6011",
        "644",
        "649",
        "65",
        "3528",
        "3589",
        "62",
        "36",
        "5018",
        "2200",
    ),
    15: ("34", "37"),
    14: ("300", "305", "3095", "36", "38", "39"),
    19: ("4", "62", "6759", "3530"),
}
LAYOUTS = {
    16: ([16], [4, 4, 4, 4], [8, 8], [1] * 16, [4, 12]),
    15: ([15], [4, 6, 5], [5, 5, 5], [1] * 15),
    14: ([14], [4, 6, 4], [2] * 7),
    19: ([19], [4, 4, 4, 4, 3], [6, 13]),
}
SEPARATORS = [
    "",
    " ",
    "-",
    "\u00a0",
    "\u2009",
    "\u2011",
    "\u2212",
    "/",
    "_",
    " - ",
    "  ",
    "\u200b",
    "\u0332",
    "\ufe0f\u20e3",
]
SCRIPTS = ["0123456789", "٠١٢٣٤٥٦٧٨٩", "０１２３４５６７８９"]  # noqa: RUF001 - digits as people type them
WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Nd", "Cc"], exclude_characters="+•"), max_size=30
)
DIGITS_AND_GAPS = st.text(st.sampled_from("0123456789345 -.•+\u200b\n/_(:,\u0332\u00b2"), max_size=80)


@st.composite
def cards(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a card's number and its last four digits, both as they are written."""
    length = draw(st.sampled_from(sorted(ISSUERS)))
    begin = draw(st.sampled_from(ISSUERS[length]))
    rest = length - len(begin) - 1
    most = begin + draw(st.text(st.sampled_from("0123456789"), min_size=rest, max_size=rest))
    digits = next(most + last for last in "0123456789" if passes_luhn(most + last))
    script, separator = draw(st.sampled_from(SCRIPTS)), draw(st.sampled_from(SEPARATORS))
    written = "".join(script[int(digit)] for digit in digits)
    groups, start = [], 0
    for size in draw(st.sampled_from(LAYOUTS[length])):
        groups.append(written[start : start + size])
        start += size
    return separator.join(groups), written[-4:]


def test_the_check_digit_is_luhns() -> None:
    assert passes_luhn("79927398713")  # the usual example of it
    assert [last for last in "0123456789" if passes_luhn(f"7992739871{last}")] == ["3"]


@given(cards(), WORDS, WORDS)
def test_any_card_in_any_text_is_masked_and_the_rest_stays(
    card: tuple[str, str], before: str, after: str
) -> None:
    number, last = card
    assume(not re.search(r"[A-Za-z]{2}$", before) or not number.isascii())  # it may be an IBAN
    assert mask_cards(before + number + after) == before + "•" * (_digits(number) - 4) + last + after


@given(st.lists(st.one_of(cards().map(lambda card: card[0]), DIGITS_AND_GAPS, WORDS), max_size=6))
def test_masking_again_changes_nothing(pieces: list[str]) -> None:
    for joint in ("", " ", "-"):
        once = mask_cards(mask_social_security(joint.join(pieces)))
        assert mask_cards(mask_social_security(once)) == once


@given(
    st.lists(st.text(st.sampled_from("0123456789"), max_size=12), max_size=9),
    st.sampled_from([", ", "x", "\n\n", " +", "; ", "...."]),
)
def test_no_text_without_thirteen_digits_together_is_changed(numbers: list[str], joint: str) -> None:
    text = joint.join(numbers)
    assert mask_cards(text) == text


@given(st.text(max_size=60))
@settings(max_examples=50)
def test_what_has_no_digits_is_left_alone(text: str) -> None:
    assume(not any(map(str.isdecimal, text)))
    assert mask_cards(mask_social_security(text)) == text


@given(DIGITS_AND_GAPS)
def test_only_digits_and_what_is_between_them_ever_go(text: str) -> None:
    masked = mask_cards(text)
    assert [char for char in masked if char.isdigit()] == _left(text, masked)
    outside = re.compile(r"[^+,]")
    assert outside.sub("", masked) == outside.sub("", text)


@given(st.integers(1, 899), st.integers(1, 99), st.integers(1, 9999), st.sampled_from("-. \u2011"))
def test_any_social_security_number_with_separators_is_masked(
    area: int, group: int, serial: int, gap: str
) -> None:
    assume(area != 666)
    number = f"{area:03}{gap}{group:02}{gap}{serial:04}"
    assert mask_social_security(f"it is {number}.") == f"it is {MASKED}."


def test_two_cards_beside_each_other_are_both_masked() -> None:
    assert mask_cards("4242 4242 4242 4242 3782 822463 10005") == "••••••••••••4242 •••••••••••0005"


def test_of_cards_that_overlap_nothing_is_left() -> None:
    overlapping = "4008 4111 1111 1111 1111"  # its first sixteen digits would do, and so would the last
    assert passes_luhn("4008411111111111")
    assert mask_cards(overlapping) == "••••••••••••••••1111"


def test_a_long_list_of_numbers_takes_no_longer_than_its_length() -> None:
    looked = 0

    class Counting(list[Any]):
        def __getitem__(self, at: Any) -> Any:
            nonlocal looked
            looked += 1
            return super().__getitem__(at)

    from messagelog.plugins import cards as module

    for text in ("1 " * 3000, "4 5-" * 1500, "41 5 " * 1500, "4111 " * 3000):
        (run,) = module._RUN.finditer(text)
        groups = Counting(module._groups(text, run))
        looked = 0
        list(module._find_cards(groups, after_plus=False))
        assert looked < 100 * len(groups)


def _digits(number: str) -> int:
    return sum(map(str.isdecimal, number))


def _left(text: str, masked: str) -> list[str]:
    """Return the digits that are left in the text, by the places of the bullets."""
    digits = [char for char in text if char.isdigit() or char == "•"]
    kept = [char for char in masked if char.isdigit() or char == "•"]
    assert len(digits) == len(kept)
    return [one for one, other in zip(digits, kept, strict=True) if other.isdigit()]
