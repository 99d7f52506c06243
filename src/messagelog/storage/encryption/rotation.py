"""Seals everything again under the newest secret key, while servers run.

A value is replaced only if it has not changed since it was read: what a server writes meanwhile stays. Each batch is a
transaction of its own, so a rotation that was interrupted is simply started again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from messagelog.storage import transactions
from messagelog.storage.encryption.sealer import SealBroken
from messagelog.storage.sealed_columns import SEALED

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.storage.encryption.sealer import Sealer
    from messagelog.storage.sealed_columns import SealedColumn
    from messagelog.storage.store import Store
    from messagelog.storage.transactions import SealedValue

_BATCH: Final = 50
"""Values that are changed in one transaction: few enough that its locks are short."""
_MOST_PASSES: Final = 5
"""How often a table is scanned. More than twice is needed only while a server still seals under an old key."""


@dataclass(frozen=True, slots=True)
class RotationResult:
    """The result for a table: how many values were sealed again, and how many cannot be opened."""

    table: str
    resealed: int
    unopened: int


async def count_by_key(store: Store) -> dict[str, dict[bytes, int]]:
    """Return how many sealed values each table has, by the id of their key. Reads every table whole."""
    counts = {}
    for column in SEALED:
        counts[column.table] = await store.read(partial(transactions.count_sealed, column))
    return counts


async def rotate(
    store: Store,
    sealer: Sealer,
    *,
    progress: Callable[[int], None] = lambda _count: None,
    batch: int = _BATCH,
) -> list[RotationResult]:
    """Seal again all that is under an old key; `progress` is called with the number of values of each batch.

    Values that cannot be opened are left as they are.
    """
    return [await _ColumnRotation(store, sealer, column, progress, batch).run() for column in SEALED]


@dataclass(slots=True)
class _ColumnRotation:
    """Scans one column until nothing is left under an old key."""

    store: Store
    sealer: Sealer
    column: SealedColumn
    progress: Callable[[int], None]
    batch: int

    async def run(self) -> RotationResult:
        resealed = unopened = 0
        for _ in range(_MOST_PASSES):
            found, unopened = await self._scan()
            resealed += found
            if not found:
                break
        return RotationResult(self.column.table, resealed, unopened)

    async def _scan(self) -> tuple[int, int]:
        """Scan the column once; return how many values were sealed again, and how many could not be opened."""
        last: SealedValue | None = None
        resealed = unopened = 0
        while values := await self.store.read(
            partial(
                transactions.find_sealed, self.column, last, not_under=self.sealer.key_id, limit=self.batch
            )
        ):
            changes = []
            for value in values:
                context = self.column.context(*value.key)
                try:
                    text = self.sealer.open(value.sealed, *context)
                except SealBroken:
                    unopened += 1
                else:
                    changes.append((value, self.sealer.seal(text, *context)))
            if changes:
                await self.store.write(partial(transactions.reseal, self.column, changes))
            resealed += len(changes)
            last = values[-1]
            self.progress(len(values))
        return resealed, unopened
