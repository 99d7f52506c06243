"""The small typed values that pass between the core and a connector."""

from __future__ import annotations

from typing import Any

import msgspec


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What the user typed or granted at login. Stored sealed; its `repr` shows no secret.

    `api_key` is the key itself, and `fields` are the other values of the manifest's login page. With OAuth there are
    `access_token`, `refresh_token` (empty if the CRM gave none), `issued_at` and `expires_at` (epoch ms, the latter
    None if the CRM did not say), and `fields` are the other values of the CRM's token answer.
    """

    api_key: str = ""
    access_token: str = ""
    refresh_token: str = ""
    issued_at: int | None = None
    expires_at: int | None = None
    fields: dict[str, Any] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        return "Credentials(…)"


class UserInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The user who has logged in, as the CRM says.

    `id` is the CRM's id of the user, `tenant` names the owner of the CRM's data (the organisation, the database): what
    one user of a tenant logs is logged for all of them, and nothing is ever shared between tenants. Both are texts of 1
    to 255 characters, or whole numbers. If the user says which host the CRM is at, the host tells tenants apart too,
    unless the connector `checks_host`. `timezone` is an IANA name; `timezone_offset` (hours, "-7", "-07:00") is used
    without one.
    """

    id: str | int
    name: str
    tenant: str | int
    timezone: str | None = None
    timezone_offset: str | float | None = None


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A person's record in the CRM.

    `additional_info` holds this contact's values for the manifest's custom fields under each field's `const`: for a
    selection a list of `{"const", "title"}`. `created_at` and `most_recent_activity_at` are ISO 8601 times: by them the
    client picks one of several contacts, if its user wants that. It shows `title`, `company` and `email`.
    """

    id: str
    name: str
    type: str = "contact"
    phone_number: str | None = None
    additional_info: dict[str, Any] | None = None
    created_at: str | None = None
    most_recent_activity_at: str | None = None
    title: str | None = None
    company: str | None = None
    email: str | None = None


class NewContact(msgspec.Struct, frozen=True, kw_only=True):
    """A contact to be created: the content of the client's form."""

    name: str
    phone_number: str
    type: str = ""
    additional_submission: dict[str, Any] | None = None
