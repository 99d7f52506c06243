"""The record of what operators looked at and did, and the reading of text, which is never without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from messagelog.storage.rows import AuditEntry, AuditRow
from messagelog.storage.scripts.asking import Do, Fetch
from messagelog.storage.scripts.values import key_params, readable, row_from

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from messagelog.storage.rows import LogKey, MessageRow
    from messagelog.storage.scripts.asking import Script

T = TypeVar("T")


def record_audit(entries: Sequence[AuditEntry]) -> Script[None]:
    """Records what was looked at or done. As a part of another script, it stands or falls with what that does."""
    yield Do(
        "record_audit",
        [
            {
                "id": entry.id,
                "operator": entry.operator,
                "act": entry.act,
                "role": entry.role,
                "tenant": readable(entry.tenant),
                "platform": readable(entry.platform),
                "subject": readable(entry.subject),
            }
            for entry in entries
        ],
    )


def read_audit(since: int, limit: int, operator: str | None = None) -> Script[list[AuditRow]]:
    """What was recorded since a time (epoch ms), the newest first; of one operator, or of all."""
    params = {"since": since, "limit": limit}
    if operator is None:
        rows = yield Fetch("read_audit", params)
    else:
        rows = yield Fetch("read_audit_of", {**params, "operator": operator})
    return [AuditRow(*row) for row in rows]


def count_audit(since: int, operator: str | None = None) -> Script[int]:
    """How much was recorded since a time (epoch ms): of one operator, or of all."""
    rows = yield Fetch("count_audit", {"since": since, "operator": operator})
    return int(rows[0][0])


def look_at_rows(
    key: LogKey, ids: Sequence[str], look: Callable[[MessageRow], AuditEntry]
) -> Script[list[MessageRow]]:
    """Rows of a conversation log with their sealed text; a look at each that has some is recorded with it."""
    found = yield Fetch("sealed_rows", {**key_params(key), "ids": list(ids)})
    rows = [row_from(values) for values in found]
    yield from record_audit([look(row) for row in rows if row.payload is not None])
    return rows


def recorded(entry: AuditEntry, script: Script[T]) -> Script[T]:
    """A script, recorded in its own transaction; not where it comes to nothing (False, 0 or None)."""
    outcome = yield from script
    if outcome:
        yield from record_audit([entry])
    return outcome
