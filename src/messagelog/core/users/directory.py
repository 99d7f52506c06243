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
"""How many requests of one tenant to its CRM are under way at once, in one process. A CRM that hangs holds no more
than these, and no other tenant waits for them."""


@dataclass(frozen=True)
class User:
    """A user who is signed in: what a session token stands for.

    `session_id` is the session of hers that may be used; `connected` is False when there are no credentials to use it
    with, since the CRM has taken them back. `crm_tenant` is what the CRM calls the tenant.
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
        """Her IANA zone, else the CRM's offset as `UTC-07:00`, else `UTC`."""
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
    """The user has no credentials that the CRM takes; `refused` are those that she has, sealed."""

    def __init__(self, detail: str, refused: bytes | None) -> None:
        super().__init__(detail)
        self.refused = refused
        self.wrote = False


@dataclass(frozen=True, slots=True)
class StoredSession(Session):
    """A session with credentials of the journal: `sealed`, as they stood there when it was opened."""

    sealed: bytes | None = field(default=None, repr=False)


@dataclass(slots=True)
class _CachedUser:
    """A user's row as it was read, when (by the event loop's clock), and the user and the session that it makes.

    `refresh_after` (epoch ms) is when the session's credentials are to be refreshed, None when they are not.
    """

    row: UserRow | None
    at: float
    user: User | None = None
    session: StoredSession | None = None
    refresh_after: float | None = None


class UserDirectory:
    """Finds users and opens their sessions at the CRM; credentials are stored sealed, and refreshed ahead of their end.

    A request reads the user anew. The calls that it leads to take her as she was a moment ago, at most two seconds;
    what this process itself changes counts at once. `clock` gives epoch seconds.
    """

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        client: aiohttp.ClientSession,
        *,
        call_timeout: float,
        oauth_clients: Mapping[str, OAuthClient] | None = None,
        pacer: LimiterRegistry | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._credential_store = CredentialStore(sealer)
        self._client = client
        self._call_timeout = call_timeout
        self._clock = clock
        self.pacer = pacer or LimiterRegistry(store, call_seconds=call_timeout)
        self._clients = oauth_clients or {}
        # With the waits around it, a refresh is done well within the time of a call.
        seconds = min(_LONGEST_TOKEN_REQUEST, call_timeout / 4)
        self._endpoint = TokenEndpoint(client, seconds=seconds, clock=clock)
        self._refresher = TokenRefresher(
            store, self._credential_store, self._endpoint, self._clients, seconds=seconds
        )
        self._tenants = Tenants(store)
        self._cache: LRUCache[_Key, _CachedUser] = LRUCache(_MOST_CACHED)
        # A tenant's places are there for as long as somebody has a session of it.
        self._places: WeakValueDictionary[tuple[str, str], asyncio.Semaphore] = WeakValueDictionary()
        self._changes = 0

    async def find(self, tenant: str, platform: str, id_: str) -> User | None:
        """The user, or None when nobody of that name has ever signed in."""
        cached = await self._read(tenant, platform, id_)
        if cached.user is None and cached.row is not None:
            cached.user = _user(cached.row)
        return cached.user

    # ----------------------------------------------------------------------------------- sign in and out

    async def sign_in(self, connector: Connector, credentials: Credentials, hostname: str) -> User:
        """Asks the CRM who has these credentials, and keeps them. Raises the connector's errors."""
        host = host_that_answers(connector, hostname)
        counter = CountingGate()  # whose requests these are is known only when they are answered
        candidate = Session(self._http(connector, credentials, hostname, counter), credentials, hostname)
        info = await connector.get_user_info(candidate)
        who = identity_of(connector, info)
        place = TenantPlace(who.crm_tenant, connector.name, host)
        for _ in range(_MOST_MOVES):
            tenant = await self._tenants.tenant_of(connector, place)
            row = self._new_row((tenant, connector.name, who.user_id), credentials, hostname, info)
            try:
                written = await self._write(partial(transactions.sign_in, row, place), _user(row))
            except TenantMoved:
                continue  # whoever signs in at this host belongs to another tenant now
            self.pacer.gate(connector, tenant).count_requests(counter.requests)
            return _user(written)
        raise Unavailable("the tenant is being moved")

    async def sign_in_with_code(
        self, connector: Connector, code: str, hostname: str, *, redirect_uri: str, verifier: str | None
    ) -> User:
        """Gets the credentials that a code of the CRM's authorization server stands for, and signs in with them."""
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
        """Ends the user's session, in every browser, at once. The one that she had at the CRM, to be revoked there.

        Raises `AuthExpired`, when that is done, where nobody can open what she had.
        """
        before = await self._write(
            partial(transactions.sign_out, user.tenant, user.platform, user.id, session_id=uuid.uuid4().hex),
            user,
        )
        if before is None or before.credentials is None:
            return None
        credentials = self._credential_store.open(before)
        gate = self.pacer.gate(connector, before.tenant)
        http = self._http(connector, credentials, before.hostname, gate)
        return Session(
            http, credentials, before.hostname, before.id, before.name, before.tenant, _crm_tenant(before)
        )

    async def revoke(self, connector: Connector, session: Session) -> None:
        """Ends a session's credentials at the CRM, as far as that can be done. Raises the connector's errors."""
        await self._refresher.revoke(connector, session.credentials)
        await connector.unauthorize(session)

    async def refresh_profile(self, connector: Connector, user: User, info: UserInfo) -> bool:
        """Keeps the name and the time zone that the CRM says now; False, and nothing kept, when it means somebody else.

        Credentials stay as they are: somebody may be refreshing them. Raises `Rejected` for an answer that says nobody.
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
        """Lets the refreshes under way come to their end: what the CRM gives is not lost."""
        await self._refresher.close()

    # ------------------------------------------------------------------------------------------ sessions

    async def session(self, connector: Connector, tenant: str, user_id: str) -> StoredSession:
        """A user's session at her CRM, with credentials that are good for a while.

        Raises `AuthExpired` when she has signed out or has to sign in again, `Unavailable` when her credentials have
        ended and cannot be refreshed now, `NotPrepared` when the connector fails.
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
            return session  # refreshed ahead of its end, so it can still be used

    def invalidate(self, tenant: str, platform: str, user_id: str) -> None:
        """Reads the user anew the next time, whoever asks: she may have signed in elsewhere."""
        self._drop(tenant, platform, user_id)

    def _open_session(self, connector: Connector, cached: _CachedUser) -> StoredSession:
        """The session of a row as it was read, opened once for as long as the row stays as it is."""
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
        """The user with refreshed credentials. What was seen of her before counts no more, unless nothing changed."""
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
        """Other headers, after the CRM has refused these credentials; `AuthExpired` when there are none.

        What cannot be refreshed is kept, as far as we know that it is good. What is new is believed to be refused: a
        CRM that takes nothing would be asked for new credentials at every call.
        """
        now = self._clock() * 1000
        ended = credentials.expires_at is not None and credentials.expires_at <= now
        young = abs(now - (credentials.issued_at or 0)) < _YOUNG_MS
        if not ended and (young or not credentials.refresh_token):
            raise AuthExpired("HTTP 401", status=401)
        cached = await self._refresh(connector, row)
        if cached.row is not None and cached.row.hostname != row.hostname:
            # Whose credentials the host of this session must not see.
            raise Unavailable("the user's CRM is at another host now")
        return connector.auth_headers(self._open_session(connector, cached).credentials)

    def _session(self, connector: Connector, credentials: Credentials, row: UserRow) -> StoredSession:
        renewed = (
            None if connector.oauth is None else partial(self._renew_headers, connector, row, credentials)
        )
        try:
            gate = self.pacer.gate(connector, row.tenant)
            places = self._places_of(row.tenant, row.platform)
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

    def _places_of(self, tenant: str, platform: str) -> asyncio.Semaphore:
        places = self._places.get((tenant, platform))
        if places is None:
            self._places[tenant, platform] = places = asyncio.Semaphore(CALLS_OF_A_TENANT)
        return places

    # ---------------------------------------------------------------------------------------------- rows

    async def _read(self, tenant: str, platform: str, id_: str) -> _CachedUser:
        """Reads a user. A session that was opened with the very same row is kept.

        What was read while this process changed a user may be from before: it is given, and not remembered.
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
        """Writes a change of a user; from then on nothing that was read before counts."""
        try:
            return await self._store.write(transaction)
        finally:
            self._drop(user.tenant, user.platform, user.id)

    def _drop(self, tenant: str, platform: str, id_: str) -> None:
        self._changes += 1
        self._cache.pop((tenant, platform, id_), None)

    def _new_row(self, key: _Key, credentials: Credentials, hostname: str, info: UserInfo) -> UserRow:
        """The row of a user who signs in, with a new session: one that there is already goes on."""
        tenant, platform, id_ = key
        return UserRow(
            tenant=tenant,
            platform=platform,
            id=id_,
            name=info.name,
            hostname=hostname,
            timezone=info.timezone,
            timezone_offset=_offset(info),
            credentials=self._credential_store.seal(key, credentials),
            session_id=uuid.uuid4().hex,
        )


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
    """What the CRM calls a user's tenant: its name here, where nothing else is recorded."""
    return row.tenant if row.crm_tenant is None else row.crm_tenant


def _refresh_after(connector: Connector, credentials: Credentials, now: float) -> float | None:
    """When (epoch ms) credentials are to be refreshed: ahead of their end, or at it where that is all there is.

    A token that lives shorter than twice `refresh_ahead` is refreshed in the middle of its life. One that was issued
    in what is the future `now` has been dated by a clock that was wrong: its end is not known, so it is refreshed.
    """
    if connector.oauth is None or credentials.expires_at is None:
        return None
    issued_at = credentials.issued_at or 0
    if credentials.refresh_token and issued_at > now + _YOUNG_MS:
        return now
    life = credentials.expires_at - issued_at
    ahead = min(connector.oauth.refresh_ahead * 1000, life / 2) if credentials.refresh_token else 0
    return credentials.expires_at - ahead
