"""Exports all data about a contact as one value, for people who ask what is stored about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from messagelog.connectors import Contact
from messagelog.core.admin.audit import read_text_audited
from messagelog.core.contacts.phone_numbers import normalize_number
from messagelog.core.operators.accounts import Role
from messagelog.messages import BadRequest
from messagelog.storage import AuditEntry, transactions

if TYPE_CHECKING:
    from messagelog.core.operators.accounts import Operator
    from messagelog.storage import LogRow, MessageRow, Sealer, Store

EXPORT: str = "export"

_CONTACTS = msgspec.json.Decoder(list[Contact])


class ExportedMessage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message. `text` waits to be logged: None once the CRM has it. `sealed`: the text cannot be opened.

    Times are epoch milliseconds.
    """

    id: str
    state: str
    reason: str | None
    third_party_log_id: str | None
    user_id: str
    sent_at: int
    created_at: int
    updated_at: int
    text: dict[str, Any] | None
    sealed: bool


class ExportedLog(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A conversation log of the contact."""

    conversation_log_id: str
    conversation_id: str
    shared: bool
    contact_id: str
    contact_type: str
    contact_name: str
    state: str
    reason: str | None
    third_party_log_id: str | None
    created_by: str | None
    created_at: int
    updated_at: int
    messages: list[ExportedMessage]


class Export(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All data about a contact. `contacts` are the cached ones that the CRM named for the number."""

    tenant: str
    platform: str
    contacts: list[dict[str, Any]]
    conversation_logs: list[ExportedLog]


async def export_contact(
    store: Store,
    sealer: Sealer,
    operator: Operator,
    tenant: str,
    platform: str,
    *,
    contact_id: str | None = None,
    phone_number: str | None = None,
) -> Export:
    """Return all data about a contact, by its id in the CRM or by a number that contacts were found with.

    The export is recorded before anything is read, and each text as `read_text_audited` does it. Raises `RoleMissing`
    without the roles `administer` and `text`, `BadRequest` unless exactly one of id and number is given.
    """
    operator.needs(Role.ADMINISTER)
    operator.needs(Role.TEXT)
    if bool(contact_id) == bool(phone_number):
        raise BadRequest("id", "expected one of id and phone")
    number = normalize_number(phone_number or "")
    if phone_number and not number:
        raise BadRequest("phone", "expected a number with digits")
    # The number is personal data: the record only says that there was one.
    entry = AuditEntry(operator.name, EXPORT, Role.ADMINISTER, tenant, platform, contact_id or "by number")
    await store.write(lambda: transactions.record_audit([entry]))
    contacts = await _read_contacts(store, sealer, tenant, platform, number) if number else []
    ids = [contact_id] if contact_id else [contact.id for contact in contacts]
    logs: list[ExportedLog] = []
    for id_ in ids:
        found = await store.read(lambda id_=id_: transactions.find_logs_of_contact(tenant, platform, id_))  # type: ignore[misc] # the default binds the loop's value
        logs += [await _export_log(store, sealer, operator, log, rows) for log, rows in found]
    return Export(
        tenant=tenant,
        platform=platform,
        contacts=[msgspec.to_builtins(contact) for contact in contacts],
        conversation_logs=logs,
    )


async def _read_contacts(
    store: Store, sealer: Sealer, tenant: str, platform: str, number: str
) -> list[Contact]:
    """Return the contacts that the CRM named for the number; none if they are not cached any more."""
    found = await store.read(lambda: transactions.find_contacts(tenant, platform, number))
    if not found.contacts:
        return []
    return _CONTACTS.decode(sealer.open(found.contacts, "contacts", tenant, platform, number))


async def _export_log(
    store: Store, sealer: Sealer, operator: Operator, log: LogRow, rows: list[MessageRow]
) -> ExportedLog:
    ids = [row.id for row in rows]
    seen = await read_text_audited(store, sealer, operator, log.key, ids, act=EXPORT)
    messages = [
        ExportedMessage(
            id=log.key.display_id(each.row.id),
            state=each.row.state,
            reason=each.row.reason,
            third_party_log_id=each.row.third_party_log_id,
            user_id=each.row.user_id,
            sent_at=each.row.sent_at,
            created_at=each.row.created_at,
            updated_at=each.row.updated_at,
            text=None if each.payload is None else msgspec.to_builtins(each.payload),
            sealed=each.sealed,
        )
        for each in seen
    ]
    return ExportedLog(
        conversation_log_id=log.key.conversation_log_id,
        conversation_id=log.conversation_id,
        shared=log.shared,
        contact_id=log.contact_id,
        contact_type=log.contact_type,
        contact_name=log.contact_name,
        state=log.state,
        reason=log.reason,
        third_party_log_id=log.third_party_log_id,
        created_by=log.created_by,
        created_at=log.created_at,
        updated_at=log.updated_at,
        messages=messages,
    )
