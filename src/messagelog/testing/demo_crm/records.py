"""What all kinds of rows have in common: their tenant, number and times, and the counts."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from messagelog.testing.demo_crm.people import User
from messagelog.testing.demo_crm.switch import Switch

Scalar = str | int | float | bool | None
Fields = dict[str, Scalar | list[Scalar | dict[str, Scalar]] | dict[str, Scalar]]
"""Custom fields as callers may send them: values, lists of values or of options, never deeper."""


@dataclass(frozen=True, slots=True)
class View:
    """The rows that one call may read and change: those of `user`'s tenant, within a transaction, at the time `now`."""

    connection: sqlite3.Connection
    user: User
    switch: Switch
    now: float

    @property
    def tenant(self) -> str:
        """The tenant, which every statement has as a condition."""
        return self.user.tenant

    @property
    def searchable_until(self) -> float | None:
        """Searches find rows up to this time (seconds since 1970) only; None: all of them."""
        lag = self.switch.search_lag_ms
        return self.now - lag / 1000 if lag else None


TALLIES = ("contacts", "creates", "upserts", "updates", "entries", "attachments", "deletes")
"""The counters: contacts; activities created, found by their external id, changed, ...; files."""

_DIGITS_OF_INT64 = 19
_COUNT = """
  INSERT INTO tally (tenant, name, n) VALUES (?, ?, 1)
  ON CONFLICT (tenant, name) DO UPDATE SET n = n + 1
  RETURNING n
"""


def count(connection: sqlite3.Connection, tenant: str, name: str) -> int:
    """Add one to the counter `name` and return its value."""
    (row,) = connection.execute(_COUNT, (tenant, name)).fetchall()
    return int(row["n"])


def stats(view: View) -> dict[str, int]:
    """Return the tenant's value of each of `TALLIES`, since the file was made."""
    rows = view.connection.execute("SELECT name, n FROM tally WHERE tenant = ?", (view.tenant,))
    return dict.fromkeys(TALLIES, 0) | {row["name"]: row["n"] for row in rows}


def number_in(identifier: str, prefix: str) -> int:
    """Return the row's number in an id such as `a-12`; 0, which no row has, for another text."""
    kind, _, digits = identifier.partition("-")
    genuine = kind == prefix and digits.isascii() and digits.isdecimal() and len(digits) < _DIGITS_OF_INT64
    return int(digits) if genuine and not digits.startswith("0") else 0


def iso(seconds: float) -> str:
    """Return a time in seconds since 1970 as `2026-07-14T03:00:00.000Z`."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_text(fields: object) -> str:
    """Return an object as the text that is stored."""
    return msgspec.json.encode(fields).decode()


def from_text(text: str) -> dict[str, Any]:
    """Return the object that `to_text` stored."""
    return msgspec.json.decode(text, type=dict[str, Any])


def where(conditions: Iterable[tuple[str, object]]) -> tuple[str, list[object]]:
    """Return the conditions that have a value, as SQL after another condition, and their values."""
    given = [(condition, value) for condition, value in conditions if value is not None]
    return "".join(f" AND {condition}" for condition, _ in given), [value for _, value in given]
