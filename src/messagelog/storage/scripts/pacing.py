"""The pace of a tenant at a CRM: one row, changed under a lock by arithmetic that the caller brings along."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from messagelog.storage.rows import PaceRow
from messagelog.storage.scripts.asking import Do, Fetch, Together

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.storage.rows import PaceChange
    from messagelog.storage.scripts.asking import Script

T = TypeVar("T")


def change_pace(
    tenant: str, platform: str, change: Callable[[str, int], tuple[PaceChange, T]], settle_ms: int = 0
) -> Script[T]:
    """Changes a tenant's pace: `change` is given what is stored and the time, and says what is stored from now on.

    It may be called more than once, where a transaction is repeated; the last time counts. Where it says so, what
    waits for the CRM is due in the same transaction; what is to be asked about not before `settle_ms` are over.
    """
    key = {"tenant": tenant, "platform": platform}
    (locked,) = yield Together(Do("insert_pace", [key]), Fetch("lock_pace", key))
    if not locked:  # its tenant was erased between the two
        return (yield from change_pace(tenant, platform, change, settle_ms))
    changed, value = change(*locked[0])
    yield Do(
        "save_pace",
        [
            {
                **key,
                "circuit": changed.circuit,
                "not_before": changed.not_before,
                "catch_up_at": changed.catch_up_at,
                "active_until": changed.active_until,
                "open_since": changed.open_since,
                "pace": changed.pace,
            }
        ],
    )
    if changed.wakes:
        yield Together(Fetch("lock_waiting", key), Do("wake_waiting", [{**key, "settle_ms": settle_ms}]))
    return value


def active_paces(limit: int) -> Script[list[PaceRow]]:
    """The tenants whose requests need a permit for now, the longest first."""
    rows = yield Fetch("active_paces", {"limit": limit})
    return [PaceRow(*row) for row in rows]


def list_paces(limit: int) -> Script[list[PaceRow]]:
    """The paces of all tenants, with what is stored of them."""
    rows = yield Fetch("list_paces", {"limit": limit})
    return [PaceRow(*row) for row in rows]
