"""What every kind of row shares: whose it is, its number, its times, and what was counted."""

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
    """What one call may see and do: the rows of `user`'s tenant, within a transaction, at the time `now`."""

    connection: sqlite3.Connection
    user: User
    switch: Switch
    now: float

    @property
    def tenant(self) -> str:
        """The tenant that every statement has to ask for."""
        return self.user.tenant

    @property
    def searchable_until(self) -> float | None:
        """Searches find rows up to this time (seconds since 1970) only; None: all of them."""
        lag = self.switch.search_lag_ms
        return self.now - lag / 1000 if lag else None


TALLIES = ("contacts", "creates", "upserts", "updates", "entries", "attachments", "deletes")
"""What is counted: contacts; activities created, met again by their external id, changed, ...; files."""

_DIGITS_OF_INT64 = 19
_COUNT = """
  INSERT INTO tally (tenant, name, n) VALUES (?, ?, 1)
  ON CONFLICT (tenant, name) DO UPDATE SET n = n + 1
  RETURNING n
"""


def count(connection: sqlite3.Connection, tenant: str, name: str) -> int:
    """Counts one more of `name` and returns how many there are now."""
    (row,) = connection.execute(_COUNT, (tenant, name)).fetchall()
    return int(row["n"])


def stats(view: View) -> dict[str, int]:
    """How often each of `TALLIES` was counted for the tenant, in all the time that the file exists."""
    rows = view.connection.execute("SELECT name, n FROM tally WHERE tenant = ?", (view.tenant,))
    return dict.fromkeys(TALLIES, 0) | {row["name"]: row["n"] for row in rows}


def number_in(identifier: str, prefix: str) -> int:
    """The row's number in an id such as `a-12`; 0, which no row has, when it is no such id."""
    kind, _, digits = identifier.partition("-")
    genuine = kind == prefix and digits.isascii() and digits.isdecimal() and len(digits) < _DIGITS_OF_INT64
    return int(digits) if genuine and not digits.startswith("0") else 0


def iso(seconds: float) -> str:
    """A time in seconds since 1970 as `2026-07-14T03:00:00.000Z`."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_text(fields: object) -> str:
    """An object as the text that is stored."""
    return msgspec.json.encode(fields).decode()


def from_text(text: str) -> dict[str, Any]:
    """The object that `to_text` stored."""
    return msgspec.json.decode(text, type=dict[str, Any])


def where(conditions: Iterable[tuple[str, object]]) -> tuple[str, list[object]]:
    """The conditions whose value is given, as SQL to go behind another condition, and their values."""
    given = [(condition, value) for condition, value in conditions if value is not None]
    return "".join(f" AND {condition}" for condition, _ in given), [value for _, value in given]
