"""Maps rows of the database to records and back: the one place that knows the order of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from messagelog.storage.records.journal import LogKey, LogRow, LogState, MessageRow, RowState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from messagelog.storage.records.journal import Facts, LogRequestWork, NewRow, RowChange
    from messagelog.storage.transactions.commands import Params

_DONE = frozenset({RowState.LOGGED, RowState.FAILED})


def key_params(key: LogKey) -> Params:
    """Return the parameters that find a conversation log and its rows."""
    return {
        "tenant": key.tenant,
        "platform": key.platform,
        "log": key.client_log_id,
        "shared": key.shared,
        "group_contact": key.group_contact_id,
    }


def twin_params(key: LogKey, contact_id: str, ids: Sequence[str]) -> Params:
    """Return the parameters that find messages in the same contact's other kind of log: group or conversation."""
    return {
        **key_params(key),
        "twin_group": "" if key.group_contact_id else contact_id,
        "contact_id": contact_id,
        "ids": ids,
    }


KEY_COLUMNS: Final = 5


def key_from(values: Sequence[Any]) -> LogKey:
    """Return the key of a conversation log, from its columns."""
    tenant, platform, client_log_id, shared, group_contact_id = values
    return LogKey(tenant, platform, client_log_id, bool(shared), group_contact_id)


def log_from(key: LogKey, values: Sequence[Any]) -> LogRow:
    """Return a conversation log, from the columns behind its key."""
    log = LogRow(key, *values)
    log.state = LogState(log.state)
    return log


def log_with_key_from(values: Sequence[Any]) -> LogRow:
    """Return a conversation log, from the columns of its key and those behind it."""
    return log_from(key_from(values[:KEY_COLUMNS]), values[KEY_COLUMNS:])


def row_from(values: Sequence[Any]) -> MessageRow:
    """Return a row of `messageLogs`."""
    *before, facts, facts_at, changes, payload = values
    id_, conversation_id, log_id, third_party_log_id, user_id, state, *others = before
    place = (id_, conversation_id, log_id, third_party_log_id, user_id, RowState(state))
    return MessageRow(*place, *others, payload, facts, facts_at, changes)  # type: ignore[call-arg] # of a known length


def new_log(work: LogRequestWork, journal: str) -> LogRow:
    """Return the conversation log of a request, when it is new to the journal with this id."""
    contact = (work.contact_id, work.contact_type, work.contact_name)
    return LogRow(work.key, work.conversation_id, *contact, work.text_settings, journal=journal)


def new_log_params(log: LogRow) -> Params:
    """Return a new conversation log as parameters; its `due_at` counts from the moment in which it is written."""
    return {
        **key_params(log.key),
        "shown_log": log.key.conversation_log_id,
        "conversation": log.conversation_id,
        "journal": log.journal,
        "contact_id": log.contact_id,
        "contact_type": log.contact_type,
        "contact_name": log.contact_name,
        "pins": log.text_settings,
        "blocks": log.blocks,
        "owner": log.owner,
        "fence": log.fence,
        "due_in": log.due_at,
        "call": log.call,
        "call_user": log.call_user,
        "call_version": log.call_version,
    }


def log_params(log: LogRow) -> Params:
    """Return all of a conversation log that may change, as parameters."""
    return {
        **key_params(log.key),
        "contact_id": log.contact_id,
        "contact_type": log.contact_type,
        "contact_name": log.contact_name,
        "pins": log.text_settings,
        "state": log.state,
        "reason": storable(log.reason),
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
        "tries": log.attempt_count,
        "asks": log.probe_count,
        "body_size": log.body_size,
        "earlier": log.earlier,
        "refusals": log.rejection_count,
    }


def row_params(row: MessageRow, key: LogKey) -> Params:
    """Return an accepted row in the conversation log of this key, as parameters."""
    return {
        **key_params(key),
        "id": row.id,
        "shown": key.display_id(row.id),
        "shown_log": key.conversation_log_id,
        "conversation": row.conversation_id,
        "user": row.user_id,
        "state": row.state,
        "reason": row.reason,
        "sent_at": row.sent_at,
        "version": row.version,
        "payload": row.payload,
        "facts": row.facts,
        "facts_at": row.facts_at,
    }


def replan_params(log: LogRow, row: NewRow, user_id: str, gone: str | None) -> Params:
    """Return a row as parameters, to be planned again if it was logged in the activity that is gone."""
    return {
        **key_params(log.key),
        "id": row.id,
        "user": user_id,
        "sent_at": row.sent_at,
        "version": row.version,
        "payload": row.payload,
        "facts": row.facts.told,
        "facts_at": row.facts.at,
        "gone": gone,
    }


def advance_params(key: LogKey, row: MessageRow, facts: Facts) -> Params:
    """Return newer facts of a message, which make its next change, as parameters."""
    return {
        **key_params(key),
        "id": row.id,
        "facts": facts.told,
        "facts_at": facts.at,
        "changes": row.changes + 1,
    }


def change_params(log: LogRow, change: RowChange, paused: str | None = None) -> Params:
    """Return a row's change after the call of `log`, as parameters; `paused` is a user who has to sign in after it."""
    return {
        **key_params(log.key),
        "id": change.id,
        "state": change.state,
        "done": change.state in _DONE,
        "call_version": log.call_version,
        "user": paused or log.call_user,
        "reason": storable(change.reason),
        "third_party_log_id": change.third_party_log_id,
        "entry_hash": change.entry_hash,
        "erase": change.erase,
    }


def storable(reason: str | None) -> str | None:
    """Return a reason that both databases take. It may quote a CRM, and half an emoji or a NUL cannot be stored.

    A claim whose outcome cannot be written would be worked on again for ever.
    """
    return reason and reason.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
