"""Users, and the tenants that they belong to."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from messagelog.errors import MessagelogError


class UserRow(msgspec.Struct):
    """A user of a connector, with sealed credentials: None after a sign-out, or when the CRM has revoked them.

    `session_id` is what the user's session tokens have to hold. A sign-out changes it; users from before sessions could
    be ended have none. `sign_in_since` is when the CRM refused the credentials, which wait to be replaced.
    `crm_tenant` is what the CRM calls the tenant, None if that is not recorded: then it is the tenant's name.
    """

    tenant: str
    platform: str
    id: str
    name: str
    hostname: str
    timezone: str | None
    timezone_offset: str | None
    credentials: bytes | None
    session_id: str | None = None
    sign_in_since: int | None = None
    created_at: int = 0
    updated_at: int = 0
    crm_tenant: str | None = None


class TenantPlace(NamedTuple):
    """Where a tenant is: the CRM's name for it, the CRM, and the host that gives the name.

    `host` is the scheme, name and port as one text, and empty if any host of the connector's is trusted.
    """

    crm_tenant: str
    platform: str
    host: str


class TenantHost(msgspec.Struct, frozen=True, rename="camel"):
    """A host of a tenant, for lists. Without a scheme `host` is what users typed before hosts were recorded."""

    tenant: str
    platform: str
    host: str
    crm_tenant: str
    created_at: int


class TenantMoveResult(msgspec.Struct, frozen=True):
    """The result of a move of a tenant: the hosts that it had, and how many users are at another host now.

    `taken_by` is the tenant that is at the new host already: nothing was changed then.
    """

    hosts: tuple[str, ...] = ()
    users: int = 0
    taken_by: str | None = None


class TenantMoved(MessagelogError):
    """A tenant was moved to another host while a user signed in at the old one."""


class UserSummary(msgspec.Struct, frozen=True, rename="camel"):
    """A user, for lists; `connected` is whether there are credentials to call the CRM with."""

    tenant: str
    platform: str
    id: str
    name: str
    connected: bool
    updated_at: int
    hostname: str = ""


class ErasedAccounts(msgspec.Struct, frozen=True):
    """How many users were erased, and how much that belongs to them alone."""

    users: int = 0
    settings: int = 0
    contacts: int = 0
