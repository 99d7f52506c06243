"""What is kept only so long: text of what was not logged, the calls that failed, and, where wanted, what is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.storage.rows import LogState
from messagelog.storage.scripts.asking import Do, Fetch, Together
from messagelog.storage.scripts.values import key_from, key_params, log_from

if TYPE_CHECKING:
    from messagelog.storage.rows import LogKey
    from messagelog.storage.scripts.asking import Script


def logs_to_erase(age_ms: int, limit: int) -> Script[list[LogKey]]:
    """Conversation logs with text that nobody has worked on for so long. One may be named several times."""
    rows = yield Fetch("logs_to_erase", {"age_ms": age_ms, "limit": limit})
    return [key_from(row) for row in rows]


def erase_texts(key: LogKey, age_ms: int) -> Script[None]:
    """Erases the texts of a conversation log that are as old as that, and says so in the rows' reasons."""
    params = {**key_params(key), "age_ms": age_ms}
    yield Together(Fetch("lock_log", key_params(key)), Do("erase_rows", [params]))


def drop_old_attempts(age_ms: int, limit: int) -> Script[int]:
    """Forgets calls that failed so long ago; how many, at most `limit` at a time."""
    rows = yield Fetch("old_attempts", {"age_ms": age_ms, "limit": limit})
    yield Do(
        "drop_attempt",
        [{"id": id_, "tenant": tenant, "platform": platform} for id_, tenant, platform in rows],
    )
    return len(rows)


def logs_to_drop(age_ms: int, limit: int) -> Script[list[LogKey]]:
    """Conversation logs that have been done for so long."""
    rows = yield Fetch("logs_to_drop", {"age_ms": age_ms, "limit": limit})
    return [key_from(row) for row in rows]


def drop_log(key: LogKey, age_ms: int) -> Script[bool]:
    """Forgets a conversation log with all that belongs to it, if it is still done, and has been for so long."""
    locked, held = yield Together(
        Fetch("lock_log", key_params(key)), Fetch("rows_not_logged", key_params(key))
    )
    if not locked:
        return False
    log, now = log_from(key, locked[0][:-1]), locked[0][-1]
    done = log.due_at is None and log.state is LogState.OPEN and not log.shared and not held
    if not done or log.updated_at >= now - age_ms:
        return False
    params = [key_params(key)]
    yield Together(Do("drop_done_rows", params), Do("drop_attempts", params), Do("drop_done_log", params))
    return True
