"""The kinds of field in RingCentral's records, with their checks.

Input is looser than what the rest of the program sees: an id may be a number, a time may be ISO text, and null means
absent. So each alias here has two types: the type checker sees the tidy one, msgspec sees the one of the input, and
each record's `__post_init__` turns the second into the first. Both accept their own output, so that a record can be
stored as JSON and read again.

The checks raise `ValueError("<field>: <problem>")`; `messages.parse` puts the path of the record before it.
"""

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import msgspec

T = TypeVar("T")

if TYPE_CHECKING:
    Id = str
    IdOrNull = str
    Text = str
    Time = int
    Many = tuple[T, ...]
    OneOrMany = tuple[T | None, ...]
    One: TypeAlias = T | None
    Quantity = int | float
else:
    Id = str | int
    IdOrNull = str | int | None
    Text = str | int
    Time = int | float | str
    Many = tuple[T | None, ...] | None
    OneOrMany = One = T | tuple[T | None, ...] | None
    Quantity = int | float | str

Number = int | float

LONGEST_ID = 255
"""Characters: a database column's length, and far more than RingCentral sends."""

EARLIEST = 631_152_000_000
LATEST = 7_258_118_400_000
"""Epoch milliseconds of the years 1990 and 2200: seconds taken for milliseconds, and nonsense, are outside."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_A_QUANTITY = re.compile(r"[0-9]{1,15}(\.[0-9]{1,6})?")
_UNFIT_FOR_IDS = frozenset({"Cc", "Cs", "Zl", "Zp"})
_MOST_BITS = 847  # of a number with 255 digits

assign = msgspec.structs.force_setattr
"""Records are frozen; only `__post_init__` may set their fields."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A JSON object of RingCentral: its names are in camelCase, and unknown fields are ignored.

    Each subclass repeats `frozen` and `kw_only`: msgspec does not inherit `kw_only`, and type checkers need both.
    """


def identifier(value: object, field: str) -> str:
    """Return an id as text: it is compared as text everywhere, since it may be above 2^53.

    A number is converted exactly. Refused: an empty id, more than 255 characters, control characters, half emoji.
    """
    if type(value) is int:
        if value.bit_length() > _MOST_BITS:
            raise ValueError(f"{field}: longer than {LONGEST_ID} characters")
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"{field}: expected text or a whole number")  # noqa: TRY004 - msgspec wraps ValueError
    if value.isalnum() and len(value) <= LONGEST_ID:
        return value
    if not value or value.isspace():
        raise ValueError(f"{field}: is empty")
    if len(value) > LONGEST_ID:
        raise ValueError(f"{field}: longer than {LONGEST_ID} characters")
    if not value.isprintable() and any(unicodedata.category(char) in _UNFIT_FOR_IDS for char in value):
        raise ValueError(f"{field}: holds a control character")
    return value


def optional_identifier(value: object, field: str) -> str | None:
    """Return an id, or None for null and empty text."""
    return None if value is None or value == "" else identifier(value, field)


def plain_text(value: object) -> str | None:
    """Return text that may be a number in the input: an extension's id or number, which is shown and never a key."""
    return str(value) if type(value) is int else value  # type: ignore[return-value] # msgspec let in no other type


def quantity(value: object) -> int | float | None:
    """Return a size or a length that may be text in the input; None for text that is not a number."""
    if not isinstance(value, str):
        return value  # type: ignore[return-value] # msgspec let in numbers and text only
    text = value.strip()
    if not _A_QUANTITY.fullmatch(text):
        return None
    return float(text) if "." in text else int(text)


def epoch_ms(value: object, field: str) -> int | None:
    """Return a time in milliseconds since 1970, from such a number or ISO 8601 text (UTC if it names no zone)."""
    if value is None:
        return None
    if isinstance(value, str):
        moment = _read_text(value, field)
    elif isinstance(value, int | float) and not isinstance(value, bool) and EARLIEST <= value < LATEST:
        moment = int(value)
    else:
        raise ValueError(
            f"{field}: expected a time between the years 1990 and 2200, in milliseconds or ISO 8601"
        )
    if not EARLIEST <= moment < LATEST:
        raise ValueError(f"{field}: expected a time between the years 1990 and 2200")
    return moment


def is_epoch_ms(value: object) -> bool:
    """Return whether a time is tidy already: absent, or a whole number of milliseconds between 1990 and 2200."""
    return value is None or (type(value) is int and EARLIEST <= value < LATEST)


def _read_text(text: str, field: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(LATEST)):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        # The cause would quote the sender's text, which must not reach a log.
        raise ValueError(f"{field}: expected a time in milliseconds or ISO 8601") from None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND


def as_tuple(value: T | tuple[T | None, ...] | None) -> tuple[T | None, ...]:
    """Return a tuple; in the input, its only element may be without a list."""
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def first(value: T | tuple[T | None, ...] | None) -> T | None:
    """Return the only element, which may be in a list in the input."""
    return next((each for each in value if each is not None), None) if isinstance(value, tuple) else value


def compact(items: Iterable[T | None] | None) -> tuple[T, ...]:
    """Return a list without its nulls; null for the whole list is an empty one."""
    kept = () if items is None else tuple(items)
    return tuple(item for item in kept if item is not None) if None in kept else cast("tuple[T, ...]", kept)


def distinct(records: tuple[T, ...], ids: Iterable[str]) -> tuple[T, ...]:
    """Return the first record of each id."""
    keys = list(ids)
    if len(set(keys)) == len(records):
        return records
    first: dict[str, T] = {}
    for key, record in zip(keys, records, strict=True):
        first.setdefault(key, record)
    return tuple(first.values())
