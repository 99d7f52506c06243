"""Reads and writes which tenant a CRM's users belong to, by the host that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.storage.records.users import TenantHost, TenantMoved, TenantMoveResult
from messagelog.storage.transactions.audit import record_audit
from messagelog.storage.transactions.commands import Batch, Execute, Query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from messagelog.storage.records.audit import AuditEntry
    from messagelog.storage.records.users import TenantPlace
    from messagelog.storage.transactions.commands import Params, Transaction


def find_tenant(place: TenantPlace) -> Transaction[str | None]:
    """Return the tenant of a place, None if no user of it has signed in."""
    rows = yield Query("find_tenant", _params(place))
    return rows[0][0] if rows else None


def find_hostnames(place: TenantPlace) -> Transaction[list[tuple[str, str]]]:
    """Return what users typed as the host of a CRM of this name before hosts were recorded, and of which tenant."""
    named = {"crm_tenant": place.crm_tenant, "platform": place.platform}
    return [(hostname, tenant) for hostname, tenant in (yield Query("hostnames_of_tenant", named))]


def keep_tenant(place: TenantPlace, tenant: str, *, spare: str) -> Transaction[str]:
    """Record a new tenant, called `spare` where another one has its name; return the tenant of the place.

    Another process may have been faster: what it recorded counts.
    """
    params = _params(place)
    if (yield Query("tenant_taken", {**params, "tenant": tenant})):
        tenant = spare
    yield Execute("add_tenant", [{**params, "tenant": tenant}])
    ((kept,),) = yield Query("find_tenant", params)
    return str(kept)


def join_tenant(place: TenantPlace, hostnames: Sequence[str]) -> Transaction[str | None]:
    """Record the host that these names stand for, which users had typed, in their place; return whose it is.

    None if the names are no longer recorded, since the tenant has moved, and no user of the place has signed in.
    """
    params = _params(place)
    dropped = yield Batch(*(Query("drop_hostname", {**params, "host": each}) for each in hostnames))
    tenants = [tenant for rows in dropped for (tenant,) in rows]
    if tenants:
        yield Execute("add_tenant", [{**params, "tenant": tenants[0]}])
    return (yield from find_tenant(place))


def check_tenant(place: TenantPlace, tenant: str) -> Transaction[None]:
    """Raise `TenantMoved` unless a place is still the tenant's. As part of another transaction, it holds to its end."""
    rows = yield Query("lock_tenant", _params(place))
    if not rows or rows[0][0] != tenant:
        raise TenantMoved


def list_tenants(
    tenant: str | None, platform: str | None, after: TenantHost | None, *, limit: int
) -> Transaction[list[TenantHost]]:
    """Return the next hosts of tenants, of one tenant and platform or of all, in the order of their names."""
    rows = yield Query(
        "list_tenants",
        {
            "after_tenant": after.tenant if after else "",
            "after_platform": after.platform if after else "",
            "after_crm_tenant": after.crm_tenant if after else "",
            "after_host": after.host if after else "",
            "tenant": tenant,
            "platform": platform,
            "limit": limit,
        },
    )
    return [TenantHost(*row) for row in rows]


def move_tenant(
    place: TenantPlace, tenant: str, hostname: str, entry: AuditEntry
) -> Transaction[TenantMoveResult]:
    """Leave a tenant one host, that of `place`, have its users called at `hostname`, and record it.

    Nothing is changed where another tenant is at that host (`taken_by`), or this one is unknown (no `hosts`).
    """
    whose: Params = {"tenant": tenant, "platform": place.platform}
    hosts = tuple(host for host, _ in (yield Query("hosts_of_tenant", whose)))
    there = yield Query("lock_tenant", _params(place))
    if not hosts or (there and there[0][0] != tenant):
        return TenantMoveResult(hosts=hosts, taken_by=there[0][0] if there else None)
    (users,) = yield Batch(
        Execute("drop_hosts_of_tenant", [whose]),
        Execute("add_tenant", [{**_params(place), "tenant": tenant}]),
        Query("move_users", {**whose, "hostname": hostname}),
    )
    yield from record_audit([entry])
    return TenantMoveResult(hosts=hosts, users=len(users))


def _params(place: TenantPlace) -> Params:
    return {"crm_tenant": place.crm_tenant, "platform": place.platform, "host": place.host}
