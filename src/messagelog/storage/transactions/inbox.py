"""The inbox: rows in trouble, the calls that failed, and the transaction of a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from messagelog.storage.records.inbox import Cause, DecisionContext, InboxCount, InboxPlace, StaleDecision
from messagelog.storage.records.journal import Attempt, RowState
from messagelog.storage.transactions.audit import record_audit
from messagelog.storage.transactions.commands import Batch, Execute, Query
from messagelog.storage.transactions.mapping import (
    KEY_COLUMNS,
    key_from,
    key_params,
    log_from,
    log_params,
    row_from,
    storable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from messagelog.storage.records.audit import AuditEntry
    from messagelog.storage.records.inbox import Decide, Decision, InboxFilter, LogMove
    from messagelog.storage.records.journal import LogKey, LogRow, MessageRow, RowChange
    from messagelog.storage.transactions.commands import Params, Transaction

KEPT_ATTEMPTS: Final = 20
"""How many attempts are kept of each conversation log: the latest ones tell the cause."""

_AFTER_ALL: Final = 2**62


def attempt_commands(log: LogRow, attempt: Attempt | None) -> tuple[Execute, ...]:
    """Return the commands that record a failed call and drop the oldest ones; none if no call has failed."""
    if attempt is None:
        return ()
    params = {
        **key_params(log.key),
        "fence": log.fence,
        "id": attempt.id,
        "call": attempt.call,
        "error": attempt.error,
        "status": attempt.status,
        "reason": storable(attempt.reason),
        "body": attempt.body,
    }
    kept = {**key_params(log.key), "keep": KEPT_ATTEMPTS}
    return Execute("insert_attempt", [params]), Execute("trim_attempts", [kept])


def list_inbox(wanted: InboxFilter, after: InboxPlace | None, limit: int) -> Transaction[list[InboxPlace]]:
    """Return conversation logs with a row in trouble, the last changed first, from behind the place `after`."""
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
        rows = yield Query("inbox", {**params, "after_tenant": after.key.tenant if after else ""})
    else:
        rows = yield Query("inbox_of_tenant", {**params, "tenant": wanted.tenant})
    return [InboxPlace(key_from(row[:KEY_COLUMNS]), *row[KEY_COLUMNS:]) for row in rows]


def find_inbox_logs(keys: Sequence[LogKey]) -> Transaction[list[tuple[LogRow, list[InboxCount], int] | None]]:
    """Return these conversation logs, each with its rows counted by state, and the number of its attempts.

    None for one that is gone.
    """
    answers = yield Batch(
        *(
            Query(name, key_params(key))
            for key in keys
            for name in ("find_log", "inbox_log", "count_attempts")
        )
    )
    found: list[tuple[LogRow, list[InboxCount], int] | None] = []
    for key, logs, counts, attempts in zip(keys, answers[::3], answers[1::3], answers[2::3], strict=True):
        counted = [InboxCount(*count) for count in counts]
        found.append((log_from(key, logs[0]), counted, attempts[0][0]) if logs else None)
    return found


def count_causes(tenant: str | None, since: int) -> Transaction[list[Cause]]:
    """Return what is in trouble since a time (epoch ms), counted by tenant, platform, state and cause."""
    rows = yield Query("inbox_causes", {"tenant": tenant, "since": since})
    return [Cause(*row) for row in rows]


def count_inbox(wanted: InboxFilter) -> Transaction[int]:
    """Return how many conversation logs have a row in trouble."""
    rows = yield Query(
        "count_inbox",
        {
            "tenant": wanted.tenant,
            "platform": wanted.platform,
            "state": wanted.state,
            "cause": wanted.cause,
        },
    )
    return int(rows[0][0])


def find_unlogged_rows(key: LogKey) -> Transaction[list[MessageRow]]:
    """Return the rows of a conversation log that are not done, without their text, but with whether there is any."""
    return [row_from(values) for values in (yield Query("rows_not_logged", key_params(key)))]


def list_attempts(key: LogKey) -> Transaction[list[Attempt]]:
    """Return the failed calls of a conversation log, the last one first, their bodies sealed."""
    rows = yield Query("attempts_of_log", key_params(key))
    return [
        Attempt(call, error, status, reason, None if body is None else bytes(body), id_, fence, at)
        for fence, id_, at, call, error, status, reason, body in rows
    ]


def read_texts_audited(
    key: LogKey, look: Callable[[str], AuditEntry]
) -> Transaction[tuple[dict[str, bytes], dict[str, bytes]]]:
    """Return a conversation log's sealed texts by row id, and the CRM's sealed answers by attempt id.

    Record each look: `look` is given the id that the row is shown with, or the log's for all answers of the CRM.
    """
    texts, attempts = yield Batch(
        Query("texts_of_log", key_params(key)), Query("attempts_of_log", key_params(key))
    )
    bodies = {row[1]: bytes(row[-1]) for row in attempts if row[-1] is not None}
    looked_at = [key.display_id(id_) for id_, _ in texts] + [key.conversation_log_id] * bool(bodies)
    yield from record_audit([look(id_) for id_ in looked_at])
    return {id_: bytes(payload) for id_, payload in texts}, bodies


def apply_decision(
    key: LogKey, ids: Collection[str], decide: Decide, entry: AuditEntry, move: LogMove | None = None
) -> Transaction[Decision | None]:
    """Carry out a person's decision about a conversation log, and record it; return None if there is no such log.

    `ids` are the rows that the caller has locked by name, beside the log. Raises `StaleDecision` if the log has another
    one that is not done: the person has to look again. `move` is where the log may go, with all that belongs to it.
    """
    locked, held, counts = yield Batch(
        *(Query(name, key_params(key)) for name in ("lock_log", "rows_not_logged", "count_states"))
    )
    if not locked:
        return None
    rows = tuple(map(row_from, held))
    if any(row.id not in ids for row in rows):
        raise StaleDecision
    logged = dict(counts).get(RowState.LOGGED, 0)
    taken = move is not None and (yield from _is_taken(move.to, rows))
    decision = decide(DecisionContext(log_from(key, locked[0][:-1]), rows, logged, locked[0][-1], taken))
    if decision.refused is not None:
        return decision
    if move is not None and decision.log is not None and decision.log.key == move.to:
        yield from _move_log(key, decision.log, rows, move)
        key = move.to
    states = {row.id: row.state for row in rows}
    # In the order in which every request locks them.
    changes = sorted(decision.changes, key=lambda change: change.id)
    yield Batch(
        Execute("decide_row", [_decision_params(key, change, states[change.id]) for change in changes]),
        *([] if decision.log is None else [Execute("save_log", [log_params(decision.log)])]),
    )
    yield from record_audit([entry])
    return decision


def _is_taken(key: LogKey, rows: Sequence[MessageRow]) -> Transaction[bool]:
    """Return whether there is a log of this key already, or one of these rows in a log of its kind and contact."""
    logs, known = yield Batch(
        Query("find_log", key_params(key)),
        Query("find_rows", {**key_params(key), "ids": sorted(row.id for row in rows)}),
    )
    return bool(logs or known)


def _move_log(key: LogKey, log: LogRow, rows: Sequence[MessageRow], move: LogMove) -> Transaction[None]:
    """Give a log, its rows and its attempts their new key. Fails if another transaction takes the key meanwhile."""
    ids, sealed = yield Batch(Query("journal_id", {}), Query("texts_of_log", key_params(key)))
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
            "shown": log.key.display_id(row.id),
            "payload": move.reseal(row.id, bytes(texts[row.id])) if row.id in texts else None,
        }
        for row in sorted(rows, key=lambda row: row.id)
    ]
    of_log = [{**key_params(key), **to, "journal": ids[0][0]}]
    yield Batch(Execute("move_log", of_log), Execute("move_row", moving), Execute("move_attempts", of_log))


def _decision_params(key: LogKey, change: RowChange, was: str) -> Params:
    return {
        **key_params(key),
        "id": change.id,
        "was": was,
        "state": change.state,
        "reason": storable(change.reason),
        "third_party_log_id": change.third_party_log_id,
        "erase": change.erase,
    }
