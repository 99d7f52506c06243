"""The rate limiter's state of a tenant at a CRM: one row, changed under a lock by a function of the caller's."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from messagelog.storage.records.limits import LimiterRow
from messagelog.storage.transactions.commands import Batch, Execute, Query

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.storage.records.limits import LimiterChange
    from messagelog.storage.transactions.commands import Transaction

T = TypeVar("T")


def update_limiter(
    tenant: str, platform: str, change: Callable[[str, int], tuple[LimiterChange, T]], settle_ms: int = 0
) -> Transaction[T]:
    """Change the state of a tenant's limiter; return the value of `change`, which is given what is stored and the time.

    It may be called more than once, if the transaction is repeated; the last time counts. If the change says so, what
    waits for the CRM is due in the same transaction, but a call to be reconciled not before `settle_ms` are over.
    """
    key = {"tenant": tenant, "platform": platform}
    (locked,) = yield Batch(Execute("insert_pace", [key]), Query("lock_pace", key))
    if not locked:  # its tenant was erased between the two
        return (yield from update_limiter(tenant, platform, change, settle_ms))
    changed, value = change(*locked[0])
    yield Execute(
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
        yield Batch(Query("lock_waiting", key), Execute("wake_waiting", [{**key, "settle_ms": settle_ms}]))
    return value


def find_active_limiters(limit: int) -> Transaction[list[LimiterRow]]:
    """Return the tenants whose requests need a permit for now, the longest first."""
    rows = yield Query("active_paces", {"limit": limit})
    return [LimiterRow(*row) for row in rows]
