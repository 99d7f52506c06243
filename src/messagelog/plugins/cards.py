"""Numbers of payment cards in a text: found by their issuer, their length and their check digit, and masked. Pure.

Numbers of other kinds are long too. These tests tell a card's number from them, in this order: the issuers' ranges with
their lengths, Luhn's check, and then the forms of phone numbers, amounts, IBANs, UUIDs and parcels' numbers. The search
is in the visible text, and the mask goes to the same place in the text itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from messagelog.plugins.visible import (
    BLANK,
    BRACKET,
    DASH,
    DOT,
    MASK,
    NEW_LINE,
    SIGN,
    SLASH,
    UNDERSCORE,
    Visible,
    as_number,
    may_have,
    overwrite,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SHOWN: Final = 4
_FEWEST: Final = 13
_MOST: Final = 19
_LONGEST_PHONE_NUMBER: Final = 15
_OLD_VISA: Final = ([4, 3, 3, 3], [4, 4, 4, 1])
"""The groups of old cards' thirteen digits; numbers of other kinds have as many."""

_PHONE_NUMBERS: Final = (10, 11)
_SIDES_OF_A_DECIMAL: Final = 2
_THOUSANDS: Final = 3

_PRINTED: Final = ([4, 4, 4, 4], [4, 6, 5], [4, 6, 4], [4, 4, 4, 4, 3])
"""The groups of digits on cards."""

_USUAL: Final = frozenset({BLANK, DASH, DOT})
_UNUSUAL: Final = frozenset({SIGN, NEW_LINE})
"""Separators of a card's digits only if they are grouped as on the card."""

GAP: Final = f"(?> ?(?:[{re.escape(DASH + DOT + SLASH + UNDERSCORE + BRACKET + SIGN + MASK)}] ?){{0,3}})"
"""What may be between two digits of one number in a line: a blank, and up to three signs with blanks around them."""

_GAP: Final = rf"(?>{GAP}(?:\n ?)?)"
_RUN: Final = re.compile(rf"[0-9](?:{_GAP}[0-9]){{{_FEWEST - 1},}}")
_GROUP: Final = re.compile(r"[0-9]+")
_NO_NUMBER: Final = "\0"
"""The character in place of other numbers. No visible character is read as one."""

_IBAN: Final = re.compile(
    r"(?<![^\W_])[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,3})?(?![^\W_])", re.ASCII
)
_OTHER_NUMBERS: Final = re.compile(
    # Cards that are masked already. From the first bullet and without backtracking: a row of bullets is read once.
    rf"(?<!{MASK}){MASK}{{{_FEWEST - _SHOWN},}}+\d{{{_SHOWN}}}(?!\d)"
    r"|(?<![^\W_])[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?![^\W_])"  # UUIDs
    r"|(?<!\d)9[1-5][0-9]{2}(?:[ ]?[0-9]{4}){4}[ ]?[0-9]{2}(?!\d)"  # parcels of the American post
    r"|(?<![\d.])\d{1,3}\.\d{10,}(?!\.?\d)"  # numbers with decimals, as machines write them
)

_ISSUERS: Final = (
    # The range of the first digits, and the lengths of such numbers.
    ("4", "4", {13, 16, 19}),  # Visa
    ("51", "55", {16}),  # Mastercard
    ("2221", "2720", {16}),
    ("34", "34", {15}),  # American Express
    ("37", "37", {15}),
    ("300", "305", {14}),  # Diners Club
    ("3095", "3095", {14}),
    ("36", "36", {14, 16}),
    ("38", "39", {14, 16}),
    ("6011", "6011", {16, 19}),  # Discover
    ("644", "649", {16, 19}),
    ("65", "65", {16, 19}),
    ("3528", "3589", {16, 17, 18, 19}),  # JCB
    ("62", "62", {16, 17, 18, 19}),  # UnionPay
    ("81", "81", {16, 17, 18, 19}),  # UnionPay, RuPay
    ("60", "60", {16}),  # RuPay
    ("82", "82", {16}),
    ("508", "508", {16}),
    ("5018", "5018", {13, 14, 15, 16, 17, 18, 19}),  # Maestro
    ("5020", "5020", {13, 14, 15, 16, 17, 18, 19}),
    ("5038", "5038", {13, 14, 15, 16, 17, 18, 19}),
    ("5893", "5893", {13, 14, 15, 16, 17, 18, 19}),
    ("6304", "6304", {13, 14, 15, 16, 17, 18, 19}),
    ("6759", "6763", {13, 14, 15, 16, 17, 18, 19}),
    ("5019", "5019", {16}),  # Dankort
    ("2200", "2205", {16, 17, 18, 19}),  # Mir, Borica
    ("5060", "5067", {16, 18, 19}),  # Verve, Elo
    ("6362", "6363", {16}),  # Elo
    ("637", "639", {16}),  # InstaPayment
    ("5614", "5614", {16}),  # Uzcard
    ("8600", "8600", {16}),
    ("9860", "9860", {16}),  # Humo
    ("9792", "9792", {16}),  # Troy
)

_BY_FIRST_DIGIT: Final = {
    digit: [issuer for issuer in _ISSUERS if issuer[0][0] <= digit <= issuer[1][0]] for digit in "23456789"
}


class _Group(NamedTuple):
    """Digits without a gap: their place, and the kind of character between them and the group before."""

    start: int
    end: int
    digits: str
    separator: str


def _size(group: _Group) -> int:
    return len(group.digits)


def mask_cards(text: str, *, in_line: bool = False) -> str:
    """Return the text with the digits of card numbers masked, but for the last four. A second call changes nothing.

    `in_line`: the text is shown in one line, also if it has line ends.
    """
    if not may_have(_FEWEST, text):
        return text
    seen = as_number(text, in_line=in_line)
    if _RUN.search(seen.text) is None:
        return text
    without = _OTHER_NUMBERS.sub(_strike_out, seen.text)
    without = _IBAN.sub(lambda match: _strike_out(match) if _is_iban(match[0]) else match[0], without)
    masks = []
    for run in _RUN.finditer(without):
        groups = _groups(without, run)
        for first, last in _find_cards(groups, after_plus=without.endswith("+", 0, run.start())):
            start, end = groups[first].start, groups[last].end
            masks.append((seen.place(start, end), _mask(text, seen, start, end)))
    return overwrite(text, masks)


def _strike_out(match: re.Match[str]) -> str:
    return _NO_NUMBER * len(match[0])


def _groups(text: str, run: re.Match[str]) -> list[_Group]:
    found: list[_Group] = []
    before = run.start()
    for match in _GROUP.finditer(text, run.start(), run.end()):
        found.append(_Group(match.start(), match.end(), match[0], _kind(text[before : match.start()])))
        before = match.end()
    return found


def _kind(gap: str) -> str:
    """Return the separator of two groups: its kind of character, if there is only one, with or without blanks."""
    if NEW_LINE in gap:
        return NEW_LINE
    kinds = set(gap.replace(MASK, DOT)) - {BLANK}
    if len(kinds) > 1:
        return SIGN
    return kinds.pop() if kinds else BLANK


def _find_cards(groups: Sequence[_Group], *, after_plus: bool) -> Iterator[tuple[int, int]]:
    """Yield the first and last group of each card. Overlapping ones are one, or part of them would be left."""
    begin = first = 0
    while first < len(groups):
        last = _last(groups, first, begin, after_plus=after_plus)
        if last is None:
            first += 1
            continue
        inner = first + 1
        while inner <= last:
            further = _last(groups, inner, begin, after_plus=after_plus)
            last = last if further is None else max(last, further)
            inner += 1
        # The groups before the card now end here, as in a second reading of the masked text.
        while (before := _first(groups[:first], begin, after_plus=after_plus)) is not None:
            first = before
        yield first, last
        begin = first = last + 1


def _last(groups: Sequence[_Group], first: int, begin: int, *, after_plus: bool) -> int | None:
    """Return the last group of the longest card that begins with this one."""
    best, length = None, 0
    for last in range(first, len(groups)):
        length += _size(groups[last])
        if length > _MOST or (last > first and _is_hopeless(groups, first, last, begin)):
            break
        if length >= _FEWEST and _is_card(groups, first, last, begin, after_plus=after_plus):
            best = last
    return best


def _is_hopeless(groups: Sequence[_Group], first: int, last: int, begin: int) -> bool:
    """Return whether no card can go from the first group to the last: a quick check, for long lists of numbers."""
    here, behind, newest = groups[first], groups[first + 1], groups[last]
    if _size(here) >= _SHOWN:
        return False
    if newest.separator != behind.separator:
        return True
    if first == begin or here.separator != behind.separator:
        return False
    return _size(groups[first - 1]) == _size(here) or _size(groups[last - 1]) != _size(here)


def _first(groups: Sequence[_Group], begin: int, *, after_plus: bool) -> int | None:
    """Return the first group of a card that ends with the last of these."""
    last = len(groups) - 1
    for first in range(last, max(begin, last - _MOST) - 1, -1):
        if _FEWEST <= sum(map(_size, groups[first:])) <= _MOST and _is_card(
            groups, first, last, begin, after_plus=after_plus
        ):
            return first
    return None


def _is_card(groups: Sequence[_Group], first: int, last: int, begin: int, *, after_plus: bool) -> bool:
    """Return whether the groups from first to last are a card's number; their run begins at `begin`."""
    chosen = groups[first : last + 1]
    digits = "".join([group.digits for group in chosen])
    if not _has_issuer(digits) or not passes_luhn(digits):
        return False
    if after_plus and first == 0 and len(digits) <= _LONGEST_PHONE_NUMBER:
        return False
    if len(chosen) == 1:
        return len(digits) > _FEWEST or not _is_barcode_or_phone(digits)
    before = groups[first - 1] if first > begin else None
    behind = groups[last + 1] if last + 1 < len(groups) else None
    return _is_written_like_a_card(chosen, before, behind)


def _is_written_like_a_card(chosen: Sequence[_Group], before: _Group | None, behind: _Group | None) -> bool:
    sizes = [len(group.digits) for group in chosen]
    separators = {group.separator for group in chosen[1:]}
    unusual = bool(separators & _UNUSUAL) or (len(separators) > 1 and not separators <= _USUAL)
    if unusual or sum(sizes) == _FEWEST:
        return sizes in (_PRINTED if unusual else _OLD_VISA)
    if sizes[0] in _PHONE_NUMBERS or (separators == {DOT} and len(sizes) == _SIDES_OF_A_DECIMAL):
        return False
    if min(sizes[:-1]) >= _SHOWN:
        return True
    if len(separators) > 1:
        return False
    thousands = sizes[0] <= _THOUSANDS and set(sizes[1:]) == {_THOUSANDS} and separators != {DASH}
    phone_numbers = any(sizes[at : at + 3] == [3, 3, 4] for at in range(len(sizes)))
    if thousands or phone_numbers:
        return False
    # Any list of numbers has short groups: a card's must differ from the groups beside them.
    even = len(set(sizes)) == 1
    out_before = before is None or {chosen[0].separator} != separators or (even and _size(before) != sizes[0])
    out_behind = behind is None or {behind.separator} != separators or (even and _size(behind) != sizes[0])
    return out_before and out_behind


def _has_issuer(digits: str) -> bool:
    return any(
        low <= digits[: len(low)] <= high and len(digits) in lengths
        for low, high, lengths in _BY_FIRST_DIGIT.get(digits[0], ())
    )


def passes_luhn(digits: str) -> bool:
    """Return whether the last of these ASCII digits is the check digit of the others."""
    total = sum(map(int, digits[-1::-2]))
    return (total + sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])) % 10 == 0


def _is_barcode_or_phone(digits: str) -> bool:
    """Return whether thirteen digits are more likely a product's number, or a German, Austrian or Swedish phone number.

    Visa has issued no numbers of thirteen digits for decades, but tests still use them.
    """
    ean = (sum(map(int, digits[0::2])) + 3 * sum(map(int, digits[1::2]))) % 10 == 0
    return ean or digits.startswith(("43", "46", "49"))


def _is_iban(text: str) -> bool:
    compact = text.replace(" ", "")
    return int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4])) % 97 == 1


def _mask(text: str, seen: Visible, start: int, end: int) -> str:
    """Return bullets and the last four digits, without gaps, so that a masked number is recognised as one."""
    digits = [at for at in range(start, end) if seen.text[at].isdecimal()]
    last = [(text[seen.starts[at]], seen.text[at]) for at in digits[-_SHOWN:]]
    shown = [written if written.isdecimal() else digit for written, digit in last]
    return MASK * (len(digits) - _SHOWN) + "".join(shown)
