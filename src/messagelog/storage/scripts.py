"""The journal's transactions, written once for both databases.

A script is a generator: it yields statements and is sent their results. It never touches a driver, so one text of
each transaction runs in SQLite's writer thread and on an asynchronous PostgreSQL connection alike, and a script
that is run again after a deadlock starts from nothing. What a script is given it does not change.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from messagelog.storage.rows import (
    Acceptance,
    Claim,
    ClaimLost,
    LogKey,
    LogRow,
    LogState,
    LogSummary,
    LookUp,
    MessageRow,
    NewRow,
    NewWork,
    Planner,
    RowChange,
    RowReport,
    RowState,
    Terms,
    UserRow,
    WaitingChange,
)

Params = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask for a statement's rows, as tuples."""

    name: str
    params: Params


@dataclass(frozen=True, slots=True)
class Do:
    """Run a statement once for each set of parameters; the answer is how many rows were written."""

    name: str
    params: Sequence[Params]


T = TypeVar("T")
Script = Generator[Fetch | Do, Any, T]

_PENDING = frozenset({RowState.PLANNED, RowState.CALLING, RowState.UNKNOWN, RowState.PARKED})


# --------------------------------------------------------------------------------------------- reading


def look_up(key: LogKey, ids: Sequence[str]) -> Script[LookUp]:
    """What the journal knows of these message ids and of their conversation log, with one query."""
    rows = yield Fetch("look_up", {**_pk(key), "ids": ids})
    if rows and rows[0][0] is None:
        _, contact_id, contact_name, version, state, linked = rows[0]
        unlogged = frozenset(row[0] for row in rows[1:])
        return LookUp(unlogged, contact_id, contact_name, version, LogState(state), bool(linked))
    return LookUp(frozenset(row[0] for row in rows))


def report_rows(tenant: str, platform: str, ids: Sequence[str]) -> Script[list[RowReport]]:
    """The states of these rows; ids that the journal does not know are left out."""
    rows = yield Fetch("report_rows", {"tenant": tenant, "platform": platform, "ids": ids})
    return [RowReport(id_, RowState(state), reason, version) for id_, state, reason, version in rows]


def entries_of(log: LogRow) -> Script[list[tuple[int, bytes]]]:
    """Time and hash of every entry that the log's activity holds by the journal."""
    rows = yield Fetch("entries_of_activity", {**_pk(log.key), "third_party_log_id": log.third_party_log_id})
    return [(sent_at, bytes(entry_hash)) for sent_at, entry_hash in rows]


def linked_activities(log: LogRow) -> Script[frozenset[str]]:
    """The activities of the log's contact that belong to other conversation logs."""
    rows = yield Fetch("linked_activities", {**_pk(log.key), "contact_id": log.contact_id})
    return frozenset(row[0] for row in rows)


def due_logs(limit: int) -> Script[list[LogKey]]:
    """Conversation logs that somebody may take up now."""
    rows = yield Fetch("due_logs", {"limit": limit})
    return [LogKey(*row) for row in rows]


def next_due() -> Script[float | None]:
    """Seconds until the next conversation log is due (0 when one is), None when none waits."""
    rows = yield Fetch("next_due", {})
    due, now = rows[0]
    return None if due is None else max(0.0, (due - now) / 1000)


def list_logs(limit: int) -> Script[list[LogSummary]]:
    """Conversation logs of all tenants, the last changed first, with the number of rows in each state."""
    rows = yield Fetch("list_logs", {"limit": limit})
    summaries = []
    for row in rows:
        log = _log(LogKey(*row[:3]), row[3:])
        counts = yield Fetch("count_states", _pk(log.key))
        summaries.append(LogSummary(log, dict(counts)))
    return summaries


def show_logs(id_: str) -> Script[list[tuple[LogRow, list[MessageRow]]]]:
    """The conversation logs with this id, or that hold a message with this id, each with all its rows."""
    found = yield Fetch("logs_by_id", {"log": id_})
    if not found:
        holders = yield Fetch("logs_of_message", {"id": id_})
        for (log_id,) in holders:
            found += yield Fetch("logs_by_id", {"log": log_id})
    shown = []
    for row in found:
        log = _log(LogKey(*row[:3]), row[3:])
        rows = yield Fetch("rows_of_log", _pk(log.key))
        shown.append((log, [_row(values) for values in rows]))
    return shown


def find_user(tenant: str, platform: str, id_: str) -> Script[UserRow | None]:
    """The user, or None."""
    rows = yield Fetch("find_user", {"tenant": tenant, "platform": platform, "id": id_})
    return UserRow(tenant, platform, id_, *rows[0]) if rows else None


def save_user(user: UserRow) -> Script[None]:
    """Writes the user, over what was there."""
    yield Do("save_user", [_user_params(user)])


# -------------------------------------------------------------------------------------------- claiming


def accept(work: NewWork, planner: Planner, terms: Terms) -> Script[Acceptance]:
    """Journals what a request wants logged and, when nobody works on the conversation log, claims it.

    Of two requests for one message, or for one new conversation log, the first to commit wins; the other finds its
    rows there and joins. A log that belongs to another contact is left as it is.
    """
    log, now = yield from _opened(work)
    if log.contact_id != work.contact_id:
        if log.third_party_log_id or log.due_at is not None or log.state is LogState.PARKED:
            return Acceptance(held_by=(log.contact_id, log.contact_name))
        # Nothing of it has reached the CRM: the conversation may still go to another contact, under a key of its own.
        log = replace(log, generation=log.generation + 1, contact_id=work.contact_id,
                      contact_type=work.contact_type, contact_name=work.contact_name)  # fmt: skip
        yield Do("save_log", [_log_params(log)])
    yield from _planned(work, log)
    if log.state is LogState.PARKED or (log.due_at is not None and log.due_at > now):
        return Acceptance()
    return Acceptance(claim=(yield from _taken(log, now, planner, terms)))


def claim(key: LogKey, planner: Planner, terms: Terms) -> Script[Claim | None]:
    """Claims a conversation log that is due; None when there is nothing to do or somebody else has it."""
    rows = yield Fetch("lock_log", _pk(key))
    if not rows:
        return None
    log, now = _log(key, rows[0][:-1]), rows[0][-1]
    if log.due_at is None or log.due_at > now:
        return None
    return (yield from _taken(log, now, planner, terms))


def save(
    log: LogRow,
    changes: Sequence[RowChange],
    planner: Planner,
    terms: Terms,
    *,
    waiting: WaitingChange | None = None,
    anew: Sequence[NewRow] = (),
    wait_ms: int | None = None,
) -> Script[Claim | None]:
    """Journals what a claim's call came to, and begins the next step or lets the claim go.

    `log` is the claimed row with its new values; its fencing number must still stand, else `ClaimLost`. `anew` are
    rows to be planned again with new text, `waiting` is what becomes of those still planned. With `wait_ms` the
    claim is let go and taken up again after that time.
    """
    current, now = yield from _held(log)
    if log.shared:
        changes = yield from _unless_newer(log, current, changes)
    yield Do("change_row", [_change_params(log.key, change) for change in changes])
    if waiting:
        params = {"user": waiting.user_id, "state": waiting.state, "reason": waiting.reason}
        yield Do("change_waiting", [{**_pk(log.key), **params}])
    if anew:
        yield from _planned_anew(log, current, anew)
    if wait_ms is not None:
        yield Do("save_log", [_log_params(replace(log, owner=None, due_at=now + wait_ms))])
        return None
    taken = yield from _begun(log.without_call(), now, planner, terms)
    if taken is None:
        yield Do("save_log", [_log_params(replace(log.without_call(), owner=None, due_at=None))])
    return taken


def note(log: LogRow, terms: Terms) -> Script[None]:
    """Journals what the call under way will need if its answer is lost, before it leaves; renews the lease."""
    _, now = yield from _held(log)
    due_at = now + terms.lease_ms + terms.settle_ms
    yield Do("save_log", [_log_params(replace(log, due_at=due_at))])


def _held(log: LogRow) -> Script[tuple[LogRow, int]]:
    """The claimed log as the database has it, and the time; `ClaimLost` when the claim does not stand any more."""
    rows = yield Fetch("lock_log", _pk(log.key))
    current = _log(log.key, rows[0][:-1]) if rows else None
    if current is None or current.fence != log.fence or current.owner != log.owner:
        raise ClaimLost
    return current, rows[0][-1]


def _planned_anew(log: LogRow, current: LogRow, anew: Sequence[NewRow]) -> Script[None]:
    """Plans again those of the given rows that were logged in the activity that is gone."""
    ids = [row.id for row in anew]
    found = yield Fetch("find_rows", {"tenant": log.key.tenant, "platform": log.key.platform, "ids": ids})
    lost = {
        row.id
        for row in map(_row, found)
        if row.state is RowState.LOGGED and row.third_party_log_id == current.third_party_log_id
    }
    rows = [row for row in anew if row.id in lost]
    if rows:
        user_id = current.call_user or ""
        yield Do("replan_row", [_row_params(log, row, user_id, RowState.PLANNED) for row in rows])


def _opened(work: NewWork) -> Script[tuple[LogRow, int]]:
    """The conversation log of a request, locked; made when there is none."""
    pk = _pk(work.key)
    rows = yield Fetch("lock_log", pk)
    if not rows:
        params = {
            **pk,
            "conversation": work.conversation_id,
            "shared": work.shared,
            "contact_id": work.contact_id,
            "contact_type": work.contact_type,
            "contact_name": work.contact_name,
            "pins": work.pins,
            "blocks": b"",
        }
        yield Do("insert_log", [params])
        rows = yield Fetch("lock_log", pk)
    return _log(work.key, rows[0][:-1]), rows[0][-1]


def _planned(work: NewWork, log: LogRow) -> Script[None]:
    """Writes the request's rows that are new, failed before, or a newer snapshot, in sorted order."""
    ids = sorted(row.id for row in work.rows)
    found = yield Fetch("find_rows", {"tenant": work.key.tenant, "platform": work.key.platform, "ids": ids})
    known = {values[0]: _row(values) for values in found}
    fresh, again = [], []
    state = RowState.PARKED if log.state is LogState.PARKED else RowState.PLANNED
    for row in sorted(work.rows, key=lambda row: row.id):
        old = known.get(row.id)
        if old is None:
            fresh.append(_row_params(log, row, work.user_id, state, reason=log.reason))
            continue
        becomes = _state_again(old, row, log, state)
        if becomes is not None:
            reason = old.reason if becomes is RowState.PARKED else None
            again.append(_row_params(log, row, work.user_id, becomes, reason=reason))
    if fresh:
        yield Do("insert_row", fresh)
    if again:
        yield Do("replan_row", again)


def _state_again(old: MessageRow, row: NewRow, log: LogRow, state: RowState) -> RowState | None:
    """What a known row becomes when a request brings it again; None leaves it alone."""
    if not log.shared:
        return state if old.state is RowState.FAILED else None
    if row.version <= log.version or (old.state in _PENDING and row.version <= old.version):
        return None
    return old.state if old.state in _PENDING else state


def _taken(log: LogRow, now: int, planner: Planner, terms: Terms) -> Script[Claim | None]:
    """Claims a conversation log that is free: to find out about a call of before, or to begin the next step."""
    if log.call is None:
        taken = yield from _begun(log, now, planner, terms)
        if taken is None and log.due_at is not None:
            yield Do("save_log", [_log_params(replace(log, owner=None, due_at=None))])
        return taken
    log = replace(log, owner=terms.owner, fence=log.fence + 1, due_at=now + terms.lease_ms)
    yield Do("save_log", [_log_params(log)])
    rows: list[MessageRow] = []
    for state in (RowState.CALLING, RowState.UNKNOWN):
        found = yield Fetch("rows_in_state", {**_pk(log.key), "state": state, "limit": 10_000})
        rows += [_row(values) for values in found]
    return Claim(log, None, recover=True, rows=tuple(rows))


def _begun(log: LogRow, now: int, planner: Planner, terms: Terms) -> Script[Claim | None]:
    """Journals the next step as being called; None when nothing waits."""
    found = yield Fetch("rows_in_state", {**_pk(log.key), "state": RowState.PLANNED, "limit": terms.batch})
    step = planner(log, [_row(values) for values in found])
    if step is None:
        return None
    log = replace(
        log,
        owner=terms.owner,
        fence=log.fence + 1,
        due_at=now + terms.lease_ms + terms.settle_ms,
        call=step.call,
        call_user=step.user_id,
        call_version=step.version,
        call_before=None,
    )
    changes = [RowChange(id_, RowState.CALLING) for id_ in step.ids]
    yield Do("change_row", [_change_params(log.key, change) for change in changes])
    yield Do("save_log", [_log_params(log)])
    return Claim(log, step)


def _unless_newer(log: LogRow, current: LogRow, changes: Sequence[RowChange]) -> Script[list[RowChange]]:
    """A shared thread whose newer snapshot arrived during the call goes on waiting, with its text."""
    ids = [change.id for change in changes]
    found = yield Fetch("find_rows", {"tenant": log.key.tenant, "platform": log.key.platform, "ids": ids})
    newer = {values[0] for values in found if values[8] > current.call_version}
    done = {RowState.LOGGED, RowState.FAILED}
    return [
        replace(change, state=RowState.PLANNED, reason=None, erase=False)
        if change.id in newer and change.state in done
        else change
        for change in changes
    ]


# ---------------------------------------------------------------------------------- rows and parameters


def _pk(key: LogKey) -> Params:
    return {"tenant": key.tenant, "platform": key.platform, "log": key.conversation_log_id}


def _log(key: LogKey, values: Iterable[Any]) -> LogRow:
    log = LogRow(key, *values)
    log.state = LogState(log.state)
    log.shared = bool(log.shared)
    return log


def _row(values: Sequence[Any]) -> MessageRow:
    row = MessageRow(*values)
    return replace(row, state=RowState(row.state))


def _log_params(log: LogRow) -> Params:
    return {
        **_pk(log.key),
        "contact_id": log.contact_id,
        "contact_type": log.contact_type,
        "contact_name": log.contact_name,
        "pins": log.pins,
        "state": log.state,
        "reason": log.reason,
        "third_party_log_id": log.third_party_log_id,
        "generation": log.generation,
        "created_by": log.created_by,
        "version": log.version,
        "blocks": log.blocks,
        "owner": log.owner,
        "fence": log.fence,
        "due_at": log.due_at,
        "call": log.call,
        "call_user": log.call_user,
        "call_version": log.call_version,
        "call_before": log.call_before,
        "tries": log.tries,
        "asks": log.asks,
    }


def _row_params(
    log: LogRow, row: NewRow, user_id: str, state: RowState, *, reason: str | None = None
) -> Params:
    return {
        **_pk(log.key),
        "id": row.id,
        "conversation": log.conversation_id,
        "user": user_id,
        "state": state,
        "reason": reason,
        "sent_at": row.sent_at,
        "version": row.version,
        "payload": row.payload,
    }


def _change_params(key: LogKey, change: RowChange) -> Params:
    return {
        "tenant": key.tenant,
        "platform": key.platform,
        "id": change.id,
        "state": change.state,
        "reason": change.reason,
        "third_party_log_id": change.third_party_log_id,
        "entry_hash": change.entry_hash,
        "erase": change.erase,
    }


def _user_params(user: UserRow) -> Params:
    return {
        "tenant": user.tenant,
        "platform": user.platform,
        "id": user.id,
        "name": user.name,
        "hostname": user.hostname,
        "timezone": user.timezone,
        "timezone_offset": user.timezone_offset,
        "credentials": user.credentials,
    }
