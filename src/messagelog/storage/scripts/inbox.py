"""What people look at and decide about: rows in trouble, the calls that failed, and a decision's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from messagelog.storage.rows import Attempt, Cause, InboxCount, InboxPlace, RowState, Seen, Undecided
from messagelog.storage.scripts.asking import Do, Fetch, Together
from messagelog.storage.scripts.audit import record_audit
from messagelog.storage.scripts.values import (
    KEY_COLUMNS,
    key_from,
    key_params,
    log_from,
    log_params,
    readable,
    row_from,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from messagelog.storage.rows import (
        AuditEntry,
        Decision,
        InboxFilter,
        Judge,
        LogKey,
        LogRow,
        MessageRow,
        Move,
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
        "after_contact": after.key.group_contact_id if after else "",
        "after_shared": after.key.shared if after else False,
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
    return [InboxPlace(key_from(row[:KEY_COLUMNS]), *row[KEY_COLUMNS:]) for row in rows]


def inbox_logs(keys: Sequence[LogKey]) -> Script[list[tuple[LogRow, list[InboxCount], int] | None]]:
    """These conversation logs, each with its rows counted by state, and the number of its attempts.

    None for one that is gone.
    """
    answers = yield Together(
        *(
            Fetch(name, key_params(key))
            for key in keys
            for name in ("find_log", "inbox_log", "count_attempts")
        )
    )
    found: list[tuple[LogRow, list[InboxCount], int] | None] = []
    for key, logs, counts, attempts in zip(keys, answers[::3], answers[1::3], answers[2::3], strict=True):
        counted = [InboxCount(*count) for count in counts]
        found.append((log_from(key, logs[0]), counted, attempts[0][0]) if logs else None)
    return found


def inbox_causes(tenant: str | None, since: int) -> Script[list[Cause]]:
    """What is in trouble since a time (epoch ms), counted by tenant, platform, state and cause."""
    rows = yield Fetch("inbox_causes", {"tenant": tenant, "since": since})
    return [Cause(*row) for row in rows]


def count_inbox(wanted: InboxFilter) -> Script[int]:
    """How many conversation logs have a row in trouble."""
    rows = yield Fetch(
        "count_inbox",
        {
            "tenant": wanted.tenant,
            "platform": wanted.platform,
            "state": wanted.state,
            "cause": wanted.cause,
        },
    )
    return int(rows[0][0])


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

    Each look is recorded with it: `look` is given the id that the row is shown with, or the log's for all that the CRM
    answered.
    """
    texts, attempts = yield Together(
        Fetch("texts_of_log", key_params(key)), Fetch("attempts_of_log", key_params(key))
    )
    bodies = {row[1]: bytes(row[-1]) for row in attempts if row[-1] is not None}
    looked_at = [key.shown(id_) for id_, _ in texts] + [key.conversation_log_id] * bool(bodies)
    yield from record_audit([look(id_) for id_ in looked_at])
    return {id_: bytes(payload) for id_, payload in texts}, bodies


def decide(
    key: LogKey, ids: Collection[str], judge: Judge, entry: AuditEntry, move: Move | None = None
) -> Script[Decision | None]:
    """Carries out a person's decision about a conversation log, and records it; None when there is no such log.

    `ids` are the rows that the caller has locked by name, beside the log. When the log has another one that is not
    done, it has to look again: `Undecided`. `move` is where the log may go: all that belongs to it goes along.
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
    taken = move is not None and (yield from _taken(move.to, rows))
    decision = judge(Seen(log_from(key, locked[0][:-1]), rows, logged, locked[0][-1], taken))
    if decision.refused is not None:
        return decision
    if move is not None and decision.log is not None and decision.log.key == move.to:
        yield from _moved(key, decision.log, rows, move)
        key = move.to
    states = {row.id: row.state for row in rows}
    # In the order in which every request locks them.
    changes = sorted(decision.changes, key=lambda change: change.id)
    yield Together(
        Do("decide_row", [_decided(key, change, states[change.id]) for change in changes]),
        *([] if decision.log is None else [Do("save_log", [log_params(decision.log)])]),
    )
    yield from record_audit([entry])
    return decision


def _taken(key: LogKey, rows: Sequence[MessageRow]) -> Script[bool]:
    """Whether there is a log of this key already, or one of these rows in a log of its kind and contact."""
    logs, known = yield Together(
        Fetch("find_log", key_params(key)),
        Fetch("find_rows", {**key_params(key), "ids": sorted(row.id for row in rows)}),
    )
    return bool(logs or known)


def _moved(key: LogKey, log: LogRow, rows: Sequence[MessageRow], move: Move) -> Script[None]:
    """Gives a log its new key, and with it its rows and attempts. Whoever takes the key meanwhile makes it fail."""
    ids, sealed = yield Together(Fetch("journal_id", {}), Fetch("texts_of_log", key_params(key)))
    texts: dict[str, bytes] = dict(sealed)
    to = {
        "to": log.key.group_contact_id,
        "shown_log": log.key.conversation_log_id,
        "conversation": log.conversation_id,
    }
    moving = [
        {
            **key_params(key),
            **to,
            "id": row.id,
            "shown": log.key.shown(row.id),
            "payload": move.resealed(row.id, bytes(texts[row.id])) if row.id in texts else None,
        }
        for row in sorted(rows, key=lambda row: row.id)
    ]
    of_log = [{**key_params(key), **to, "journal": ids[0][0]}]
    yield Together(Do("move_log", of_log), Do("move_row", moving), Do("move_attempts", of_log))


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
