"""Times in the user's zone, with the daylight saving of that moment, and the zone's name."""

import math
import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_time, get_datetime_format

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,3}")
_NOT_PLACES = re.compile(r"(?:localtime|posixrules|Factory|posix/.*|right/.*)", re.IGNORECASE)
_OFFSET = re.compile(
    r"(?:UTC|GMT)?\s*(?P<sign>[+\-\u2212]?)(?P<hours>[0-9]{1,2}):?(?P<minutes>[0-5][0-9])?", re.IGNORECASE
)
_NUMBER = re.compile(r"[+\-\u2212]?[0-9]{1,4}(?:[.,][0-9]{1,4})?")

_MINUTE = 60_000  # milliseconds
_MOST_HOURS = 26
_MOST_MINUTES = 14 * 60  # east of Greenwich, in Kiribati
_DIGITS_WITH_MINUTES = 4


def pick_zone(name: str | None, offset: str | float | None) -> str:
    """Return the zone to show times in: the IANA name if it is one, else the offset, else UTC.

    Offsets are as CRMs have them: `-7`, `"-07:00"`, `"+5.5"`, `"0530"`, or minutes where the number is
    above 26. The result is an IANA name, `UTC` or like `UTC-07:00`, and `zone_of` understands it.
    """
    if name and _place(name) is not None:
        return name
    for candidate in (name, offset):
        minutes = _offset_minutes(candidate)
        if minutes is not None:
            return _offset_name(minutes)
    return "UTC"


@lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo:
    """Return the zone that `pick_zone` picked. A zone that this machine no longer knows is UTC, and is shown as UTC."""
    place = _place(name)
    if place is not None:
        return place
    minutes = _offset_minutes(name)
    return UTC if not minutes else timezone(timedelta(minutes=minutes), _offset_name(minutes))


def local(sent_at: int, zone: str) -> datetime:
    """Return milliseconds since 1970 as a time in the zone."""
    return (_EPOCH + timedelta(milliseconds=sent_at)).astimezone(zone_of(zone))


def stamp(sent_at: int, zone: str, language: str = "en") -> str:
    """`2026-07-13 8:00 PM PDT`, to the minute: as CLDR has it for the language, but days in English are ISO's."""
    return _stamp(sent_at // _MINUTE, zone, language)


@lru_cache(maxsize=8_192)
def _stamp(minute: int, zone: str, language: str) -> str:
    moment = local(minute * _MINUTE, zone)
    written = _day(moment.date(), language)
    letters = moment.tzname() or "UTC"
    if letters[0] in "+-":  # many zones have no letters; the data then gives "-03" or "+0530"
        letters = f"UTC{letters}"
    if language == "en":
        half = "AM" if moment.hour < 12 else "PM"  # noqa: PLR2004 - hours of a clock
        return f"{written} {moment.hour % 12 or 12}:{moment.minute:02} {half} {letters}"
    clock = format_time(moment, "short", locale=language)
    together = str(get_datetime_format("medium", locale=language)).format(clock, written)
    return f"{_one_line(together)} {letters}"


def day(sent_at: int, zone: str, language: str = "en") -> str:
    """`2026-07-13`: the day in the zone, as the language writes it."""
    return _day(local(sent_at, zone).date(), language)


@lru_cache(maxsize=1_024)
def _day(that: date, language: str) -> str:
    if language == "en":
        return that.isoformat()
    return _one_line(format_date(that, "medium", locale=language))


def _one_line(text: str) -> str:
    # CLDR puts narrow and unbreakable spaces into times, which CRMs show as boxes or remove.
    return " ".join(text.split())


def parts_of(milliseconds: int) -> tuple[int, int, int]:
    """Return days, hours and minutes of a length of time: each is the rest of the one before."""
    minutes = max(0, milliseconds) // _MINUTE
    days, rest = divmod(minutes, 24 * 60)
    return (days, *divmod(rest, 60))


def seconds(length: float) -> str:
    """`0:25`: the length of a recording."""
    minutes, rest = divmod(max(0, round(length)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@lru_cache(maxsize=256)
def _place(name: str) -> ZoneInfo | None:
    if not _NAME.fullmatch(name) or _NOT_PLACES.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):  # unknown, or the name of a folder: the caller tries others
        return None


def _offset_minutes(offset: str | float | None) -> int | None:
    """Return minutes east of Greenwich, or None if the value makes no sense."""
    if offset is None or isinstance(offset, bool):
        return None
    minutes = _read_text(offset.strip()) if isinstance(offset, str) else _read_number(float(offset))
    return minutes if minutes is not None and abs(minutes) <= _MOST_MINUTES else None


def _read_text(text: str) -> int | None:
    clock = _OFFSET.fullmatch(text)
    if clock and (clock["minutes"] and (":" in text or len(clock["hours"]) + 2 == _DIGITS_WITH_MINUTES)):
        minutes = int(clock["hours"]) * 60 + int(clock["minutes"])
        return -minutes if clock["sign"] in {"-", "\u2212"} else minutes
    bare = re.sub(r"^(?:UTC|GMT)\s*", "", text, flags=re.IGNORECASE)
    if not _NUMBER.fullmatch(bare):
        return None
    return _read_number(float(bare.replace("\u2212", "-").replace(",", ".")))


def _read_number(number: float) -> int | None:
    if not math.isfinite(number):
        return None
    return round(number if abs(number) > _MOST_HOURS else number * 60)


def _offset_name(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}" if minutes else "UTC"
