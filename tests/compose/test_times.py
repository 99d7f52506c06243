"""Times in the user's zone, whatever the CRM calls it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messagelog.compose import pick_zone
from messagelog.compose.times import day, seconds, stamp, zone_of
from messagelog.compose.wording import words_in

JULY = 1_783_998_000_000
MINUTE = 60_000


@pytest.mark.parametrize(
    ("name", "offset", "zone"),
    [
        ("America/Los_Angeles", -5, "America/Los_Angeles"),
        ("Nowhere/Land", -5, "UTC-05:00"),
        ("", "-7", "UTC-07:00"),
        (None, "-7", "UTC-07:00"),
        (None, "-07:00", "UTC-07:00"),
        (None, "\u22127", "UTC-07:00"),
        (None, "-0700", "UTC-07:00"),
        (None, "+5.5", "UTC+05:30"),
        (None, "5,5", "UTC+05:30"),
        (None, "5:30", "UTC+05:30"),
        (None, "UTC+2", "UTC+02:00"),
        (None, "GMT -3:30", "UTC-03:30"),
        (None, -7, "UTC-07:00"),
        (None, 5.75, "UTC+05:45"),
        (None, -420, "UTC-07:00"),
        (None, "330", "UTC+05:30"),
        (None, 0, "UTC"),
        (None, 14, "UTC+14:00"),
        ("UTC-07:00", None, "UTC-07:00"),
        ("UTC", None, "UTC"),
    ],
)
def test_zones(name: str | None, offset: Any, zone: str) -> None:
    assert pick_zone(name, offset) == zone
    assert pick_zone(zone, None) == zone


@pytest.mark.parametrize(
    "nonsense", [None, "", "null", "undefined", "NaN", "1e5", 20, -15, 10**9, float("inf"), True, "7:75"]
)
def test_offsets_that_are_null_or_nonsense_are_utc(nonsense: Any) -> None:
    assert pick_zone(None, nonsense) == "UTC"


@pytest.mark.parametrize(
    "name",
    [
        "localtime",
        "posixrules",
        "Factory",
        "right/UTC",
        "America",
        "../etc/passwd",
        "/etc/localtime",
        "a\x00",
        "x" * 999,
    ],
)
def test_names_of_files_that_are_no_zone_are_refused(name: str) -> None:
    assert pick_zone(name, None) == "UTC"


@given(st.text() | st.none(), st.text() | st.floats() | st.integers() | st.none())
def test_whatever_comes_a_zone_is_picked(name: str | None, offset: Any) -> None:
    zone = pick_zone(name, offset)
    assert stamp(JULY, zone)
    assert zone.isascii()


@pytest.mark.parametrize(
    ("sent_at", "zone", "text"),
    [
        (JULY, "America/Los_Angeles", "2026-07-13 8:00 PM PDT"),
        (JULY, "UTC", "2026-07-14 3:00 AM UTC"),
        (JULY, "UTC-07:00", "2026-07-13 8:00 PM UTC-07:00"),
        (JULY, "America/Sao_Paulo", "2026-07-14 12:00 AM UTC-03"),
        (JULY, "Asia/Kolkata", "2026-07-14 8:30 AM IST"),
        (1_768_478_400_000, "America/Los_Angeles", "2026-01-15 4:00 AM PST"),
        (1_784_142_000_000, "America/Los_Angeles", "2026-07-15 12:00 PM PDT"),
        (7_258_118_399_999, "Pacific/Kiritimati", "2200-01-01 1:59 PM UTC+14"),
    ],
)
def test_stamps(sent_at: int, zone: str, text: str) -> None:
    assert stamp(sent_at, zone) == text


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "2026-07-13 8:00 PM PDT"),
        ("es", "13 jul 2026, 20:00 PDT"),
        ("ja", "2026/07/13 20:00 PDT"),
    ],
)
def test_stamps_as_each_language_writes_them(language: str, text: str) -> None:
    assert stamp(JULY, "America/Los_Angeles", language) == text
    assert text.startswith(day(JULY, "America/Los_Angeles", language))


def test_daylight_saving_is_that_of_each_message() -> None:
    before, after = 1_772_964_000_000, 1_772_967_600_000  # the night of 2026-03-08 in California
    assert stamp(before, "America/Los_Angeles") == "2026-03-08 3:00 AM PDT"
    assert stamp(before - 1, "America/Los_Angeles") == "2026-03-08 1:59 AM PST"
    assert stamp(after, "America/Los_Angeles") == "2026-03-08 4:00 AM PDT"


def test_a_day_is_the_day_in_the_zone() -> None:
    assert day(JULY, "UTC") == "2026-07-14"
    assert day(JULY, "America/Los_Angeles") == "2026-07-13"


def test_a_pinned_zone_that_is_gone_is_utc_and_shown_as_that() -> None:
    assert zone_of("Atlantis/Capital").utcoffset(None) is not None
    assert stamp(JULY, "Atlantis/Capital").endswith(" UTC")


@pytest.mark.parametrize(
    ("minutes", "text"),
    [
        (0, "less than a minute"),
        (12, "12 min"),
        (65, "1 h 5 min"),
        (60, "1 h"),
        (50 * 60, "2 d 2 h"),
        (48 * 60 + 5, "2 d"),
    ],
)
def test_durations_count_the_remainder(minutes: int, text: str) -> None:
    assert words_in("en").duration(minutes * MINUTE) == text


@pytest.mark.parametrize(
    ("length", "text"), [(25, "0:25"), (0.4, "0:00"), (61.6, "1:02"), (3_661, "1:01:01")]
)
def test_lengths_of_recordings(length: float, text: str) -> None:
    assert seconds(length) == text
