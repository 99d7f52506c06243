"""The users of connectors: who they are, and their sessions at the CRM."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import time
import uuid
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakValueDictionary
from zoneinfo import ZoneInfo

import structlog
from cachetools import LRUCache

from messagelog.compose import pick_zone
from messagelog.connectors import (
    AuthExpired,
    Connector,
    ConnectorError,
    Credentials,
    CrmHttp,
    Session,
    Unavailable,
    UserInfo,
)
from messagelog.connectors.limits import CountingGate
from messagelog.core.errors import NotPrepared
from messagelog.core.rate_limits import call_context
from messagelog.core.rate_limits.registry import LimiterRegistry
from messagelog.core.users.oauth import OAuthClient, TokenEndpoint
from messagelog.core.users.tenants import Tenants, host_that_answers, identity_of
from messagelog.core.users.token_refresh import CredentialStore, TokenRefresher
from messagelog.storage import Sealer, Store, TenantPlace, UserRow, transactions
from messagelog.storage.records.users import TenantMoved

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import aiohttp

    from messagelog.connectors.limits import Gate
    from messagelog.storage.transactions import Transaction

T = TypeVar("T")

_log = structlog.get_logger(__name__)

_MOMENT_SECONDS: Final = 2.0
_MOST_CACHED: Final = 10_000
_LONGEST_TOKEN_REQUEST: Final = 10.0
_YOUNG_MS: Final = 60_000
_MOST_MOVES: Final = 3

_Key = tuple[str, str, str]

CALLS_OF_A_TENANT: Final = 32
"""How many requests of one tenant to its CRM are under way at once, in one process. A CRM that hangs holds up no more
than these, and no other tenant."""


@dataclass(frozen=True)
class User:
    """A signed-in user: what a session token stands for.

    `session_id` is the user's valid session. `connected` is False if there are no credentials, since the CRM has taken
    them back. `crm_tenant` is the CRM's name for the tenant.
    """

    tenant: str
    platform: str
    id: str
    name: str
    hostname: str
    timezone: str | None
    timezone_offset: str | None
    session_id: str = ""
    connected: bool = True
    crm_tenant: str = ""

    @cached_property
    def zone(self) -> str:
        """The user's IANA zone, else the CRM's offset as `UTC-07:00`, else `UTC`."""
        return pick_zone(self.timezone, self.timezone_offset)

    @cached_property
    def tzinfo(self) -> dt.tzinfo:
        """The zone as Python's time zone."""
        offset = re.fullmatch(r"UTC([+-])(\d\d):(\d\d)", self.zone)
        if offset is None:
            return ZoneInfo(self.zone)
        minutes = int(offset[2]) * 60 + int(offset[3])
        return dt.timezone(dt.timedelta(minutes=-minutes if offset[1] == "-" else minutes))


class SignInRequired(AuthExpired):
    """The user has no credentials that the CRM accepts; `refused` are the stored ones, sealed."""

    def __init__(self, detail: str, refused: bytes | None) -> None:
        super().__init__(detail)
        self.refused = refused
        self.wrote = False


@dataclass(frozen=True, slots=True)
class StoredSession(Session):
    """A session with credentials of the journal: `sealed`, as they were stored when it was opened."""

    sealed: bytes | None = field(default=None, repr=False)


@dataclass(slots=True)
class _CachedUser:
    """A user's row as it was read `at` (by the event loop's clock), with its user and session.

    `refresh_after` (epoch ms) is when the session's credentials are to be refreshed, None if never.
    """

    row: UserRow | None
    at: float
    user: User | None = None
    session: StoredSession | None = None
    refresh_after: float | None = None


class UserDirectory:
    """Finds users and opens their sessions at the CRM. Credentials are stored sealed, and refreshed before they end.

    A request reads the user's row. The calls that it leads to use a row that was read at most two seconds ago; changes
    by this process are seen at once. `clock` gives epoch seconds.
    """

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        client: aiohttp.ClientSession,
        *,
        call_timeout: float,
        oauth_clients: Mapping[str, OAuthClient] | None = None,
        limiters: LimiterRegistry | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._credential_store = CredentialStore(sealer)
        self._client = client
        self._call_timeout = call_timeout
        self._clock = clock
        self.limiters = limiters or LimiterRegistry(store, call_seconds=call_timeout)
        self._clients = oauth_clients or {}
        # With the waits around it, a refresh is done well within the time of a call.
        seconds = min(_LONGEST_TOKEN_REQUEST, call_timeout / 4)
        self._endpoint = TokenEndpoint(client, seconds=seconds, clock=clock)
        self._refresher = TokenRefresher(
            store, self._credential_store, self._endpoint, self._clients, seconds=seconds
        )
        self._tenants = Tenants(store)
        self._cache: LRUCache[_Key, _CachedUser] = LRUCache(_MOST_CACHED)
        # A tenant's semaphore lives for as long as a session of the tenant does.
        self._places: WeakValueDictionary[tuple[str, str], asyncio.Semaphore] = WeakValueDictionary()
        self._changes = 0

    async def find(self, tenant: str, platform: str, id_: str) -> User | None:
        """Return the user, or None if no such user has ever signed in."""
        cached = await self._read(tenant, platform, id_)
        if cached.user is None and cached.row is not None:
            cached.user = _user(cached.row)
        return cached.user

    # ----------------------------------------------------------------------------------- sign in and out

    async def sign_in(self, connector: Connector, credentials: Credentials, hostname: str) -> User:
        """Ask the CRM whose credentials these are, and store them. Raise the connector's errors."""
        host = host_that_answers(connector, hostname)
        counter = CountingGate()  # their tenant is known only from the answer
        candidate = Session(self._http(connector, credentials, hostname, counter), credentials, hostname)
        info = await connector.get_user_info(candidate)
        who = identity_of(connector, info)
        place = TenantPlace(who.crm_tenant, connector.name, host)
        for _ in range(_MOST_MOVES):
            tenant = await self._tenants.tenant_of(connector, place)
            row = UserRow(
                tenant,
                connector.name,
                who.user_id,
                info.name,
                hostname,
                info.timezone,
                _offset(info),
                self._credential_store.seal((tenant, connector.name, who.user_id), credentials),
                session_id=uuid.uuid4().hex,  # a session that is there already goes on
            )
            try:
                written = await self._write(partial(transactions.sign_in, row, place), _user(row))
            except TenantMoved:
                continue  # users who sign in at this host belong to another tenant now
            self.limiters.gate(connector, tenant).count_requests(counter.requests)
            return _user(written)
        raise Unavailable("the tenant is being moved")

    async def sign_in_with_code(
        self, connector: Connector, code: str, hostname: str, *, redirect_uri: str, verifier: str | None
    ) -> User:
        """Exchange a code of the CRM's authorization server for credentials, and sign in with them."""
        if connector.oauth is None:
            raise LookupError(f"the connector {connector.name} has no OAuth")
        credentials = await self._endpoint.exchange(
            connector.oauth,
            self._clients[connector.name],
            code=code,
            redirect_uri=redirect_uri,
            verifier=verifier,
        )
        return await self.sign_in(connector, credentials, hostname)

    async def sign_out(self, connector: Connector, user: User) -> Session | None:
        """End the user's session in every browser at once; return the session at the CRM, to be revoked there.

        Raises `AuthExpired`, with the session ended, if the stored credentials cannot be opened.
        """
        before = await self._write(
            partial(transactions.sign_out, user.tenant, user.platform, user.id, session_id=uuid.uuid4().hex),
            user,
        )
        if before is None or before.credentials is None:
            return None
        credentials = self._credential_store.open(before)
        gate = self.limiters.gate(connector, before.tenant)
        http = self._http(connector, credentials, before.hostname, gate)
        return Session(
            http, credentials, before.hostname, before.id, before.name, before.tenant, _crm_tenant(before)
        )

    async def revoke(self, connector: Connector, session: Session) -> None:
        """End a session's credentials at the CRM, if it can do that. Raise the connector's errors."""
        await self._refresher.revoke(connector, session.credentials)
        await connector.unauthorize(session)

    async def refresh_profile(self, connector: Connector, user: User, info: UserInfo) -> bool:
        """Store the name and time zone that the CRM says now; False, and nothing stored, if it names another user.

        Credentials stay as they are, since they may be being refreshed. Raises `Rejected` for an answer that names no
        user.
        """
        who = identity_of(connector, info)
        if (who.crm_tenant, who.user_id) != (user.crm_tenant, user.id):
            return False
        row = UserRow(
            user.tenant, user.platform, user.id, info.name, user.hostname, info.timezone, _offset(info), None
        )
        await self._write(partial(transactions.refresh_user, row), user)
        return True

    async def close(self) -> None:
        """Wait for the refreshes under way, so that no new credentials are lost."""
        await self._refresher.close()

    # ------------------------------------------------------------------------------------------ sessions

    async def session(self, connector: Connector, tenant: str, user_id: str) -> StoredSession:
        """Return a user's session at the CRM, with credentials that are good for a while.

        Raises `AuthExpired` if the user has signed out or has to sign in again, `Unavailable` if the credentials have
        ended and cannot be refreshed now, `NotPrepared` if the connector fails.
        """
        cached = self._cache.get((tenant, connector.name, user_id))
        if cached is None or asyncio.get_running_loop().time() - cached.at > _MOMENT_SECONDS:
            cached = await self._read(tenant, connector.name, user_id)
        session = self._open_session(connector, cached)
        if cached.refresh_after is None or self._clock() * 1000 < cached.refresh_after or cached.row is None:
            return session
        try:
            return self._open_session(connector, await self._refresh(connector, cached.row))
        except Unavailable:
            ends = session.credentials.expires_at
            if ends is None or ends <= self._clock() * 1000:
                raise
            return session  # it was to be refreshed before its end, so it is still good

    def invalidate(self, tenant: str, platform: str, user_id: str) -> None:
        """Have the user's row read again the next time: the user may have signed in elsewhere."""
        self._drop(tenant, platform, user_id)

    def _open_session(self, connector: Connector, cached: _CachedUser) -> StoredSession:
        """Return the session of a row, opened once for as long as the row stays the same."""
        if cached.session is None:
            row = cached.row
            if row is None or row.credentials is None:
                raise SignInRequired("signed out", None)
            if row.sign_in_since is not None:
                raise SignInRequired("the CRM has refused the sign-in before", row.credentials)
            try:
                credentials = self._credential_store.open(row)
            except AuthExpired as error:
                raise SignInRequired(error.detail, row.credentials) from error
            cached.session = self._session(connector, credentials, row)
            cached.refresh_after = _refresh_after(connector, credentials, self._clock() * 1000)
        return cached.session

    async def _refresh(self, connector: Connector, row: UserRow) -> _CachedUser:
        """Return the user with refreshed credentials. What was cached is dropped, unless nothing changed."""
        try:
            refreshed = await self._refresher.refresh(connector, row)
        except AuthExpired:
            self._drop(row.tenant, row.platform, row.id)
            raise
        self._drop(row.tenant, row.platform, row.id)
        return _CachedUser(refreshed, asyncio.get_running_loop().time())

    async def _renew_headers(
        self, connector: Connector, row: UserRow, credentials: Credentials
    ) -> Mapping[str, str]:
        """Return other headers after the CRM has refused these credentials; raise `AuthExpired` if there are none.

        Credentials that cannot be refreshed stay, unless they have ended. New ones are not refreshed again: a CRM that
        accepts none would be asked for more at every call.
        """
        now = self._clock() * 1000
        ended = credentials.expires_at is not None and credentials.expires_at <= now
        young = abs(now - (credentials.issued_at or 0)) < _YOUNG_MS
        if not ended and (young or not credentials.refresh_token):
            raise AuthExpired("HTTP 401", status=401)
        cached = await self._refresh(connector, row)
        if cached.row is not None and cached.row.hostname != row.hostname:
            # The host of this session must not see credentials for another host.
            raise Unavailable("the user's CRM is at another host now")
        return connector.auth_headers(self._open_session(connector, cached).credentials)

    def _session(self, connector: Connector, credentials: Credentials, row: UserRow) -> StoredSession:
        renewed = (
            None if connector.oauth is None else partial(self._renew_headers, connector, row, credentials)
        )
        try:
            gate = self.limiters.gate(connector, row.tenant)
            places = self._places.get((row.tenant, row.platform))
            if places is None:
                self._places[row.tenant, row.platform] = places = asyncio.Semaphore(CALLS_OF_A_TENANT)
            http = self._http(connector, credentials, row.hostname, gate, renewed, places=places)
        except AuthExpired as error:
            raise SignInRequired(error.detail, row.credentials) from error
        except ConnectorError:
            raise
        except Exception as error:
            _log.error("connector_failed", connector=connector.name, error=type(error).__name__)
            raise NotPrepared(f"the connector {connector.name} raised {type(error).__name__}") from error
        return StoredSession(
            http,
            credentials,
            row.hostname,
            row.id,
            row.name,
            row.tenant,
            _crm_tenant(row),
            sealed=row.credentials,
        )

    def _http(
        self,
        connector: Connector,
        credentials: Credentials,
        hostname: str,
        gate: Gate,
        renewed: Callable[[], Awaitable[Mapping[str, str]]] | None = None,
        *,
        places: asyncio.Semaphore | None = None,
    ) -> CrmHttp:
        return CrmHttp(
            self._client,
            connector.base_url_for(hostname),
            headers=connector.auth_headers(credentials),
            call_timeout=self._call_timeout,
            renewed=renewed,
            gate=gate,
            places=places,
            has_deadline_within=call_context.has_deadline_within,
        )

    # ---------------------------------------------------------------------------------------------- rows

    async def _read(self, tenant: str, platform: str, id_: str) -> _CachedUser:
        """Read a user's row. A session that was opened with the very same row is kept.

        A row that was read while this process changed a user may be older than the change: it is returned, and not
        cached.
        """
        changes = self._changes
        row = await self._store.read(lambda: transactions.find_user(tenant, platform, id_))
        now = asyncio.get_running_loop().time()
        if changes != self._changes:
            return _CachedUser(row, now)
        cached = self._cache.get((tenant, platform, id_))
        if cached is None or cached.row != row:
            cached = self._cache[tenant, platform, id_] = _CachedUser(row, now)
        cached.at = now
        return cached

    async def _write(self, transaction: Callable[[], Transaction[T]], user: User) -> T:
        """Write a change of a user, and drop what was read before."""
        try:
            return await self._store.write(transaction)
        finally:
            self._drop(user.tenant, user.platform, user.id)

    def _drop(self, tenant: str, platform: str, id_: str) -> None:
        self._changes += 1
        self._cache.pop((tenant, platform, id_), None)


def _offset(info: UserInfo) -> str | None:
    return None if info.timezone_offset is None else str(info.timezone_offset)


def _user(row: UserRow) -> User:
    return User(
        row.tenant,
        row.platform,
        row.id,
        row.name,
        row.hostname,
        row.timezone,
        row.timezone_offset,
        row.session_id or "",
        row.credentials is not None,
        _crm_tenant(row),
    )


def _crm_tenant(row: UserRow) -> str:
    """Return the CRM's name for a user's tenant: our own name, if nothing else is recorded."""
    return row.tenant if row.crm_tenant is None else row.crm_tenant


def _refresh_after(connector: Connector, credentials: Credentials, now: float) -> float | None:
    """Return when (epoch ms) to refresh credentials: before their end, or at it without a refresh token.

    A token that lives shorter than twice `refresh_ahead` is refreshed in the middle of its life. One that was issued in
    the future was dated by a wrong clock: its end is not known, so it is refreshed now.
    """
    if connector.oauth is None or credentials.expires_at is None:
        return None
    issued_at = credentials.issued_at or 0
    if credentials.refresh_token and issued_at > now + _YOUNG_MS:
        return now
    life = credentials.expires_at - issued_at
    ahead = min(connector.oauth.refresh_ahead * 1000, life / 2) if credentials.refresh_token else 0
    return credentials.expires_at - ahead
