"""The contacts of the CRM."""

import sqlite3
from typing import Annotated, Literal

import msgspec

from messagelog.testing.demo_crm.records import Fields, View, count, from_text, iso, number_in, to_text, where
from messagelog.testing.demo_crm.wire import JsonObject, RefusedError


class ContactDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new contact, as callers send it. `fields` holds its custom fields, such as its options for `matter`."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    phone: str | None = None
    type: Literal["contact", "lead"] = "contact"
    fields: Fields = {}


_INSERT = """
  INSERT INTO contact (tenant, n, name, name_folded, type, phone, digits, fields, created_at)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
  RETURNING *
"""
_OF_TENANT = "SELECT * FROM contact WHERE tenant = ?"


def digits_of(phone: str) -> str:
    """Return a phone number's digits, which all its spellings have in common."""
    return "".join(character for character in phone if character.isascii() and character.isdigit())


def insert_contact(
    connection: sqlite3.Connection, tenant: str, draft: ContactDraft, created_at: float
) -> JsonObject:
    """Store a contact under the tenant's next number and return it as the API shows it."""
    phone = draft.phone or ""
    row = connection.execute(
        _INSERT,
        (
            tenant,
            count(connection, tenant, "contacts"),
            draft.name,
            draft.name.casefold(),
            draft.type,
            phone,
            digits_of(phone),
            to_text(draft.fields),
            created_at,
        ),
    ).fetchone()
    return _to_json(row)


def create_contact(view: View, draft: ContactDraft) -> JsonObject:
    """Store a contact for the caller's tenant."""
    return insert_contact(view.connection, view.tenant, draft, view.now)


def find_contacts(view: View, phone: str | None, name: str | None) -> list[JsonObject]:
    """Return the contacts with this phone number and this part of a name, oldest first; all without either.

    Numbers are compared by their digits, so that a `+` which became a blank on its way does no harm; no contact has a
    number without digits.
    """
    digits = None if phone is None else digits_of(phone)
    if digits == "":
        return []
    searched = phone is not None or name is not None
    conditions, values = where(
        [
            ("digits = ?", digits),
            ("instr(name_folded, ?) > 0", None if name is None else name.casefold()),
            ("created_at <= ?", view.searchable_until if searched else None),
        ]
    )
    rows = view.connection.execute(f"{_OF_TENANT}{conditions} ORDER BY n", [view.tenant, *values])
    return [_to_json(row) for row in rows]


def get_contact(view: View, contact_id: str) -> JsonObject:
    """Return a contact by its id; RefusedError (404) when the tenant has no such contact."""
    found = view.connection.execute(f"{_OF_TENANT} AND n = ?", (view.tenant, number_in(contact_id, "c")))
    row = found.fetchone()
    if row is None:
        raise RefusedError(404, "no such contact")
    return _to_json(row)


def number_of_contact(view: View, contact_id: str) -> int:
    """Return the number of an activity's contact; RefusedError (422) when there is no such contact."""
    number = number_in(contact_id, "c")
    if view.connection.execute(f"{_OF_TENANT} AND n = ?", (view.tenant, number)).fetchone() is None:
        raise RefusedError(422, f"contact_id: there is no contact {contact_id!r}")
    return number


def _to_json(row: sqlite3.Row) -> JsonObject:
    return {
        "id": f"c-{row['n']}",
        "name": row["name"],
        "type": row["type"],
        "phone": row["phone"],
        "created_at": iso(row["created_at"]),
        "fields": from_text(row["fields"]),
    }
