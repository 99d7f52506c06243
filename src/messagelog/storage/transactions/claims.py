"""The transactions that move rows from state to state: accept a request, claim a log, record intent, save an outcome.

Each of them locks the conversation log's row first, so that the transactions of one log run one after the other. They
leave rows of other logs alone, except failed ones that a request brings again: these are locked too, in the order of
their ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from messagelog.storage.records.journal import (
    AcceptResult,
    Claim,
    ClaimLost,
    LogRow,
    LogState,
    MessageRow,
    RowChange,
    RowState,
    change_id,
)
from messagelog.storage.transactions.commands import Batch, Execute, Query
from messagelog.storage.transactions.inbox import attempt_commands
from messagelog.storage.transactions.mapping import (
    advance_params,
    change_params,
    key_params,
    log_from,
    log_params,
    new_log,
    new_log_params,
    replan_params,
    row_from,
    row_params,
    storable,
    twin_params,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from messagelog.storage.records.journal import (
        Attempt,
        LeasePolicy,
        LogKey,
        LogRequestWork,
        NewRow,
        Planner,
        SignInPause,
        Step,
        WaitingChange,
    )
    from messagelog.storage.transactions.commands import Params, Transaction

_PENDING = frozenset({RowState.PLANNED, RowState.CALLING, RowState.UNKNOWN, RowState.PARKED})
_MOST_ROWS_OF_A_CALL = 10_000
_MOMENT_MS = 5_000
_DELETED = "deleted: the activity that held it was deleted in the CRM"
_SIGN_IN = "sign_in:"
_INTERRUPTED = "interrupted: This server was interrupted."


def accept_request(work: LogRequestWork, planner: Planner, policy: LeasePolicy) -> Transaction[AcceptResult]:
    """Record what a request wants logged; claim the conversation log unless it is claimed already.

    A log that waits for longer than a moment because its CRM did not answer is claimed early: a request waits for it
    now, and the CRM may be back.
    Of two requests for one message, or for one new conversation log, the first to commit wins; the other finds its
    rows and joins. A log that belongs to another contact is left as it is. A message that is logged for the same
    contact in its other kind of log (a group's, or that of one correspondent) is the same message, and is left out.
    """
    ids = sorted({row.id for row in work.rows})
    locked, found, waiting, twins = yield Batch(
        Query("lock_log", key_params(work.key)),
        Query("find_rows", {**key_params(work.key), "ids": ids}),
        _waiting(work.key, policy),
        Query("twins", twin_params(work.key, work.contact_id, [] if work.key.shared else ids)),
    )
    known = {row.id: row for row in map(row_from, found)}
    left_out = frozenset(id_ for (id_,) in twins if id_ not in known)
    if left_out:
        work = replace(work, rows=tuple(row for row in work.rows if row.id not in left_out))
        if not work.rows:
            return AcceptResult(twins=left_out)
    if not locked:
        acceptance = yield from _accept_into_new(work, known, planner, policy)
    else:
        acceptance = yield from _accept_into_existing(work, known, locked[0], waiting, planner, policy)
    return replace(acceptance, twins=left_out)


def _accept_into_existing(  # noqa: PLR0917 - what the first look at the log has found
    work: LogRequestWork,
    known: Mapping[str, MessageRow],
    locked: Sequence[Any],
    waiting: Sequence[Sequence[Any]],
    planner: Planner,
    policy: LeasePolicy,
) -> Transaction[AcceptResult]:
    """Accept a request into a conversation log that exists and is locked until the transaction ends."""
    log, now = log_from(work.key, locked[:-1]), locked[-1]
    if log.contact_id != work.contact_id:
        if log.third_party_log_id or log.earlier or log.due_at is not None or log.state is LogState.PARKED:
            return AcceptResult(held_by=(log.contact_id, log.contact_name))
        log = _with_contact(log, work)
    rows = _rows_to_write(work, (yield from _select_rows(work, known)), log, known)
    made = tuple(row.id for row in rows.changes)
    early = _waits_for_crm(log, now, policy)
    free = log.state is LogState.OPEN and (log.due_at is None or log.due_at <= now or early)
    if not free or log.call is not None:
        yield Batch(*_row_commands(log, rows))
        if free:
            claim = yield from _claim_to_reconcile(log, now, policy, work.user_id, early=early)
            return AcceptResult(claim=claim, changes=made)
        due_ms = None if log.due_at is None or log.owner is not None else log.due_at - now
        return AcceptResult(due_ms=due_ms, changes=made)
    step = planner(log, _oldest([*map(row_from, waiting), *rows.all], policy.batch))
    begun = _without_claim(log) if step is None else _with_step(log, step, now, policy)
    yield Batch(*_row_commands(log, rows, step), Execute("save_log", [log_params(begun)]))
    return AcceptResult(claim=None if step is None else Claim(begun, step, early=early), changes=made)


def _accept_into_new(
    work: LogRequestWork, known: Mapping[str, MessageRow], planner: Planner, policy: LeasePolicy
) -> Transaction[AcceptResult]:
    """Accept a request into a new conversation log. If another transaction inserts it first, this one is repeated."""
    log = new_log(work, policy.journal)
    rows = _rows_to_write(work, (yield from _select_rows(work, known)), log, known)
    step = planner(log, _oldest(rows.all, policy.batch))
    begun = log if step is None else _with_step(log, step, 0, policy)
    yield Batch(Execute("insert_log", [new_log_params(begun)]), *_row_commands(log, rows, step))
    # The database sets the end of the claim.
    return AcceptResult(claim=None if step is None else Claim(replace(begun, due_at=None), step))


def claim_log(key: LogKey, planner: Planner, policy: LeasePolicy) -> Transaction[Claim | None]:
    """Claim a conversation log that is due; return None if there is nothing to do or it is claimed already."""
    locked, waiting = yield Batch(Query("lock_log", key_params(key)), _waiting(key, policy))
    if not locked:
        return None
    log, now = log_from(key, locked[0][:-1]), locked[0][-1]
    if log.due_at is None or log.due_at > now or log.state is LogState.PARKED:
        return None
    if log.call is not None:
        return (yield from _claim_to_reconcile(log, now, policy))
    return (yield from _begin_next_step(log, now, waiting, planner, policy))


def save_outcome(
    log: LogRow,
    changes: Sequence[RowChange],
    planner: Planner,
    policy: LeasePolicy,
    *,
    waiting: WaitingChange | None = None,
    recreated: Sequence[NewRow] | None = None,
    wait_ms: int | None = None,
    pause: SignInPause | None = None,
    attempt: Attempt | None = None,
    entry: tuple[str, bytes] | None = None,
    unsaid: Sequence[str] = (),
) -> Transaction[Claim | None]:
    """Record the outcome of a claim's call, and begin the next step or release the claim.

    `log` is the claimed row with its new values; its fencing number must still stand, else `ClaimLost`. `recreated` are
    rows to be planned again with new text, if they were logged in the activity that is gone; `waiting` is the
    new state of the rows that were planned before. With `wait_ms` the claim is released, and the log is due after that
    time; the claim of a parked log is released for good. `pause` says whose credentials were refused: if the user has
    others by now, nothing waits for them. It locks the user, so this needs a transaction of its own. `attempt` is the
    call, if it has failed. `entry` is a logged message's id, and the hash of the entry that a change has put
    in the place of its first one. `unsaid` are messages whose change has failed: unless they are logged, what was
    known of them is forgotten, so that it is told when it is sent again.
    """
    paused = pause is not None and (yield from _pause_user(log.key, pause))
    if pause is not None and not paused:
        changes, waiting, wait_ms = _without_pause(changes), None, None if wait_ms is None else 0
    whose = None if pause is None else pause.user_id
    # The changes are sent along with the question whether the claim stands: if it does not, they are undone.
    locked, planned = yield Batch(
        Query("lock_claim", key_params(log.key)),
        Execute("change_row", [change_params(log, change, whose) for change in changes]),
        *_change_waiting(log.key, waiting),
        *attempt_commands(log, attempt),
        *([] if entry is None else [_set_entry_hash(log.key, *entry)]),
        *(
            [Execute("forget_facts", [{**key_params(log.key), "id": id_} for id_ in unsaid])]
            if unsaid
            else []
        ),
        _waiting(log.key, policy),
    )
    held = _check_claim(log, locked)
    if recreated is not None:
        planned = yield from _replan_rows(log, held, recreated, policy)
    if log.state is LogState.PARKED:
        yield Execute("save_log", [log_params(_without_claim(log.without_call()))])
        return None
    if wait_ms is not None:
        # What only the user can reconcile waits for the sign-in, which makes it due. A call that was not reconciled yet
        # is due when the CRM's search shows what it has: a sign-in before that does not hurry it.
        due_at = None if paused and log.call is not None and log.probe_count else held.now + wait_ms
        yield Execute("save_log", [log_params(replace(log, owner=None, due_at=due_at))])
        return None
    return (yield from _begin_next_step(log.without_call(), held.now, planned, planner, policy))


def _replan_rows(
    log: LogRow, held: _ClaimedLog, rows: Sequence[NewRow], policy: LeasePolicy
) -> Transaction[Sequence[Sequence[Any]]]:
    """Plan rows of a deleted activity again, fail its others, and return the planned rows of the log."""
    user_id, gone = held.call_user or "", held.third_party_log_id
    replanned = [replan_params(log, row, user_id, gone) for row in sorted(rows, key=lambda row: row.id)]
    left = {**key_params(log.key), "gone": gone, "reason": _DELETED}
    planned: Sequence[Sequence[Any]]
    (planned,) = yield Batch(
        Execute("replan_gone", replanned), Execute("fail_gone", [left]), _waiting(log.key, policy)
    )
    return planned


def record_intent(
    log: LogRow, policy: LeasePolicy, back: Sequence[str] = (), payloads: Mapping[str, bytes] | None = None
) -> Transaction[None]:
    """Record, before a call is made, what is needed if its answer is lost; renew the lease.

    `back` are rows of the step that the call does not bring after all: they wait for the next one. `payloads` are the
    new sealed texts of rows of the step.
    """
    held = _check_claim(log, (yield Query("lock_claim", key_params(log.key))))
    due_at = held.now + policy.lease_ms + policy.settle_ms
    waiting = [change_params(log, RowChange(id_, RowState.PLANNED)) for id_ in back]
    place = key_params(log.key)
    told = [{**place, "id": id_, "payload": payload} for id_, payload in sorted((payloads or {}).items())]
    yield Batch(
        Execute("change_row", waiting),
        Execute("tell_row", told),
        Execute("save_log", [log_params(replace(log, due_at=due_at))]),
    )


# ------------------------------------------------------------------------------------------ the user


def _pause_user(key: LogKey, pause: SignInPause) -> Transaction[bool]:
    """Return whether the user has to sign in; record it if the refused credentials are still the stored ones."""
    params = {"tenant": key.tenant, "platform": key.platform, "id": pause.user_id}
    rows = yield Query("lock_user", params)
    if not rows:
        return True
    credentials, _, since, _ = rows[0]
    if credentials is None or since is not None:
        return True
    if credentials != pause.refused:
        return False
    yield Execute("pause_user", [params])
    return True


def _without_pause(changes: Sequence[RowChange]) -> list[RowChange]:
    """Return the changes without the wait for a sign-in, of a user who has signed in meanwhile."""
    return [
        RowChange(change.id, RowState.PLANNED) if change.state is RowState.WAITING else change
        for change in changes
    ]


# ------------------------------------------------------------------------------------------- the claim


class _ClaimedLog(NamedTuple):
    """What the database says of a claimed log, and the time."""

    call_user: str | None
    third_party_log_id: str | None
    now: int


def _check_claim(log: LogRow, locked: Sequence[Sequence[Any]]) -> _ClaimedLog:
    """Return what the database says of the claimed log; raise `ClaimLost` if the claim no longer holds."""
    if not locked:
        raise ClaimLost
    owner, fence, *held = locked[0]
    if fence != log.fence or owner != log.owner:
        raise ClaimLost
    return _ClaimedLog(*held)


def _begin_next_step(
    log: LogRow, now: int, waiting: Sequence[Sequence[Any]], planner: Planner, policy: LeasePolicy
) -> Transaction[Claim | None]:
    """Record the next step as being called; release the log if nothing waits."""
    step = planner(log, [row_from(values) for values in waiting])
    if step is None:
        yield Execute("save_log", [log_params(_without_claim(log))])
        return None
    begun = _with_step(log, step, now, policy)
    yield Batch(_mark_calling(log.key, step.ids), Execute("save_log", [log_params(begun)]))
    return Claim(begun, step)


def _waits_for_crm(log: LogRow, now: int, policy: LeasePolicy) -> bool:
    """Return whether a log waits, for longer than a moment, because its CRM did not answer; as `wake_waiting` does."""
    waits = log.owner is None and log.state is LogState.OPEN and log.due_at is not None
    if not waits or (log.due_at or 0) <= now + _MOMENT_MS:
        return False
    if log.call is not None and not log.probe_count and log.updated_at + policy.settle_ms > now:
        return False
    reason = log.reason or ""
    if reason.startswith(("rejected:", "fault:")):  # the CRM is there, and has answered
        return False
    return log.probe_count > 0 or not reason.startswith(("rate_limited:", "mistake:"))


def _claim_to_reconcile(
    log: LogRow, now: int, policy: LeasePolicy, user_id: str | None = None, *, early: bool = False
) -> Transaction[Claim]:
    """Claim a log to reconcile its earlier call, whose rows are calling or unknown.

    If the lease ran out, a process was interrupted. That is counted, so that it does not go on for ever, and it is the
    reason if no other is known. `user_id` is the user whose request claims the log.
    """
    if log.owner is not None:
        log = replace(log, attempt_count=log.attempt_count + 1, reason=log.reason or _INTERRUPTED)
    log = replace(log, owner=policy.owner, fence=log.fence + 1, due_at=now + policy.lease_ms)
    params = {**key_params(log.key), "limit": _MOST_ROWS_OF_A_CALL}
    calling, unknown, colleagues = yield Batch(
        Execute("save_log", [log_params(log)]),
        Query("rows_in_state", {**params, "state": RowState.CALLING}),
        Query("rows_in_state", {**params, "state": RowState.UNKNOWN}),
        Query("find_colleague", {**key_params(log.key), "user": log.call_user}),
    )
    colleague = colleagues[0][0] if colleagues else None
    if user_id not in {None, log.call_user}:
        colleague = user_id
    rows = tuple(map(row_from, (*calling, *unknown)))
    return Claim(log, None, reconcile=True, rows=rows, early=early, colleague=colleague)


def _with_step(log: LogRow, step: Step, now: int, policy: LeasePolicy) -> LogRow:
    return replace(
        log,
        reason=None,  # from here on it is about this call
        owner=policy.owner,
        fence=log.fence + 1,
        due_at=now + policy.lease_ms + policy.settle_ms,
        call=step.call,
        call_user=step.user_id,
        call_version=step.version,
        call_before=None,
    )


def _without_claim(log: LogRow) -> LogRow:
    return replace(log, owner=None, due_at=None)


def _with_contact(log: LogRow, work: LogRequestWork) -> LogRow:
    """Return a log that has not reached the CRM, with the request's contact and an external id of its own."""
    return replace(
        log,
        generation=log.generation + 1,
        contact_id=work.contact_id,
        contact_type=work.contact_type,
        contact_name=work.contact_name,
        text_settings=work.text_settings,
    )


# -------------------------------------------------------------------------------------------- its rows


def _waiting(key: LogKey, policy: LeasePolicy) -> Query:
    """Return the query for the oldest planned rows, as many as a step may need."""
    return Query("rows_in_state", {**key_params(key), "state": RowState.PLANNED, "limit": policy.batch})


def _oldest(rows: Iterable[MessageRow], limit: int) -> list[MessageRow]:
    """Return the oldest planned ones of these rows; of two with one id the later counts."""
    latest = {row.id: row for row in rows}
    planned = [row for row in latest.values() if row.state is RowState.PLANNED]
    return sorted(planned, key=lambda row: (row.sent_at, len(row.id), row.id))[:limit]


def _mark_calling(key: LogKey, ids: Iterable[str]) -> Execute:
    return Execute("call_rows", [{**key_params(key), "ids": list(ids)}])


def _set_entry_hash(key: LogKey, id_: str, entry_hash: bytes) -> Execute:
    return Execute("rehash_row", [{**key_params(key), "id": id_, "entry_hash": entry_hash}])


def _change_waiting(key: LogKey, waiting: WaitingChange | None) -> tuple[Execute, ...]:
    if waiting is None:
        return ()
    params = {"user": waiting.user_id, "state": waiting.state, "reason": storable(waiting.reason)}
    return (Execute("change_waiting", [{**key_params(key), **params}]),)


def _select_rows(work: LogRequestWork, known: Mapping[str, MessageRow]) -> Transaction[list[NewRow]]:
    """Return the request's rows in the order of their ids, without failed ones that a request for another log takes."""
    failed = {id_ for id_, row in known.items() if row.state is RowState.FAILED}
    if failed:
        params = {**key_params(work.key), "ids": sorted(failed)}
        failed.difference_update(id_ for (id_,) in (yield Query("lock_failed", params)))
    rows = {row.id: row for row in work.rows if row.id not in failed}
    return sorted(rows.values(), key=lambda row: row.id)


class _RowsToWrite(NamedTuple):
    """The rows that a request writes: new ones, those written `again`, and the changes of logged messages.

    `advanced` are the messages of the changes, with the facts that are known of them from now on.
    """

    fresh: list[MessageRow]
    again: list[MessageRow]
    changes: list[MessageRow]
    advanced: list[Params]

    @property
    def all(self) -> tuple[MessageRow, ...]:
        return (*self.fresh, *self.again, *self.changes)


def _rows_to_write(
    work: LogRequestWork, wanted: Iterable[NewRow], log: LogRow, known: Mapping[str, MessageRow]
) -> _RowsToWrite:
    """Return what is to be written: rows that are new, that failed or have a newer snapshot, or whose facts advanced.

    A shared thread has no changes, since its snapshot has all of it. What is in no CRM has none: it is sent with its
    newest text.
    """
    rows = _RowsToWrite([], [], [], [])
    state, reason = RowState.PLANNED, None
    if log.state is LogState.PARKED:  # who decides has to know that it was never sent
        state, reason = RowState.PARKED, f"behind: one before it is parked ({log.reason})"
    for row in wanted:
        old = known.get(row.id)
        if old is None:
            rows.fresh.append(_message_row(work, row, state, reason))
        elif _replaces_pending(old, row, log):
            rows.again.append(_newer_snapshot(work, row, old, log))
        elif _starts_again(old, row, log, work.user_id):
            rows.again.append(_message_row(work, row, state, reason))
        elif not _has_news(old, row, log):
            continue
        elif old.state is RowState.WAITING:
            newer = _message_row(work, row, old.state, old.reason)
            rows.again.append(replace(newer, user_id=old.user_id))
        else:
            number = old.changes + 1
            # It follows its message, whatever the outcome of that one.
            changed = replace(row, id=change_id(row.id, number), version=number, sent_at=old.sent_at)
            rows.changes.append(_message_row(work, changed, state, reason))
            rows.advanced.append(advance_params(log.key, old, row.facts))
    return rows


def _newer_snapshot(work: LogRequestWork, row: NewRow, old: MessageRow, log: LogRow) -> MessageRow:
    """Return the newer snapshot in the state of the older one. A call whose answer was lost stays its user's.

    Only that user can reconcile it, and their sign-in finds it by this row. If it was refused for the user's
    credentials, a colleague who brings a newer snapshot may reconcile it.
    """
    newer = _message_row(work, row, old.state, old.reason)
    stays = old.state is RowState.UNKNOWN and not (log.reason or "").startswith(_SIGN_IN)
    return replace(newer, user_id=old.user_id) if stays else newer


def _replaces_pending(old: MessageRow, row: NewRow, log: LogRow) -> bool:
    """Return whether a newer snapshot of a shared thread takes the place of one that is not done yet, in its state."""
    return _is_newer(row, log) and old.state in _PENDING and row.version > old.version


def _has_news(old: MessageRow, row: NewRow, log: LogRow) -> bool:
    """Return whether the request says something of a message of this log that was not known of it."""
    ours = old.client_log_id == log.key.client_log_id and not log.shared
    return ours and row.facts.advance(old.known_facts)


def _starts_again(old: MessageRow, row: NewRow, log: LogRow, user_id: str) -> bool:
    """Return whether a row is planned again: it has failed, its thread has changed, or it waits for a colleague."""
    if old.state is RowState.WAITING:
        return _taken_over(old, row, log, user_id)
    if not log.shared:
        return old.state is RowState.FAILED
    return _is_newer(row, log) and old.state not in _PENDING


def _taken_over(old: MessageRow, row: NewRow, log: LogRow, user_id: str) -> bool:
    """Return whether a row need not wait for its user to sign in: another user brings it, or a newer snapshot."""
    ours = old.client_log_id == log.key.client_log_id
    if not ours or row.version < old.version:
        return False
    return user_id != old.user_id or (log.shared and row.version > old.version)


def _is_newer(row: NewRow, log: LogRow) -> bool:
    """Return whether the CRM has only an older snapshot of a shared thread."""
    return log.shared and row.version > log.version


def _message_row(work: LogRequestWork, row: NewRow, state: RowState, reason: str | None) -> MessageRow:
    """Return a row to be written; the database sets its times."""
    return MessageRow(
        id=row.id,
        conversation_id=work.conversation_id,
        client_log_id=work.key.client_log_id,
        third_party_log_id=None,
        user_id=work.user_id,
        state=state,
        reason=reason,
        sent_at=row.sent_at,
        version=row.version,
        entry_hash=None,
        created_at=0,
        updated_at=0,
        payload=row.payload,
        facts=row.facts.told,
        facts_at=row.facts.at,
    )


def _row_commands(log: LogRow, rows: _RowsToWrite, step: Step | None = None) -> tuple[Execute, ...]:
    """Return the commands that write a request's rows, those of the step as being called already."""
    calling = set() if step is None else set(step.ids)

    def params(written: Iterable[MessageRow]) -> list[Params]:
        return [
            row_params(
                replace(row, state=RowState.CALLING, reason=None) if row.id in calling else row, log.key
            )
            for row in written
        ]

    planned = sorted(calling.difference(row.id for row in rows.all))
    return (
        Execute("insert_row", params((*rows.fresh, *rows.changes))),
        Execute("replan_row", params(rows.again)),
        *([_mark_calling(log.key, planned)] if planned else ()),
        Execute("advance_row", rows.advanced),
    )
