"""What is kept only so long: text of what was not logged, the calls that failed, and, where wanted, what is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.storage.records.journal import LogState
from messagelog.storage.transactions.commands import Batch, Execute, Query
from messagelog.storage.transactions.mapping import key_from, key_params, log_from

if TYPE_CHECKING:
    from messagelog.storage.records.journal import LogKey
    from messagelog.storage.transactions.commands import Transaction


def find_logs_to_erase(age_ms: int, limit: int) -> Transaction[list[LogKey]]:
    """Conversation logs with text that nobody has worked on for so long. One may be named several times."""
    rows = yield Query("logs_to_erase", {"age_ms": age_ms, "limit": limit})
    return [key_from(row) for row in rows]


def erase_texts(key: LogKey, age_ms: int) -> Transaction[None]:
    """Erases the texts of a conversation log that are as old as that, and says so in the rows' reasons."""
    params = {**key_params(key), "age_ms": age_ms}
    yield Batch(Query("lock_log", key_params(key)), Execute("erase_rows", [params]))


def drop_old_attempts(age_ms: int, limit: int) -> Transaction[int]:
    """Forgets calls that failed so long ago; how many, at most `limit` at a time."""
    rows = yield Query("old_attempts", {"age_ms": age_ms, "limit": limit})
    yield Execute(
        "drop_attempt",
        [{"id": id_, "tenant": tenant, "platform": platform} for id_, tenant, platform in rows],
    )
    return len(rows)


def find_logs_to_drop(age_ms: int, limit: int) -> Transaction[list[LogKey]]:
    """Conversation logs that have been done for so long."""
    rows = yield Query("logs_to_drop", {"age_ms": age_ms, "limit": limit})
    return [key_from(row) for row in rows]


def drop_log(key: LogKey, age_ms: int) -> Transaction[bool]:
    """Forgets a conversation log with all that belongs to it, if it is still done, and has been for so long."""
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
