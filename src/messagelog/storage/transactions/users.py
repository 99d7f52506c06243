"""Reads and writes the users of connectors: their sessions, and the refreshes of their credentials."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from messagelog.storage.records.users import UserRow, UserSummary
from messagelog.storage.transactions.clock import is_held
from messagelog.storage.transactions.commands import Batch, Execute, Params, Query
from messagelog.storage.transactions.mapping import key_from
from messagelog.storage.transactions.tenants import check_tenant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from messagelog.storage.records.users import TenantPlace
    from messagelog.storage.transactions.commands import Transaction


def find_user(tenant: str, platform: str, id_: str) -> Transaction[UserRow | None]:
    """Return the user, or None."""
    rows = yield Query("find_user", _key(tenant, platform, id_))
    return UserRow(tenant, platform, id_, *rows[0]) if rows else None


def save_user(user: UserRow) -> Transaction[None]:
    """Write the user over what is stored; an existing session stays."""
    yield Execute("save_user", [_user_params(user)])


def refresh_user(user: UserRow) -> Transaction[None]:
    """Write the user's name and time zone; the credentials and all the rest stay as they are."""
    told = ("tenant", "platform", "id", "name", "timezone", "timezone_offset")
    params = _user_params(user)
    yield Execute("refresh_user", [{name: params[name] for name in told}])


def sign_in(user: UserRow, place: TenantPlace | None = None) -> Transaction[UserRow]:
    """Write the user as `save_user` does; return the row as stored, with the session that their tokens have to name.

    What has waited for the user goes on: its conversation logs are due now. Raises `TenantMoved`, and writes nothing,
    if `place`, where the user has signed in, is not the tenant's any more.
    """
    if place is not None:
        yield from check_tenant(place, user.tenant)
    yield from save_user(user)
    yield from _resume_user(_key(user.tenant, user.platform, user.id))
    found = yield from find_user(user.tenant, user.platform, user.id)
    if found is None:
        raise LookupError("a user who was written a moment ago is not there")
    return found


def sign_out(tenant: str, platform: str, id_: str, *, session_id: str) -> Transaction[UserRow | None]:
    """Drop the credentials, and end the session by giving it a new `session_id`; return the row as it was before."""
    key = _key(tenant, platform, id_)
    yield Query("lock_user", key)
    before = yield from find_user(tenant, platform, id_)
    yield Execute("sign_out", [{**key, "session_id": session_id}])
    return before


def list_users(
    tenant: str | None, after: UserSummary | None, *, limit: int
) -> Transaction[list[UserSummary]]:
    """Return the next users, of one tenant or of all, in the order of their ids."""
    rows = yield Query(
        "list_users",
        {
            "id": after.id if after else "",
            "after_tenant": after.tenant if after else "",
            "platform": after.platform if after else "",
            "tenant": tenant or "",
            "all_tenants": tenant is None,
            "limit": limit,
        },
    )
    return [
        UserSummary(tenant_, platform, id_, name, bool(connected), updated_at, hostname)
        for tenant_, platform, id_, name, connected, updated_at, hostname in rows
    ]


def end_sessions(keys: Sequence[tuple[str, str, str]], *, session_id: str, forget: bool) -> Transaction[int]:
    """End the sessions of users (tenant, platform, id), and `forget` their credentials; return of how many."""
    ended = yield Batch(
        *(
            Query("end_session", {**_key(*key), "session_id": session_id, "forget": forget})
            for key in sorted(keys, key=lambda key: (key[2], *key[:2]))
        )
    )
    return sum(len(rows) for rows in ended)


def claim_refresh(user: UserRow, *, owner: str, lease_ms: int) -> Transaction[bool]:
    """Claim the refresh of these credentials; return False if they have changed, or are claimed already."""
    key = _key(user.tenant, user.platform, user.id)
    rows = yield Query("lock_user", key)
    if not rows:
        return False
    credentials, until, _, now = rows[0]
    if credentials != user.credentials or (until is not None and is_held(until, now, lease_ms)):
        return False
    yield Execute("claim_refresh", [{**key, "owner": owner, "until": now + lease_ms}])
    return True


def save_credentials(user: UserRow, credentials: bytes | None, *, owner: str) -> Transaction[UserRow | None]:
    """Write the outcome of a claimed refresh and release the claim; return the row as stored.

    It holds other credentials if the claim was lost meanwhile: those count.
    """
    key = _key(user.tenant, user.platform, user.id)
    yield Execute("save_credentials", [{**key, "credentials": credentials, "owner": owner}])
    return (yield from find_user(user.tenant, user.platform, user.id))


def release_refresh(user: UserRow, *, owner: str) -> Transaction[None]:
    """Release the claim of a refresh that has failed."""
    yield Execute("release_refresh", [{**_key(user.tenant, user.platform, user.id), "owner": owner}])


def use_state(id_: str, expires_at: int) -> Transaction[bool]:
    """Use an OAuth state, which is valid until `expires_at` (epoch ms); return whether it is the first use."""
    rows = yield Batch(
        Execute("forget_states", [{}]), Query("use_state", {"id": id_, "expires_at": expires_at})
    )
    return bool(rows[0])


def _resume_user(key: Params) -> Transaction[None]:
    """Plan again what waits for this user, who is locked, and have what is unknown reconciled."""
    keys = sorted(key_from(row) for row in (yield Query("logs_of_user", key)))
    # In the order in which every transaction locks several; consecutive ones of one kind are one statement.
    logs = [
        {**key, "shared": shared, "group_contact": contact, "ids": [each.client_log_id for each in of_kind]}
        for (shared, contact), of_kind in groupby(keys, lambda each: (each.shared, each.group_contact_id))
    ]
    if logs:
        locking = (Query("lock_logs", each) for each in logs)
        yield Batch(*locking, Execute("resume_rows", logs), Execute("wake_logs", logs))


def _key(tenant: str, platform: str, id_: str) -> Params:
    return {"tenant": tenant, "platform": platform, "id": id_}


def _user_params(user: UserRow) -> Params:
    return {
        **_key(user.tenant, user.platform, user.id),
        "name": user.name,
        "hostname": user.hostname,
        "timezone": user.timezone,
        "timezone_offset": user.timezone_offset,
        "credentials": user.credentials,
        "session_id": user.session_id,
    }
