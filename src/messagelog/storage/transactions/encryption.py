"""Reads and writes sealed values of every kind, and the stored keys of hashes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from messagelog.storage.transactions.commands import Batch, Execute, Query

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from messagelog.storage.sealed_columns import SealedColumn
    from messagelog.storage.transactions.commands import Transaction


@dataclass(frozen=True, slots=True)
class SealedValue:
    """A sealed value as it was read: the key that it is bound to, and the place of its row in the order of all."""

    key: tuple[str, ...]
    place: tuple[str | bool, ...]
    sealed: bytes = field(repr=False)


def find_sealed(
    column: SealedColumn, after: SealedValue | None, *, not_under: bytes, limit: int
) -> Transaction[list[SealedValue]]:
    """Return the next values that are sealed under keys other than `not_under`."""
    place = after.place if after is not None else column.start
    start = dict(zip(column.order, place, strict=True))
    rows = yield Query(f"find_sealed_{column.table}", {**start, "key_id": not_under, "limit": limit})
    parts = len(column.key)
    return [
        SealedValue(tuple(values[:parts]), tuple(values[parts:]), bytes(sealed)) for *values, sealed in rows
    ]


def reseal(column: SealedColumn, changes: Sequence[tuple[SealedValue, bytes]]) -> Transaction[None]:
    """Replace sealed values, each unless it was changed since it was read."""
    yield Execute(
        f"reseal_{column.table}",
        [
            {**dict(zip(column.order, value.place, strict=True)), "before": value.sealed, "sealed": sealed}
            for value, sealed in changes
        ],
    )


def count_sealed(column: SealedColumn) -> Transaction[dict[bytes, int]]:
    """Return how many values of a column there are by the id of their key. Reads the whole table."""
    rows = yield Query(f"count_sealed_{column.table}", {})
    return {bytes(key_id): count for key_id, count in rows}


def find_keys() -> Transaction[dict[str, bytes]]:
    """Return the stored keys, sealed, by their purpose."""
    rows = yield Query("find_keys", {})
    return {purpose: bytes(sealed) for purpose, sealed in rows}


def keep_keys(keys: Mapping[str, bytes]) -> Transaction[dict[str, bytes]]:
    """Store sealed keys, each unless there is one of its purpose; return those that are stored."""
    kept = [{"purpose": purpose, "sealed": sealed} for purpose, sealed in sorted(keys.items())]
    (rows,) = yield Batch(Execute("keep_key", kept), Query("find_keys", {}))
    return {purpose: bytes(sealed) for purpose, sealed in rows}
