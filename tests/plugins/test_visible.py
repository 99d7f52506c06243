"""Redaction searches exactly the text that a person reads, for every character that exists."""

from __future__ import annotations

import html
import os
import re
import sys
import unicodedata
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messagelog.compose import LogFormat, TextSettings, compose_request
from messagelog.compose.clean import clean
from messagelog.compose.entry_lines import text_lines
from messagelog.plugins import RequestContext
from messagelog.plugins.cards import mask_cards
from messagelog.plugins.redaction import Redaction
from messagelog.plugins.social_security import MASKED as MASKED_SSN
from messagelog.plugins.social_security import mask_social_security
from messagelog.plugins.visible import as_number, as_read, as_written, may_have
from support.requests import body, message, thread, to_log_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from messagelog.messages import LogRequest

GROUPS: Final = ("4111", "1111", "1111", "1111")
MASKED: Final = "••••••••••••1111"
ALL: Final = bool(os.environ.get("MESSAGELOG_PROVE"))
CONTEXT = RequestContext(tenant="acme", platform="memory", crm="Memory CRM", user_id="ada")
FORMATS = [format_ for format_ in LogFormat if format_ is not LogFormat.CUSTOM]

# Written for the test from the Unicode standard (DerivedCoreProperties.txt), not copied from the code.
DEFAULT_IGNORABLE = frozenset(
    chr(code)
    for first, last in (
        *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5)),
        *((0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164)),
        *((0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3)),
        *((0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
    )
    for code in range(first, last + 1)
)
BETWEEN_NUMBERS = frozenset(",;+&#@%\u060c\u061b\u066c\u3001")
"""The separators of several numbers, or marks in front of each, in any width and script."""


def characters() -> Iterator[str]:
    """Yield every character; of unassigned and private ones, only every hundredth unless MESSAGELOG_PROVE is set."""
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if (
            ALL
            or char in DEFAULT_IGNORABLE
            or unicodedata.category(char) not in {"Cn", "Co"}
            or not code % 97
        ):
            yield char


def is_unseen(char: str) -> bool:
    """Return whether a character is invisible: `compose` leaves it out, no font shows it, or it decorates."""
    category = unicodedata.category(char)
    if char in DEFAULT_IGNORABLE or category[0] == "M" or category == "Cf":
        return True
    return not clean(f"a{char}a")[1:-1] or text_lines(f"a{char}a") == ["aa"]


def parts_a_number(char: str) -> bool:
    """Return whether digits with this character between them are several numbers, or none."""
    category = unicodedata.category(char)
    if is_unseen(char) or char in "\u30fc\uff70":  # a Japanese keyboard's dashes
        return False
    listing = unicodedata.normalize("NFKC", char) in BETWEEN_NUMBERS
    return category[0] in "LN" or category == "Sc" or listing


def masked(texts: Sequence[str], at_once: int = 500) -> list[str]:
    """Return texts with their cards masked, many at a time."""
    some = [texts[first : first + at_once] for first in range(0, len(texts), at_once)]
    return [each for few in some for each in mask_cards(" x ".join(few)).split(" x ")]


@pytest.mark.timeout(600)  # with every code point
def test_where_a_character_stands_between_the_groups_and_the_number_shows_it_is_masked() -> None:
    """The others are letters, digits, currencies and separators of lists: with those it is not a card's number."""
    chars = list(characters())
    assert len(chars) > 150_000
    texts = [char.join(GROUPS) for char in chars]
    wrong = [
        f"{ord(char):04X} {unicodedata.name(char, '')}: {got!a}"
        for char, text, got in zip(chars, texts, masked(texts), strict=True)
        if not char.isnumeric() and got != (text if parts_a_number(char) else MASKED)
    ]
    assert wrong == []


def test_where_a_character_that_nobody_sees_stands_between_all_digits_it_is_masked() -> None:
    chars = [char for char in characters() if is_unseen(char)]
    assert len(chars) > 6_000
    assert set(masked([char.join("".join(GROUPS)) for char in chars])) == {MASKED}


def test_the_usual_separators_may_stand_between_all_digits() -> None:
    kinds = {"Zs", "Pd", "Pc", "Ps", "Pe", "Pi", "Pf"}
    chars = [char for char in characters() if unicodedata.category(char) in kinds]
    chars += "\t/\\|.\u00b7\u2022\u2219\u22c5\u30fb\uff65\u2024\u2027\u2044\u2215\u2212\u30fc\u2800"
    after = masked([char.join("".join(GROUPS)) for char in chars])
    assert dict(zip(chars, after, strict=True)) == dict.fromkeys(chars, MASKED)


def test_a_digit_in_any_script_and_shape_is_one() -> None:
    shown: dict[int, list[str]] = {}
    for char in characters():
        digit = unicodedata.digit(char, None)
        if digit is not None:
            shown.setdefault(digit, []).append(char)
    assert sum(map(len, shown.values())) > 780
    for ones, fours in zip(shown[1], shown[4], strict=False):
        if (
            fours.isdecimal() != ones.isdecimal()
        ):  # one number is never written with both raised and usual digits
            continue
        text = fours + ones * 15
        assert len(mask_cards(text)) == 16
        assert mask_cards(text)[:12] == "•" * 12, text
        assert may_have(16, text)


def test_circled_numbers_of_two_digits_are_read_as_they_look() -> None:
    assert mask_cards("card \u32b6" + "\u246a" * 7) == f"card {MASKED}"


def test_a_raised_digit_behind_a_number_is_none_of_its() -> None:
    assert mask_cards("4111111111111111\u00b2") == f"{MASKED}\u00b2"


# ------------------------------------------------------------------------------------ whole requests


def shows_the_number(text: str) -> bool:
    """Return whether a person finds the number in a text: its digits with almost nothing between them."""
    seen = "".join(char for char in text if char == "\n" or not is_unseen(char))
    return re.search(r"[\W_\u30fc\uff70]{0,3}".join("".join(GROUPS)), seen) is not None


def where(text: str) -> str:
    """Return the line that shows the number, if there is one."""
    return next((f"{line!a}" for line in text.split("\n\n") if shows_the_number(line)), "")


def filled(texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield requests with each of these texts in every field that people write, and in names."""
    for first in range(0, len(texts), 250):
        some = texts[first : first + 250]
        sms = [message(n, text) for n, text in enumerate(some)]
        voice = [
            message(f"1{n}", "", type="VoiceMail", transcript=text, attachments=[{"type": "AudioRecording"}])
            for n, text in enumerate(some)
        ]
        files = [
            message(f"2{n}", "see file", attachments=[{"type": "MmsAttachment", "fileName": text}])
            for n, text in enumerate(some)
        ]
        yield body(*sms, *voice, *files)
        # Participants who are not the contact have the name in the record.
        stranger = {"phoneNumber": "+14155550199"}
        yield body(
            *({**message(n, "hello"), "from": {**stranger, "name": text}} for n, text in enumerate(some))
        )
        notes = thread(*some)
        for entity, text in zip(notes["logInfo"]["entities"], reversed(some), strict=True):
            entity |= {"recordType": "AliveNote", "author": {"extensionNumber": "101", "name": text}}
        notes["logInfo"]["messages"] = []
        yield notes
    for text in texts[::50]:
        made = thread("hello")
        made["logInfo"] |= {"statusReason": text, "owner": {"name": text, "extensionType": "Department"}}
        yield {**made, "contactName": text}


def composed(request: LogRequest) -> str:
    """Yield subject and body in every format, as a page shows them."""
    written = [compose_request(TextSettings(format_, "UTC"), request) for format_ in FORMATS]
    plain, html_, markdown = (each.body for each in written)
    on_a_page = html.unescape(re.sub(r"<br>|</p>", "\n", html_))
    return "\n".join([written[0].subject, plain, on_a_page, re.sub(r"\\(?=[!-/:-@\[-`{-~])", "", markdown)])


async def test_where_a_composed_text_shows_the_number_it_was_masked() -> None:
    """In every field, in every format, with every character between the groups, or between all digits."""
    whole = (char for char in characters() if unicodedata.category(char) != "Cs")  # JSON holds no half emoji
    odd = [char for char in whole if not parts_a_number(char)]
    usual = [char for char in odd if unicodedata.category(char) not in {"So", "Sm", "Cn", "Co"}]
    unseen = [char for char in usual if is_unseen(char)][:: 1 if ALL else 7]
    texts = [char.join(GROUPS) for char in usual[:: 1 if ALL else 3]]
    texts += [char.join("".join(GROUPS)) for char in unseen]
    plugin = Redaction({"names": "true"})
    plugin.seconds = 600.0  # type: ignore[misc] # more than any request of people holds
    for made in filled(texts):
        request = to_log_request(made)
        assert shows_the_number(composed(request)), "it is found where it is not masked"
        after = composed(await plugin.on_request(CONTEXT, request))
        assert where(after) == "", "the number is still there"
        assert MASKED in after


# ----------------------------------------------------------------------------------------- places


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4111  1111  1111  1111", MASKED),  # a row of blanks is one on a page
        ("4111 1111\t\t1111 1111", MASKED),
        ("4111 - 1111 - 1111 - 1111", MASKED),
        ("(4111) (1111) (1111) (1111)", f"({MASKED})"),
        ("[4111][1111][1111][1111]", f"[{MASKED}]"),
        ("4111 | 1111 | 1111 | 1111", MASKED),
        ("4111 1111/1111-1111", MASKED),
        ("4111...1111...1111...1111", MASKED),
        ("4111....1111....1111....1111", None),
        ("4111, 1111, 1111, 1111", None),  # extensions, or years
        ("#4111 #1111 #1111 #1111", None),
        # A number that was wrapped, in the groups of cards.
        ("4111 1111\n1111 1111", MASKED),
        ("4111\r\n1111\r\n1111\r\n1111", MASKED),
        ("4111-\n1111-1111-1111", MASKED),
        ("3782 822463\n10005", "•••••••••••0005"),
        ("4111 1111\n\n1111 1111", None),
        ("41111111\n11111111", None),  # two phone numbers
        ("4\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1", None),
        # The text around it stays as it was written.
        (
            "\u202ecafé\u200b 4\u03321\u03321\u03321\u03321111\u200b11111111\u2060!\u202c",
            f"\u202ecafé\u200b {MASKED}\u2060!\u202c",
        ),
        ("4️⃣1️⃣1️⃣1️⃣ 1️⃣1️⃣1️⃣1️⃣ 1️⃣1️⃣1️⃣1️⃣ 1️⃣1️⃣1️⃣1️⃣ ok", f"{MASKED}️⃣ ok"),
        ("\u0664111111111111111", "••••••••••••1111"),
        ("ok\x00 4111\x1f1111\u200d1111\u00ad1111", f"ok\x00 {MASKED}"),
    ],
)
def test_only_the_place_of_a_number_changes(text: str, expected: str | None) -> None:
    assert mask_cards(text) == (text if expected is None else expected)
    assert mask_cards(mask_cards(text)) == mask_cards(text)


def test_a_line_end_is_a_blank_in_what_is_shown_in_one_line() -> None:
    text = "\n".join("".join(GROUPS))
    assert mask_cards(text) == text
    assert mask_cards(text, in_line=True) == MASKED
    assert mask_social_security("123\n45\n6789") == "123\n45\n6789"
    assert mask_social_security("123\n45\n6789", in_line=True) == MASKED_SSN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("123\u200b-45-\u00ad6789", MASKED_SSN),
        ("1\u03362\u03363\u0336-4\u03365\u0336-6\u03367\u03368\u03369", MASKED_SSN),
        ("123  45  6789", MASKED_SSN),
        ("123 - 45 - 6789", MASKED_SSN),
        ("123\u201145\u20146789", MASKED_SSN),
        ("123_45_6789", MASKED_SSN),
        ("123·45·6789", MASKED_SSN),
        ("S\u200bSN 123/45/6789", f"S\u200bSN {MASKED_SSN}"),
        ("my SSN:\n123456789", f"my SSN:\n{MASKED_SSN}"),
        ("\uff33\uff33\uff2e \uff11\uff12\uff13456789", f"\uff33\uff33\uff2e {MASKED_SSN}"),
        ("SSN (123) (45) (6789)", f"SSN ({MASKED_SSN})"),
        ("the SSN office\nopens 123456789", None),
        ("SSN last four 6789\n12345 Main St", None),
    ],
)
def test_social_security_numbers_are_seen_as_they_are_read(text: str, expected: str | None) -> None:
    assert mask_social_security(text) == (text if expected is None else expected)


@given(st.text(st.sampled_from("a4 \u0301\u200b\r\n\t\u00ad\u2009é①⑪½\ud83d\u1100\u1161한"), max_size=12))
def test_every_visible_character_knows_its_place(text: str) -> None:
    for view in (as_number, as_written, as_read):
        seen = view(text)
        assert len(seen.text) == len(seen.starts) == len(seen.ends)
        assert list(seen.starts) == sorted(seen.starts)
        assert all(0 <= start <= end <= len(text) for start, end in zip(seen.starts, seen.ends, strict=True))
    shown = as_number(text).text
    assert as_number(shown).text == shown, "seen again, it looks the same"
    plain = "".join(char for char in text if char.isascii() and char.isprintable())
    assert as_written(plain).text == plain


def test_nothing_of_a_digit_is_missed_by_the_quick_look() -> None:
    missed = [
        char for char in characters() if re.search(r"[0-9]", as_number(char).text) and not char.isnumeric()
    ]
    assert missed == []
