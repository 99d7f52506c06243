"""Deletes what is kept for a limited time: text that was not logged, failed calls and, if wanted, finished logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.storage.records.journal import LogState
from messagelog.storage.transactions.commands import Batch, Execute, Query
from messagelog.storage.transactions.mapping import key_from, key_params, log_from

if TYPE_CHECKING:
    from messagelog.storage.records.journal import LogKey
    from messagelog.storage.transactions.commands import Transaction


def find_logs_to_erase(age_ms: int, limit: int) -> Transaction[list[LogKey]]:
    """Return conversation logs with text whose rows have not changed for `age_ms`. One may be named several times."""
    rows = yield Query("logs_to_erase", {"age_ms": age_ms, "limit": limit})
    return [key_from(row) for row in rows]


def erase_texts(key: LogKey, age_ms: int) -> Transaction[None]:
    """Erase the texts of a conversation log that are older than `age_ms`, and say so in the rows' reasons."""
    params = {**key_params(key), "age_ms": age_ms}
    yield Batch(Query("lock_log", key_params(key)), Execute("erase_rows", [params]))


def drop_old_attempts(age_ms: int, limit: int) -> Transaction[int]:
    """Drop up to `limit` calls that failed longer than `age_ms` ago; return how many."""
    rows = yield Query("old_attempts", {"age_ms": age_ms, "limit": limit})
    yield Execute(
        "drop_attempt",
        [{"id": id_, "tenant": tenant, "platform": platform} for id_, tenant, platform in rows],
    )
    return len(rows)


def find_logs_to_drop(age_ms: int, limit: int) -> Transaction[list[LogKey]]:
    """Return conversation logs that have been done for `age_ms`."""
    rows = yield Query("logs_to_drop", {"age_ms": age_ms, "limit": limit})
    return [key_from(row) for row in rows]


def drop_log(key: LogKey, age_ms: int) -> Transaction[bool]:
    """Drop a conversation log with all that belongs to it, if it has been done for `age_ms`; return whether it was."""
    locked, held = yield Batch(Query("lock_log", key_params(key)), Query("rows_not_logged", key_params(key)))
    if not locked:
        return False
    log, now = log_from(key, locked[0][:-1]), locked[0][-1]
    done = log.due_at is None and log.state is LogState.OPEN and not log.shared and not held
    if not done or log.updated_at >= now - age_ms:
        return False
    params = [key_params(key)]
    yield Batch(
        Execute("drop_done_rows", params), Execute("drop_attempts", params), Execute("drop_done_log", params)
    )
    return True
