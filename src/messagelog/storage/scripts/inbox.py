"""What people look at and decide about: rows in trouble, the calls that failed, and a decision's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from messagelog.storage.rows import Attempt, Cause, InboxCount, InboxPlace, LogKey, RowState, Seen, Undecided
from messagelog.storage.scripts.asking import Do, Fetch, Together
from messagelog.storage.scripts.audit import record_audit
from messagelog.storage.scripts.values import key_params, log_from, log_params, readable, row_from

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from messagelog.storage.rows import (
        AuditEntry,
        Decision,
        InboxFilter,
        Judge,
        LogRow,
        MessageRow,
        RowChange,
    )
    from messagelog.storage.scripts.asking import Params, Script

KEPT_ATTEMPTS: Final = 20
"""How many attempts are kept of each conversation log: what happened lately is what tells the cause."""

_AFTER_ALL: Final = 2**62


def attempted(log: LogRow, attempt: Attempt | None) -> tuple[Do, ...]:
    """Writes down that a claim's call came to nothing; nothing for one that did not. The oldest are dropped."""
    if attempt is None:
        return ()
    params = {
        **key_params(log.key),
        "fence": log.fence,
        "id": attempt.id,
        "call": attempt.call,
        "error": attempt.error,
        "status": attempt.status,
        "reason": readable(attempt.reason),
        "body": attempt.body,
    }
    kept = {**key_params(log.key), "keep": KEPT_ATTEMPTS}
    return Do("insert_attempt", [params]), Do("trim_attempts", [kept])


def inbox(wanted: InboxFilter, after: InboxPlace | None, limit: int) -> Script[list[InboxPlace]]:
    """Conversation logs with a row in trouble, the last changed first, from behind a place of the page before."""
    params: Params = {
        "at": after.at if after else _AFTER_ALL,
        "id": after.id if after else "",
        "after_platform": after.key.platform if after else "",
        "platform": wanted.platform,
        "state": wanted.state,
        "cause": wanted.cause,
        "limit": limit,
    }
    if wanted.tenant is None:
        rows = yield Fetch("inbox", {**params, "after_tenant": after.key.tenant if after else ""})
    else:
        rows = yield Fetch("inbox_of_tenant", {**params, "tenant": wanted.tenant})
    return [InboxPlace(LogKey(*row[:3]), *row[3:]) for row in rows]


def inbox_logs(keys: Sequence[LogKey]) -> Script[list[tuple[LogRow, list[InboxCount], int] | None]]:
    """These conversation logs, each with its rows counted by state, and the number of its attempts.

    None for one that is gone.
    """
    answers = yield Together(
        *(
            Fetch(name, key_params(key))
            for key in keys
            for name in ("logs_by_id", "inbox_log", "count_attempts")
        )
    )
    found: list[tuple[LogRow, list[InboxCount], int] | None] = []
    for key, logs, counts, attempts in zip(keys, answers[::3], answers[1::3], answers[2::3], strict=True):
        log = next((log_from(key, row[3:]) for row in logs if LogKey(*row[:3]) == key), None)
        counted = [InboxCount(*count) for count in counts]
        found.append(None if log is None else (log, counted, attempts[0][0]))
    return found


def inbox_causes(tenant: str | None, since: int) -> Script[list[Cause]]:
    """What is in trouble since a time (epoch ms), counted by tenant, platform, state and cause."""
    rows = yield Fetch("inbox_causes", {"tenant": tenant, "since": since})
    return [Cause(*row) for row in rows]


def rows_not_logged(key: LogKey) -> Script[list[MessageRow]]:
    """The rows of a conversation log that are not done. Their text is not read, but whether there is any."""
    return [row_from(values) for values in (yield Fetch("rows_not_logged", key_params(key)))]


def attempts_of(key: LogKey) -> Script[list[Attempt]]:
    """The calls of a conversation log that came to nothing, the last one first, their bodies sealed."""
    rows = yield Fetch("attempts_of_log", key_params(key))
    return [
        Attempt(call, error, status, reason, None if body is None else bytes(body), id_, fence, at)
        for fence, id_, at, call, error, status, reason, body in rows
    ]


def look_at_texts(
    key: LogKey, look: Callable[[str], AuditEntry]
) -> Script[tuple[dict[str, bytes], dict[str, bytes]]]:
    """The sealed texts that a conversation log still has, by row id, and what the CRM answered, by the attempt's id.

    Each look is recorded with it: `look` is given the id of the row, or of the log for all that the CRM answered.
    """
    texts, attempts = yield Together(
        Fetch("texts_of_log", key_params(key)), Fetch("attempts_of_log", key_params(key))
    )
    bodies = {row[1]: bytes(row[-1]) for row in attempts if row[-1] is not None}
    looked_at = [id_ for id_, _ in texts] + [key.conversation_log_id] * bool(bodies)
    yield from record_audit([look(id_) for id_ in looked_at])
    return {id_: bytes(payload) for id_, payload in texts}, bodies


def decide(key: LogKey, ids: Collection[str], judge: Judge, entry: AuditEntry) -> Script[Decision | None]:
    """Carries out a person's decision about a conversation log, and records it; None when there is no such log.

    `ids` are the rows that the caller has locked by name, beside the log. When the log has another one that is not
    done, it has to look again: `Undecided`.
    """
    locked, held, counts = yield Together(
        *(Fetch(name, key_params(key)) for name in ("lock_log", "rows_not_logged", "count_states"))
    )
    if not locked:
        return None
    rows = tuple(map(row_from, held))
    if any(row.id not in ids for row in rows):
        raise Undecided
    logged = dict(counts).get(RowState.LOGGED, 0)
    decision = judge(Seen(log_from(key, locked[0][:-1]), rows, logged, locked[0][-1]))
    if decision.refused is not None:
        return decision
    states = {row.id: row.state for row in rows}
    # In the order in which every request locks them.
    changes = sorted(decision.changes, key=lambda change: change.id)
    yield Together(
        Do("decide_row", [_decided(key, change, states[change.id]) for change in changes]),
        *([] if decision.log is None else [Do("save_log", [log_params(decision.log)])]),
    )
    yield from record_audit([entry])
    return decision


def _decided(key: LogKey, change: RowChange, was: str) -> Params:
    return {
        **key_params(key),
        "id": change.id,
        "was": was,
        "state": change.state,
        "reason": readable(change.reason),
        "third_party_log_id": change.third_party_log_id,
        "erase": change.erase,
    }
