"""The audit record of what operators looked at and did, and the reading of text, which is always recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from messagelog.storage.records.audit import AuditEntry, AuditRow
from messagelog.storage.transactions.commands import Execute, Query
from messagelog.storage.transactions.mapping import key_params, row_from, storable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from messagelog.storage.records.journal import LogKey, MessageRow
    from messagelog.storage.transactions.commands import Transaction

T = TypeVar("T")


def record_audit(entries: Sequence[AuditEntry]) -> Transaction[None]:
    """Record what was looked at or done. As part of another transaction, it is committed with that, or not at all."""
    yield Execute(
        "record_audit",
        [
            {
                "id": entry.id,
                "operator": entry.operator,
                "act": entry.act,
                "role": entry.role,
                "tenant": storable(entry.tenant),
                "platform": storable(entry.platform),
                "subject": storable(entry.subject),
            }
            for entry in entries
        ],
    )


def read_audit(since: int, limit: int, operator: str | None = None) -> Transaction[list[AuditRow]]:
    """Return the entries since a time (epoch ms), the newest first; of one operator, or of all."""
    params = {"since": since, "limit": limit}
    if operator is None:
        rows = yield Query("read_audit", params)
    else:
        rows = yield Query("read_audit_of", {**params, "operator": operator})
    return [AuditRow(*row) for row in rows]


def count_audit(since: int, operator: str | None = None) -> Transaction[int]:
    """Return the number of entries since a time (epoch ms): of one operator, or of all."""
    rows = yield Query("count_audit", {"since": since, "operator": operator})
    return int(rows[0][0])


def read_rows_audited(
    key: LogKey, ids: Sequence[str], look: Callable[[MessageRow], AuditEntry]
) -> Transaction[list[MessageRow]]:
    """Return rows of a conversation log with their sealed text; record a look at each that has text."""
    found = yield Query("sealed_rows", {**key_params(key), "ids": list(ids)})
    rows = [row_from(values) for values in found]
    yield from record_audit([look(row) for row in rows if row.payload is not None])
    return rows


def run_audited(entry: AuditEntry, transaction: Transaction[T]) -> Transaction[T]:
    """Run a transaction and record it within itself, unless its value is False, 0 or None."""
    outcome = yield from transaction
    if outcome:
        yield from record_audit([entry])
    return outcome
