"""The transactions that move rows from state to state: accept, claim, save, note.

Whoever writes has locked the conversation log's row first, so that of all that happens to one log, one transaction
comes after the other. Rows of other logs are left alone, but for failed ones that a request brings again: they are
locked too, in the order of their ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from messagelog.storage.rows import (
    Acceptance,
    Claim,
    ClaimLost,
    LogRow,
    LogState,
    MessageRow,
    RowChange,
    RowState,
    change_id,
)
from messagelog.storage.scripts.asking import Do, Fetch, Together
from messagelog.storage.scripts.inbox import attempted
from messagelog.storage.scripts.values import (
    advance_params,
    anew_params,
    change_params,
    key_params,
    log_from,
    log_params,
    new_log,
    new_log_params,
    readable,
    row_from,
    row_params,
    twin_params,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from messagelog.storage.rows import (
        Attempt,
        LogKey,
        NewRow,
        NewWork,
        Pause,
        Planner,
        Step,
        Terms,
        WaitingChange,
    )
    from messagelog.storage.scripts.asking import Params, Script

_PENDING = frozenset({RowState.PLANNED, RowState.CALLING, RowState.UNKNOWN, RowState.PARKED})
_MOST_ROWS_OF_A_CALL = 10_000
_MOMENT_MS = 5_000
_DELETED = "deleted: the activity that held it was deleted in the CRM"
_SIGN_IN = "sign_in:"
_INTERRUPTED = "interrupted: This server was interrupted."


def accept(work: NewWork, planner: Planner, terms: Terms) -> Script[Acceptance]:
    """Journals what a request wants logged and, when nobody works on the conversation log, claims it.

    A log that waits because its CRM did not answer, for longer than a moment, is claimed early: somebody waits for it
    now, and the CRM may be back.
    Of two requests for one message, or for one new conversation log, the first to commit wins; the other finds its
    rows there and joins. A log that belongs to another contact is left as it is. A message that is logged for the same
    contact in its other kind of log, a group's or that of one to one, is the same message, and is left out.
    """
    ids = sorted({row.id for row in work.rows})
    locked, found, waiting, twins = yield Together(
        Fetch("lock_log", key_params(work.key)),
        Fetch("find_rows", {**key_params(work.key), "ids": ids}),
        _waiting(work.key, terms),
        Fetch("twins", twin_params(work.key, work.contact_id, [] if work.key.shared else ids)),
    )
    known = {row.id: row for row in map(row_from, found)}
    left_out = frozenset(id_ for (id_,) in twins if id_ not in known)
    if left_out:
        work = replace(work, rows=tuple(row for row in work.rows if row.id not in left_out))
        if not work.rows:
            return Acceptance(twins=left_out)
    if not locked:
        acceptance = yield from _accepted_first(work, known, planner, terms)
    else:
        acceptance = yield from _accepted_next(work, known, locked[0], waiting, planner, terms)
    return replace(acceptance, twins=left_out)


def _accepted_next(  # noqa: PLR0917 - what the first look at the log has found
    work: NewWork,
    known: Mapping[str, MessageRow],
    locked: Sequence[Any],
    waiting: Sequence[Sequence[Any]],
    planner: Planner,
    terms: Terms,
) -> Script[Acceptance]:
    """The same with a conversation log that is there, and is ours until the transaction ends."""
    log, now = log_from(work.key, locked[:-1]), locked[-1]
    if log.contact_id != work.contact_id:
        if log.third_party_log_id or log.earlier or log.due_at is not None or log.state is LogState.PARKED:
            return Acceptance(held_by=(log.contact_id, log.contact_name))
        log = _repointed(log, work)
    wanted = yield from _wanted(work, known)
    fresh, again = _accepted(work, wanted, log, known)
    changes, advanced = _changed(work, wanted, log, known)
    fresh += changes
    made = tuple(row.id for row in changes)
    early = _waits_for_crm(log, now, terms)
    free = log.state is LogState.OPEN and (log.due_at is None or log.due_at <= now or early)
    if not free or log.call is not None:
        yield Together(*_written(log, fresh, again), advanced)
        if free:
            claim = yield from _recovery(log, now, terms, work.user_id, early=early)
            return Acceptance(claim=claim, changes=made)
        due_ms = None if log.due_at is None or log.owner is not None else log.due_at - now
        return Acceptance(due_ms=due_ms, changes=made)
    step = planner(log, _oldest([*map(row_from, waiting), *fresh, *again], terms.batch))
    begun = _freed(log) if step is None else _begun(log, step, now, terms)
    yield Together(*_written(log, fresh, again, step), advanced, Do("save_log", [log_params(begun)]))
    return Acceptance(claim=None if step is None else Claim(begun, step, early=early), changes=made)


def _accepted_first(
    work: NewWork, known: Mapping[str, MessageRow], planner: Planner, terms: Terms
) -> Script[Acceptance]:
    """The same with a conversation log that is new. If somebody else makes it now, all of this is done once more."""
    log = new_log(work, terms.journal)
    fresh, again = _accepted(work, (yield from _wanted(work, known)), log, known)
    step = planner(log, _oldest([*fresh, *again], terms.batch))
    begun = log if step is None else _begun(log, step, 0, terms)
    yield Together(Do("insert_log", [new_log_params(begun)]), *_written(log, fresh, again, step))
    # When the claim ends the database knows.
    return Acceptance(claim=None if step is None else Claim(replace(begun, due_at=None), step))


def claim(key: LogKey, planner: Planner, terms: Terms) -> Script[Claim | None]:
    """Claims a conversation log that is due; None when there is nothing to do or somebody else has it."""
    locked, waiting = yield Together(Fetch("lock_log", key_params(key)), _waiting(key, terms))
    if not locked:
        return None
    log, now = log_from(key, locked[0][:-1]), locked[0][-1]
    if log.due_at is None or log.due_at > now or log.state is LogState.PARKED:
        return None
    if log.call is not None:
        return (yield from _recovery(log, now, terms))
    return (yield from _next(log, now, waiting, planner, terms))


def save(
    log: LogRow,
    changes: Sequence[RowChange],
    planner: Planner,
    terms: Terms,
    *,
    waiting: WaitingChange | None = None,
    anew: Sequence[NewRow] | None = None,
    wait_ms: int | None = None,
    pause: Pause | None = None,
    attempt: Attempt | None = None,
    entry: tuple[str, bytes] | None = None,
) -> Script[Claim | None]:
    """Journals what a claim's call came to, and begins the next step or lets the claim go.

    `log` is the claimed row with its new values; its fencing number must still stand, else `ClaimLost`. `anew` are
    rows to be planned again with new text, if they were logged in the activity that is gone; `waiting` is what
    becomes of the rows that were planned before. With `wait_ms` the claim is let go and taken up again after that
    time; a parked log is let go for good. `pause` says whose credentials were refused: if she has others by now,
    nothing waits for her. It locks the user, so such a `save` needs a transaction of its own. `attempt` is
    the call, when it came to nothing. `entry` is a logged message's id, and the hash of the entry that a change has put
    in the place of its first one.
    """
    paused = pause is not None and (yield from _paused(log.key, pause))
    if pause is not None and not paused:
        changes, waiting, wait_ms = _unpaused(changes), None, None if wait_ms is None else 0
    whose = None if pause is None else pause.user_id
    # The changes are sent along with the question whether the claim stands: if it does not, they are undone.
    locked, planned = yield Together(
        Fetch("lock_claim", key_params(log.key)),
        Do("change_row", [change_params(log, change, whose) for change in changes]),
        *_waiting_changed(log.key, waiting),
        *attempted(log, attempt),
        *([] if entry is None else [_rehashed(log.key, *entry)]),
        _waiting(log.key, terms),
    )
    held = _held(log, locked)
    if anew is not None:
        user_id, gone = held.call_user or "", held.third_party_log_id
        planned_anew = [anew_params(log, row, user_id, gone) for row in sorted(anew, key=lambda row: row.id)]
        left = {**key_params(log.key), "gone": gone, "reason": _DELETED}
        (planned,) = yield Together(
            Do("replan_gone", planned_anew), Do("fail_gone", [left]), _waiting(log.key, terms)
        )
    if log.state is LogState.PARKED:
        yield Do("save_log", [log_params(_freed(log.without_call()))])
        return None
    if wait_ms is not None:
        # What only the user can be asked about waits for the sign-in, which makes it due. A call of which nobody was
        # asked yet is due when the CRM's search shows what it has: a sign-in before that does not hurry it.
        due_at = None if paused and log.call is not None and log.asks else held.now + wait_ms
        yield Do("save_log", [log_params(replace(log, owner=None, due_at=due_at))])
        return None
    return (yield from _next(log.without_call(), held.now, planned, planner, terms))


def note(
    log: LogRow, terms: Terms, back: Sequence[str] = (), payloads: Mapping[str, bytes] | None = None
) -> Script[None]:
    """Journals what the call under way will need if its answer is lost, before it leaves; renews the lease.

    `back` are rows of the step that the call does not bring after all: they wait for the next one. `payloads` are what
    rows of the step are sealed with from now on.
    """
    held = _held(log, (yield Fetch("lock_claim", key_params(log.key))))
    due_at = held.now + terms.lease_ms + terms.settle_ms
    waiting = [change_params(log, RowChange(id_, RowState.PLANNED)) for id_ in back]
    place = key_params(log.key)
    told = [{**place, "id": id_, "payload": payload} for id_, payload in sorted((payloads or {}).items())]
    yield Together(
        Do("change_row", waiting),
        Do("tell_row", told),
        Do("save_log", [log_params(replace(log, due_at=due_at))]),
    )


# ------------------------------------------------------------------------------------------ the user


def _paused(key: LogKey, pause: Pause) -> Script[bool]:
    """Whether the user has to sign in: notes it, if the credentials that were refused are still hers."""
    params = {"tenant": key.tenant, "platform": key.platform, "id": pause.user_id}
    rows = yield Fetch("lock_user", params)
    if not rows:
        return True
    credentials, _, since, _ = rows[0]
    if credentials is None or since is not None:
        return True
    if credentials != pause.refused:
        return False
    yield Do("pause_user", [params])
    return True


def _unpaused(changes: Sequence[RowChange]) -> list[RowChange]:
    """The same, of a user who has signed in meanwhile."""
    return [
        RowChange(change.id, RowState.PLANNED) if change.state is RowState.WAITING else change
        for change in changes
    ]


# ------------------------------------------------------------------------------------------- the claim


class _Held(NamedTuple):
    """What the database says of a claimed log, and the time."""

    call_user: str | None
    third_party_log_id: str | None
    now: int


def _held(log: LogRow, locked: Sequence[Sequence[Any]]) -> _Held:
    """What the database says of the claimed log; `ClaimLost` when the claim does not stand any more."""
    if not locked:
        raise ClaimLost
    owner, fence, *held = locked[0]
    if fence != log.fence or owner != log.owner:
        raise ClaimLost
    return _Held(*held)


def _next(
    log: LogRow, now: int, waiting: Sequence[Sequence[Any]], planner: Planner, terms: Terms
) -> Script[Claim | None]:
    """Journals the next step as being called; lets the log go when nothing waits."""
    step = planner(log, [row_from(values) for values in waiting])
    if step is None:
        yield Do("save_log", [log_params(_freed(log))])
        return None
    begun = _begun(log, step, now, terms)
    yield Together(_called(log.key, step.ids), Do("save_log", [log_params(begun)]))
    return Claim(begun, step)


def _waits_for_crm(log: LogRow, now: int, terms: Terms) -> bool:
    """Whether a log waits, for longer than a moment, because its CRM did not answer; as in `wake_waiting`."""
    waits = log.owner is None and log.state is LogState.OPEN and log.due_at is not None
    if not waits or (log.due_at or 0) <= now + _MOMENT_MS:
        return False
    if log.call is not None and not log.asks and log.updated_at + terms.settle_ms > now:
        return False
    reason = log.reason or ""
    if reason.startswith(("rejected:", "fault:")):  # the CRM is there, and has said what it says
        return False
    return log.asks > 0 or not reason.startswith(("rate_limited:", "mistake:"))


def _recovery(
    log: LogRow, now: int, terms: Terms, user_id: str | None = None, *, early: bool = False
) -> Script[Claim]:
    """Claims a log to find out about a call of before, whose rows are calling or unknown.

    A lease that ran out was somebody's who was interrupted. That is counted, so that it does not go on for ever, and
    it is the reason where no other is known. `user_id` is the user whose request claims it.
    """
    if log.owner is not None:
        log = replace(log, tries=log.tries + 1, reason=log.reason or _INTERRUPTED)
    log = replace(log, owner=terms.owner, fence=log.fence + 1, due_at=now + terms.lease_ms)
    params = {**key_params(log.key), "limit": _MOST_ROWS_OF_A_CALL}
    calling, unknown, colleagues = yield Together(
        Do("save_log", [log_params(log)]),
        Fetch("rows_in_state", {**params, "state": RowState.CALLING}),
        Fetch("rows_in_state", {**params, "state": RowState.UNKNOWN}),
        Fetch("find_colleague", {**key_params(log.key), "user": log.call_user}),
    )
    colleague = colleagues[0][0] if colleagues else None
    if user_id not in {None, log.call_user}:
        colleague = user_id
    rows = tuple(map(row_from, (*calling, *unknown)))
    return Claim(log, None, recover=True, rows=rows, early=early, colleague=colleague)


def _begun(log: LogRow, step: Step, now: int, terms: Terms) -> LogRow:
    return replace(
        log,
        reason=None,  # from here on it says what became of this call
        owner=terms.owner,
        fence=log.fence + 1,
        due_at=now + terms.lease_ms + terms.settle_ms,
        call=step.call,
        call_user=step.user_id,
        call_version=step.version,
        call_before=None,
    )


def _freed(log: LogRow) -> LogRow:
    return replace(log, owner=None, due_at=None)


def _repointed(log: LogRow, work: NewWork) -> LogRow:
    """A log of which nothing has reached the CRM may still go to another contact, under a key of its own."""
    return replace(
        log,
        generation=log.generation + 1,
        contact_id=work.contact_id,
        contact_type=work.contact_type,
        contact_name=work.contact_name,
        pins=work.pins,
    )


# -------------------------------------------------------------------------------------------- its rows


def _waiting(key: LogKey, terms: Terms) -> Fetch:
    """Asks for the oldest planned rows, as many as a step may need."""
    return Fetch("rows_in_state", {**key_params(key), "state": RowState.PLANNED, "limit": terms.batch})


def _oldest(rows: Iterable[MessageRow], limit: int) -> list[MessageRow]:
    """The same of rows that are not all in the database yet; of two with one id the later counts."""
    latest = {row.id: row for row in rows}
    planned = [row for row in latest.values() if row.state is RowState.PLANNED]
    return sorted(planned, key=lambda row: (row.sent_at, len(row.id), row.id))[:limit]


def _called(key: LogKey, ids: Iterable[str]) -> Do:
    return Do("call_rows", [{**key_params(key), "ids": list(ids)}])


def _rehashed(key: LogKey, id_: str, entry_hash: bytes) -> Do:
    return Do("rehash_row", [{**key_params(key), "id": id_, "entry_hash": entry_hash}])


def _waiting_changed(key: LogKey, waiting: WaitingChange | None) -> tuple[Do, ...]:
    if waiting is None:
        return ()
    params = {"user": waiting.user_id, "state": waiting.state, "reason": readable(waiting.reason)}
    return (Do("change_waiting", [{**key_params(key), **params}]),)


def _wanted(work: NewWork, known: Mapping[str, MessageRow]) -> Script[list[NewRow]]:
    """The request's rows in the order of their ids, but for failed ones that a request for another log takes now."""
    failed = {id_ for id_, row in known.items() if row.state is RowState.FAILED}
    if failed:
        params = {**key_params(work.key), "ids": sorted(failed)}
        failed.difference_update(id_ for (id_,) in (yield Fetch("lock_failed", params)))
    rows = {row.id: row for row in work.rows if row.id not in failed}
    return sorted(rows.values(), key=lambda row: row.id)


def _accepted(
    work: NewWork, wanted: Iterable[NewRow], log: LogRow, known: Mapping[str, MessageRow]
) -> tuple[list[MessageRow], list[MessageRow]]:
    """The rows that are to be written: those that are new, and those that failed or have a newer snapshot."""
    fresh, again = [], []
    state, reason = RowState.PLANNED, None
    if log.state is LogState.PARKED:  # that it was never sent has to be known by whoever decides
        state, reason = RowState.PARKED, f"behind: one before it is parked ({log.reason})"
    for row in wanted:
        old = known.get(row.id)
        if old is None:
            fresh.append(_message_row(work, row, state, reason))
        elif _stays(old, row, log):
            again.append(_in_its_place(work, row, old, log))
        elif _starts_again(old, row, log, work.user_id):
            again.append(_message_row(work, row, state, reason))
    return fresh, again


def _changed(
    work: NewWork, wanted: Iterable[NewRow], log: LogRow, known: Mapping[str, MessageRow]
) -> tuple[list[MessageRow], Do]:
    """A row for each message of the log whose facts have advanced, and the statement that keeps the newer facts.

    Not for a thread, whose snapshot has all of it, nor for a message that failed, which is sent with its newest text.
    """
    changes, advanced = [], []
    for row in wanted:
        old = known.get(row.id)
        if old is None or log.shared or old.client_log_id != log.key.client_log_id:
            continue
        if old.state is RowState.FAILED or _starts_again(old, row, log, work.user_id):
            continue
        if row.facts.advance(old.known_facts):
            number = old.changes + 1
            # It follows its message, whatever becomes of that one.
            changed = replace(row, id=change_id(row.id, number), version=number, sent_at=old.sent_at)
            state, reason = RowState.PLANNED, None
            if log.state is LogState.PARKED:
                state, reason = RowState.PARKED, f"behind: one before it is parked ({log.reason})"
            changes.append(_message_row(work, changed, state, reason))
            advanced.append(advance_params(log.key, old, row.facts))
    return changes, Do("advance_row", advanced)


def _in_its_place(work: NewWork, row: NewRow, old: MessageRow, log: LogRow) -> MessageRow:
    """The newer snapshot in the state of the older. A call whose answer was lost stays its user's.

    Nobody else can be asked about it, and it is by this row that the user's sign-in finds it. About one that was
    refused for the user's credentials a colleague may ask, who brings a newer snapshot.
    """
    newer = _message_row(work, row, old.state, old.reason)
    stays = old.state is RowState.UNKNOWN and not (log.reason or "").startswith(_SIGN_IN)
    return replace(newer, user_id=old.user_id) if stays else newer


def _stays(old: MessageRow, row: NewRow, log: LogRow) -> bool:
    """Whether a newer snapshot of a shared thread takes the place of one that is not done yet, in its state."""
    return _newer(row, log) and old.state in _PENDING and row.version > old.version


def _starts_again(old: MessageRow, row: NewRow, log: LogRow, user_id: str) -> bool:
    """Whether a row that was done is to be done again: it had failed, or the thread has changed.

    So is one that waits for a colleague to sign in.
    """
    if old.state is RowState.WAITING:
        return _taken_over(old, row, log, user_id)
    if not log.shared:
        return old.state is RowState.FAILED
    return _newer(row, log) and old.state not in _PENDING


def _taken_over(old: MessageRow, row: NewRow, log: LogRow, user_id: str) -> bool:
    """Whether what waits for its user to sign in need not wait for her: somebody else brings it, or newer text."""
    ours = old.client_log_id == log.key.client_log_id
    if not ours or row.version < old.version:
        return False
    return user_id != old.user_id or (log.shared and row.version > old.version)


def _newer(row: NewRow, log: LogRow) -> bool:
    """Whether the CRM has only an older snapshot of a shared thread."""
    return log.shared and row.version > log.version


def _message_row(work: NewWork, row: NewRow, state: RowState, reason: str | None) -> MessageRow:
    """A row that is to be written; when, the database knows."""
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


def _written(
    log: LogRow, fresh: Sequence[MessageRow], again: Sequence[MessageRow], step: Step | None = None
) -> tuple[Do, ...]:
    """Writes a request's rows, those of the step as being called already."""
    calling = set() if step is None else set(step.ids)

    def params(rows: Iterable[MessageRow]) -> list[Params]:
        return [
            row_params(
                replace(row, state=RowState.CALLING, reason=None) if row.id in calling else row, log.key
            )
            for row in rows
        ]

    waited = sorted(calling.difference(row.id for row in (*fresh, *again)))
    return (
        Do("insert_row", params(fresh)),
        Do("replan_row", params(again)),
        *([_called(log.key, waited)] if waited else ()),
    )
