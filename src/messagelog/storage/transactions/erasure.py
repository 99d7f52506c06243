"""Erases a user or a tenant, in many small transactions, while servers go on working.

Each conversation log is locked, as in every transaction that changes it. A claim is lost if its log is gone, or its
fence was raised: the outcome of its call is not written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from messagelog.storage.records.journal import ErasedInLog, LogState, RowKey
from messagelog.storage.records.users import ErasedAccounts
from messagelog.storage.transactions.audit import record_audit
from messagelog.storage.transactions.commands import Batch, Execute, Query
from messagelog.storage.transactions.mapping import key_from, key_params, log_from, log_params

if TYPE_CHECKING:
    from messagelog.storage.records.audit import AuditEntry
    from messagelog.storage.records.journal import LogKey, LogRow
    from messagelog.storage.transactions.commands import Params, Transaction

_ERASED: Final = "no_answer: its user was erased before anybody knew whether the CRM has it"


def erase_account(tenant: str, platform: str, id_: str, entry: AuditEntry) -> Transaction[ErasedAccounts]:
    """Drop a user's credentials, session and settings, and record it: no call begins in their name from now on."""
    key = {"tenant": tenant, "platform": platform, "id": id_}
    settings, users = yield Batch(Query("drop_settings_of_user", key), Query("drop_user", key))
    yield from record_audit([entry])
    return ErasedAccounts(users=len(users), settings=len(settings))


def walk_rows(after: RowKey, limit: int) -> Transaction[list[RowKey]]:
    """Return the next messages of all users, in the order of their keys."""
    rows = yield Query("walk_rows", {**key_params(after.log), "id": after.id, "limit": limit})
    return [RowKey(id_, key_from(key), user_id) for id_, *key, user_id in rows]


def walk_logs(after: LogKey, limit: int) -> Transaction[list[LogKey]]:
    """Return the next conversation logs of all tenants, in the order of their keys."""
    rows = yield Query("walk_logs", {**key_params(after), "limit": limit})
    return [key_from(row) for row in rows]


def erase_in_log(key: LogKey, user: str) -> Transaction[ErasedInLog]:
    """Erase what a user has in a conversation log. What a call under way brings for them has to wait for its end.

    What the CRM has stays logged. What waits is dropped. What may be in the CRM can no longer be reconciled: it is
    parked, and the log with it.
    """
    locked = yield Query("lock_log", key_params(key))
    if not locked:
        return ErasedInLog()
    log, now = log_from(key, locked[0][:-1]), locked[0][-1]
    theirs: Params = {**key_params(key), "user": user}
    calling = log.call is not None and log.call_user == user
    if calling and log.owner is not None and log.due_at is not None and log.due_at > now:
        dropped, unlinked = yield Batch(Query("drop_unsent_of_user", theirs), Query("unlink_user", theirs))
        return ErasedInLog(dropped=len(dropped), unlinked=len(unlinked), under_way=1)
    dropped, parked, unlinked = yield Batch(
        Execute("drop_attempts", [key_params(key)]),  # what the CRM answered may quote the text
        Query("drop_unsent_of_user", theirs),
        Query("park_of_user", {**theirs, "reason": _ERASED}),
        Query("unlink_user", theirs),
    )
    if calling:
        waiting = {**key_params(key), "state": LogState.PARKED, "reason": _ERASED, "user": None}
        yield Execute("change_waiting", [waiting])
    if calling or log.created_by == user:
        yield Execute("save_log", [log_params(_without_user(log, user, parked=calling))])
    return ErasedInLog(dropped=len(dropped), parked=len(parked), unlinked=len(unlinked))


def erase_log(key: LogKey) -> Transaction[ErasedInLog]:
    """Drop a conversation log with all its messages."""
    _, rows, _ = yield Batch(
        Query("lock_log", key_params(key)),
        Query("drop_rows_of_log", key_params(key)),
        Execute("drop_attempts", [key_params(key)]),
        Query("drop_log", key_params(key)),
    )
    return ErasedInLog(dropped=len(rows))


def erase_tenant(tenant: str, platform: str | None, entry: AuditEntry | None) -> Transaction[ErasedAccounts]:
    """Drop a tenant's users, settings, contacts and hosts (at one platform, or at all), and record it."""
    whose: Params = {"tenant": tenant, "platform": platform}
    users, contacts = yield Batch(
        Query("drop_users_of_tenant", whose),
        Execute("drop_user_settings_of_tenant", [whose]),
        Execute("drop_admin_settings_of_tenant", [whose]),
        Query("drop_contacts_of_tenant", whose),
        Execute("drop_new_contacts_of_tenant", [whose]),
        Execute("drop_paces_of_tenant", [whose]),
        Execute("drop_tenants_of_tenant", [whose]),
        Execute("blank_audit_of_tenant", [whose]),
    )
    if entry is not None:
        yield from record_audit([entry])
    return ErasedAccounts(users=len(users), contacts=len(contacts))


def _without_user(log: LogRow, user: str, *, parked: bool) -> LogRow:
    """Return the log without the erased user's name; `parked` if only that user could have reconciled its call."""
    log = replace(log, created_by=None if log.created_by == user else log.created_by)
    if not parked:
        return log
    return replace(
        log.without_call(),
        state=LogState.PARKED,
        reason=_ERASED,
        owner=None,
        due_at=None,
        fence=log.fence + 1,
    )
