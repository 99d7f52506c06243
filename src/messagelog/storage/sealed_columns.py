"""The columns that hold values sealed under a secret key, all of them, so that a rotation finds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of sealed values. A value's context is the table's name and its row's `key`; NULL or empty is no value.

    `order` is the primary key, in the order of its index; `key` is the part of it that people see.
    """

    table: str
    column: str
    key: tuple[str, ...] = ("tenant", "platform", "id")
    order: tuple[str, ...] = ("id", "tenant", "platform")

    def context(self, *key: str) -> tuple[str, ...]:
        """Return the context that a value of the row with this key is bound to."""
        return (self.table, *key)

    @property
    def start(self) -> tuple[str | bool, ...]:
        """A place in the order that is in front of all rows."""
        return tuple(False if name == "shared" else "" for name in self.order)

    @property
    def names(self) -> dict[str, str]:
        """The names in braces of `sql/sealed.sql`, and their values."""
        return {
            "{table}": self.table,
            "{column}": self.column,
            "{key}": ", ".join(f'"{name}"' for name in self.key),
            "{order}": ", ".join(f'"{name}"' for name in self.order),
            "{start}": ", ".join(f":{name}" for name in self.order),
            "{row}": " AND ".join(f'"{name}" = :{name}' for name in self.order),
        }


SEALED: Final = (
    SealedColumn("users", "credentials"),
    SealedColumn(
        "messageLogs",
        "payload",
        order=("messageId", "groupContactId", "shared", "tenant", "platform"),
    ),
    SealedColumn(
        "contacts",
        "contacts",
        key=("tenant", "platform", "phoneNumber"),
        order=("phoneNumber", "tenant", "platform"),
    ),
    SealedColumn(
        "newContacts", "contact", key=("tenant", "platform", "key"), order=("key", "tenant", "platform")
    ),
    SealedColumn("attempts", "body"),
    # The last: a rotation that was broken off leaves it, and no server starts without the secret that it needs.
    SealedColumn("keys", "sealed", key=("purpose",), order=("purpose",)),
)
