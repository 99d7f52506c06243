"""Activities of a contact: a subject, a body in a format, custom fields, and files."""

import sqlite3
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from messagelog.testing.demo_crm.contacts import number_of_contact
from messagelog.testing.demo_crm.records import Fields, View, count, from_text, iso, number_in, to_text, where
from messagelog.testing.demo_crm.wire import JsonObject, RefusedError

_T = TypeVar("_T")

Format = Literal["text/plain", "text/html", "text/markdown"]


class ActivityDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new activity, as callers send it."""

    contact_id: str
    subject: str
    body: str
    format: Format = "text/plain"
    fields: Fields = {}
    external_id: Annotated[str, msgspec.Meta(min_length=1)] | None = None


class ActivityChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of an activity; what callers leave out stays. `fields` are added to the present ones."""

    contact_id: str | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    body: str | UnsetType = UNSET
    format: Format | UnsetType = UNSET
    fields: Fields | UnsetType = UNSET


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text to be added to an activity's body."""

    text: str


# `creates` is counted after the insert: a creation whose external id exists uses no number.
_INSERT = """
  INSERT INTO activity (
    tenant, n,
    contact_n, subject, body, format, fields, external_id, created_by, created_at, updated_at
  ) VALUES (
    :tenant, 1 + coalesce((SELECT n FROM tally WHERE tenant = :tenant AND name = 'creates'), 0),
    :contact_n, :subject, :body, :format, :fields, :external_id, :user, :now, :now
  )
  ON CONFLICT (tenant, external_id) DO NOTHING
  RETURNING n
"""
_UPDATE = """
  UPDATE activity
  SET contact_n = :contact_n, subject = :subject, body = :body, format = :format, fields = :fields,
    updated_at = :now
  WHERE tenant = :tenant AND n = :n
"""
_OF_TENANT = """
  SELECT *, (
    SELECT json_group_array(json_object(
      'id', 'f-' || n, 'file_name', file_name, 'content_type', content_type, 'size', size
    ))
    FROM (
      SELECT n, file_name, content_type, size FROM file
      WHERE file.tenant = activity.tenant AND file.activity_n = activity.n ORDER BY n
    )
  ) AS attachments
  FROM activity
  WHERE tenant = ?
"""


def create_activity(view: View, draft: ActivityDraft) -> tuple[bool, JsonObject]:
    """Store an activity, and return True and it; or False and, unchanged, the one that has its external id.

    Raises RefusedError: 413 (too long), 422 (no such contact).
    """
    external_id = draft.external_id if view.switch.external_ids else None
    _check_length(view, draft.subject, draft.body)
    values = {
        "tenant": view.tenant,
        "contact_n": number_of_contact(view, draft.contact_id),
        "subject": draft.subject,
        "body": draft.body,
        "format": draft.format,
        "fields": to_text(draft.fields),
        "external_id": external_id,
        "user": view.user.id,
        "now": view.now,
    }
    created = view.connection.execute(_INSERT, values).fetchone()
    if created is None:
        count(view.connection, view.tenant, "upserts")
        return False, _to_json(_fetch_one(view, "external_id = ?", external_id))
    count(view.connection, view.tenant, "creates")
    return True, _to_json(_fetch_one(view, "n = ?", created["n"]))


def find_activities(
    view: View, *, activity_id: str | None, contact_id: str | None, external_id: str | None
) -> list[JsonObject]:
    """Return the activities that match all arguments, newest last. RefusedError (400) without external ids."""
    if external_id is not None and not view.switch.external_ids:
        raise RefusedError(400, "external ids are not supported")
    conditions, values = where(
        [
            ("n = ?", None if activity_id is None else number_in(activity_id, "a")),
            ("contact_n = ?", None if contact_id is None else number_in(contact_id, "c")),
            ("external_id = ?", external_id),
            ("created_at <= ?", None if external_id is None else view.searchable_until),
        ]
    )
    rows = view.connection.execute(f"{_OF_TENANT}{conditions} ORDER BY n", [view.tenant, *values])
    return [_to_json(row) for row in rows]


def get_activity(view: View, activity_id: str) -> JsonObject:
    """Return an activity; RefusedError (404) when the tenant has no such activity."""
    return _to_json(row_of_activity(view, activity_id))


def change_activity(view: View, activity_id: str, change: ActivityChange) -> JsonObject:
    """Change the given parts and return the activity. RefusedError: 404, 409 (append only), 413, 422."""
    row = row_of_activity(view, activity_id)
    if change == ActivityChange():
        return _to_json(row)
    subject = _value_or(change.subject, row["subject"])
    body = _value_or(change.body, row["body"])
    if change.subject is not UNSET or change.body is not UNSET:
        if view.switch.append_only:
            raise RefusedError(409, "activities can only be appended to", code="append_only")
        _check_length(view, subject, body)
    values = {
        "contact_n": number_of_contact(view, _value_or(change.contact_id, f"c-{row['contact_n']}")),
        "subject": subject,
        "body": body,
        "format": _value_or(change.format, row["format"]),
        "fields": to_text(from_text(row["fields"]) | _value_or(change.fields, {})),
    }
    return _store(view, row, values, "updates")


def append_entry(view: View, activity_id: str, entry: Entry) -> JsonObject:
    """Add a text to the body, on a new line or in HTML directly after the rest, and return the activity.

    Raises RefusedError: 404, 413.
    """
    row = row_of_activity(view, activity_id)
    between = "\n" if row["body"] and row["format"] != "text/html" else ""
    body = f"{row['body']}{between}{entry.text}"
    _check_length(view, row["subject"], body)
    kept = {key: row[key] for key in ("contact_n", "subject", "format", "fields")}
    return _store(view, row, kept | {"body": body}, "entries")


def delete_activity(view: View, activity_id: str) -> None:
    """Remove an activity and its files. RefusedError (404) when there is none."""
    row = row_of_activity(view, activity_id)
    view.connection.execute("DELETE FROM activity WHERE tenant = ? AND n = ?", (view.tenant, row["n"]))
    count(view.connection, view.tenant, "deletes")


def row_of_activity(view: View, activity_id: str) -> sqlite3.Row:
    """Return the activity's row; RefusedError (404) when the tenant has no such activity."""
    return _fetch_one(view, "n = ?", number_in(activity_id, "a"))


def _fetch_one(view: View, condition: str, value: object) -> sqlite3.Row:
    row: sqlite3.Row | None = view.connection.execute(
        f"{_OF_TENANT} AND {condition}", (view.tenant, value)
    ).fetchone()
    if row is None:
        raise RefusedError(404, "no such activity")
    return row


def _value_or(value: _T | UnsetType, otherwise: _T) -> _T:
    return otherwise if isinstance(value, UnsetType) else value


def _store(view: View, row: sqlite3.Row, values: JsonObject, tally: str) -> JsonObject:
    key = {"tenant": view.tenant, "n": row["n"], "now": view.now}
    view.connection.execute(_UPDATE, values | key)
    count(view.connection, view.tenant, tally)
    return _to_json(_fetch_one(view, "n = ?", row["n"]))


def _check_length(view: View, subject: str, body: str) -> None:
    limit = view.switch.body_limit
    if limit is not None and len(subject) + len(body) > limit:
        raise RefusedError(
            413, f"subject and body are longer than {limit} characters", code="body_limit", limit=limit
        )


def _to_json(row: sqlite3.Row) -> JsonObject:
    return {
        "id": f"a-{row['n']}",
        "contact_id": f"c-{row['contact_n']}",
        "subject": row["subject"],
        "body": row["body"],
        "format": row["format"],
        "fields": from_text(row["fields"]),
        "external_id": row["external_id"],
        "attachments": msgspec.json.decode(row["attachments"]),
        "created_by": row["created_by"],
        "created_at": iso(row["created_at"]),
        "updated_at": iso(row["updated_at"]),
    }
