"""Which tenant a user belongs to: the CRM's name for it, and the host that says so.

Where users name the host of their CRM, anybody can run a host that says "tenant acme". So the host is part of who the
tenant is, unless the connector vouches for it. A tenant's name in the journal never changes: moving its CRM to another
host changes this record and nothing else.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from messagelog.connectors import Connector, ConnectorError, Rejected, UserInfo
from messagelog.connectors.hostname import host_of, normal_hostname
from messagelog.core.operators.accounts import Role
from messagelog.errors import MessagelogError
from messagelog.messages import BadRequest
from messagelog.storage import AuditEntry, TenantHost, TenantPlace, transactions

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.core.operators.accounts import Operator
    from messagelog.storage import Store

_BATCH: Final = 200
_LONGEST_ID: Final = 255
_NO_ID: Final = 10**_LONGEST_ID
_CONTROL: Final = frozenset(map(chr, (*range(32), *range(127, 160))))

_log = structlog.get_logger(__name__)


class TenantUnknown(MessagelogError):
    """There is no such tenant."""


class HostTaken(MessagelogError):
    """Another tenant is at this host: its name is the argument."""


class TenantMove(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The result of a move: the hosts before it, the host now, and the number of users who are called there."""

    before: tuple[str, ...]
    host: str
    users: int


class TenantPage(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts of tenants, in the order of the tenants' names. `next` asks for the next page; None after the last one."""

    tenants: list[TenantHost]
    next: str | None


class Identity(msgspec.Struct, frozen=True):
    """The tenant's name and the user's id at the CRM."""

    crm_tenant: str
    user_id: str


def identity_of(connector: Connector, info: UserInfo) -> Identity:
    """Return a user's identity by a connector's answer; log and raise `Rejected` if it cannot be used."""
    if not isinstance(info, UserInfo):
        raise _unusable(connector, f"expected a UserInfo of get_user_info, not {type(info).__name__}")
    if not isinstance(info.name, str):
        raise _unusable(connector, f"UserInfo.name: expected a text, not {type(info.name).__name__}")
    return Identity(_id(connector, "tenant", info.tenant), _id(connector, "id", info.id))


def has_many_hosts(connector: Connector) -> bool:
    """Return whether users say which host of the CRM is asked."""
    return type(connector).base_url_for is not Connector.base_url_for


def host_that_answers(connector: Connector, hostname: str) -> str:
    """Return the host at which a user of `hostname` signs in, as it tells tenants apart; empty if it does not.

    Raises the connector's errors, and `Rejected` if it names no host at all.
    """
    try:
        return _host(connector, hostname)
    except _NoHost:
        detail = "base_url_for: expected an http:// or https:// URL with a host (or declare checks_host)"
        raise _unusable(connector, detail) from None


class Tenants:
    """Finds the tenants of users who sign in, and moves them for operators."""

    def __init__(
        self, store: Store, *, random_text: Callable[[], str] = lambda: uuid.uuid4().hex[:12]
    ) -> None:
        self._store = store
        self._random_text = random_text

    async def tenant_of(self, connector: Connector, place: TenantPlace) -> str:
        """Return the tenant of a place, and record the place at its first sign-in."""
        known = await self._store.read(lambda: transactions.find_tenant(place))
        if known is not None:
            return known
        if before := [hostname for hostname, _ in await self._hostnames_before(connector, place)]:
            known = await self._store.write(lambda: transactions.join_tenant(place, before))
            if known is not None:
                return known
        # No other tenant can get such a name later: a name at a CRM says nothing of its host.
        shown = place.host.removeprefix("https://")
        tenant = f"{place.crm_tenant}@{shown}" if shown else place.crm_tenant
        spare = f"{tenant}~{self._random_text()}"
        return await self._store.write(lambda: transactions.keep_tenant(place, tenant, spare=spare))

    async def _hostnames_before(self, connector: Connector, place: TenantPlace) -> list[tuple[str, str]]:
        """Return the names of this host that users typed before hosts were recorded, each with its tenant."""
        found = []
        for hostname, tenant in await self._store.read(lambda: transactions.find_hostnames(place)):
            if place.host and hostname and normal_hostname(hostname) is None:
                continue  # a tenant without users, whose host is not known
            with suppress(Exception):  # the connector takes this host no longer
                if _host(connector, hostname) == place.host:
                    found.append((hostname, tenant))
        return found

    async def page(
        self,
        tenant: str | None = None,
        platform: str | None = None,
        *,
        after: str | None = None,
        limit: int = _BATCH,
    ) -> TenantPage:
        """Return hosts of tenants, of one tenant or platform or of all; `after` is the previous page's `next`.

        Raises `BadRequest` for an `after` that no page has had.
        """
        behind = _read_cursor(after)
        found = await self._store.read(
            lambda: transactions.list_tenants(tenant, platform, behind, limit=limit)
        )
        following = msgspec.json.encode(found[-1]).decode() if len(found) == limit else None
        return TenantPage(tenants=found, next=following)

    async def move(self, by: Operator, connector: Connector, tenant: str, hostname: str) -> TenantMove:
        """Record that a tenant's CRM is at this host and at no other; its users are called there from now on.

        Credentials and waiting work go there too. The act is recorded. Raises `RoleMissing`, `BadRequest` for a text
        that is no host name or that the connector does not take, `TenantUnknown`, and `HostTaken` if another tenant has
        the same name at that host.
        """
        by.needs(Role.ADMINISTER)
        name = normal_hostname(hostname)
        if name is None:
            raise BadRequest("hostname", "expected the name of a host, such as crm.example.com")
        try:
            host = host_that_answers(connector, name)
        except ConnectorError as error:
            problem = f"the connector {connector.name} does not take it ({error.detail or error.meaning})"
            raise BadRequest("hostname", problem) from error
        known = (await self.page(tenant, connector.name, limit=1)).tenants
        if not known:
            raise TenantUnknown
        place = TenantPlace(known[0].crm_tenant, connector.name, host)
        for _, other in await self._hostnames_before(connector, place):
            if other != tenant:
                raise HostTaken(other)
        entry = AuditEntry(by.name, "move_tenant", Role.ADMINISTER, tenant, connector.name, host or name)
        moved = await self._store.write(partial(transactions.move_tenant, place, tenant, name, entry))
        if moved.taken_by not in {None, tenant}:
            raise HostTaken(moved.taken_by)
        if not moved.hosts:
            raise TenantUnknown
        return TenantMove(before=moved.hosts, host=host, users=moved.users)


class _NoHost(MessagelogError):
    """A connector's base URL names no host."""


def _host(connector: Connector, hostname: str) -> str:
    if connector.checks_host or (connector.base_url and not has_many_hosts(connector)):
        return ""
    base_url = connector.base_url_for(hostname)
    try:
        return host_of(base_url)
    except ValueError:
        raise _NoHost from None


def _read_cursor(cursor: str | None) -> TenantHost | None:
    if cursor is None:
        return None
    try:
        place = msgspec.json.decode(cursor, type=TenantHost)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise BadRequest("after", "this is no page's next") from error
    if "\0" in f"{place.tenant}{place.platform}{place.host}{place.crm_tenant}":
        raise BadRequest("after", "this is no page's next")
    return place


def _id(connector: Connector, field: str, value: object) -> str:
    """Return an id as text; a number is an id too."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < _NO_ID else ""
    if not isinstance(value, str):
        detail = f"expected a text or a whole number, not {type(value).__name__}"
    elif not 0 < len(value) <= _LONGEST_ID:
        detail = f"expected 1 to {_LONGEST_ID} characters"
    elif not _CONTROL.isdisjoint(value) or any("\ud800" <= char <= "\udfff" for char in value):
        detail = "expected no control characters"  # nor half a character, which no database keeps
    else:
        return value
    raise _unusable(connector, f"UserInfo.{field}: {detail}")


def _unusable(connector: Connector, detail: str) -> Rejected:
    """Log why a connector's answer cannot be used, and return its error."""
    _log.error("connector_unusable", connector=connector.name, detail=detail)
    return Rejected(detail)
