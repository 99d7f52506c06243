"""Refreshes credentials: one refresh at a time for a user, in this process and in all others.

Since a refresh token may be good for one use only, two refreshes never send the same one. The claim of a refresh is in
the user's row, with a lease that outlasts the request; a process that does not get it waits for the holder's result.
"""

from __future__ import annotations

import asyncio
import uuid
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from cachetools import TTLCache

from messagelog.connectors import AuthExpired, ConnectorError, Credentials, Rejected, Unavailable
from messagelog.storage import Sealer, Store, UserRow, transactions
from messagelog.storage.encryption.sealer import SealBroken, key_id_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from messagelog.connectors import Connector
    from messagelog.core.users.oauth import OAuthClient, TokenEndpoint

_LEASE_PER_REQUEST: Final = 3
_SHORTEST_POLL: Final = 0.05
_LONGEST_POLL: Final = 0.5
_PAUSE_SECONDS: Final = 5.0
"""How long no refresh is tried after one that had no answer."""
_MOST_REMEMBERED: Final = 10_000

_Key = tuple[str, str, str]

_log = structlog.get_logger(__name__)


class CredentialStore:
    """Seals the credentials of users, each bound to its row.

    Users whose credentials cannot be opened sign in again; the log says so once for each key id.
    """

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._logged: set[bytes] = set()

    def seal(self, key: _Key, credentials: Credentials) -> bytes:
        """Seal credentials for the row of this user (tenant, platform, id)."""
        return self._sealer.seal(msgspec.json.encode(credentials), "users", *key)

    def open(self, row: UserRow) -> Credentials:
        """Open the credentials of a row; raise `AuthExpired` if it has none, or none that our secret keys open."""
        if row.credentials is None:
            raise AuthExpired("signed out")
        try:
            text = self._sealer.open(row.credentials, "users", row.tenant, row.platform, row.id)
        except SealBroken as error:
            key_id = key_id_of(row.credentials)
            if key_id not in self._logged:
                self._logged.add(key_id)
                _log.error("credentials_sealed", key_id=key_id.hex())
            raise AuthExpired("the stored sign-in cannot be opened any more") from error
        return msgspec.json.decode(text, type=Credentials)

    def same(self, one: UserRow, other: UserRow) -> bool:
        """Return whether two rows are known to hold the same credentials, however they were sealed."""
        if one.credentials == other.credentials:
            return True
        try:
            return self.open(one) == self.open(other)
        except AuthExpired:
            return False


class TokenRefresher:
    """Refreshes the credentials of users. `seconds` is the limit of one request to a token endpoint."""

    def __init__(
        self,
        store: Store,
        credential_store: CredentialStore,
        endpoint: TokenEndpoint,
        clients: Mapping[str, OAuthClient],
        *,
        seconds: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._credential_store = credential_store
        self._endpoint = endpoint
        self._clients = clients
        self._seconds = seconds
        self._sleep = sleep
        self._running: dict[tuple[_Key, bytes | None], asyncio.Task[UserRow]] = {}
        self._paused: TTLCache[_Key, bool] = TTLCache(
            _MOST_REMEMBERED, _PAUSE_SECONDS, timer=lambda: asyncio.get_running_loop().time()
        )

    async def refresh(self, connector: Connector, row: UserRow) -> UserRow:
        """Return the user's row with other credentials than `row` has, refreshed by this process or another one.

        Raises `AuthExpired` if the user has to sign in again, and `Unavailable` if the CRM's authorization server gives
        no answer.
        """
        key = _key(row)
        if key in self._paused:
            raise Unavailable("the authorization server gave no answer a moment ago")
        task = self._running.get((key, row.credentials))
        if task is None:
            # No caller's cancellation ends it: the CRM may have rotated the token, and the new one must be stored.
            task = asyncio.create_task(self._refresh(connector, row))
            self._running[key, row.credentials] = task
            task.add_done_callback(lambda done: self._on_done(key, row.credentials, done))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Wait for the refreshes under way."""
        if self._running:
            await asyncio.wait(list(self._running.values()))

    def _on_done(self, key: _Key, used: bytes | None, task: asyncio.Task[UserRow]) -> None:
        del self._running[key, used]
        if not task.cancelled() and isinstance(task.exception(), Unavailable):
            self._paused[key] = True

    async def _refresh(self, connector: Connector, row: UserRow) -> UserRow:
        """Refresh the credentials, or wait for the process that does."""
        owner = uuid.uuid4().hex
        lease_ms = int(self._seconds * _LEASE_PER_REQUEST * 1000)
        loop = asyncio.get_running_loop()
        until, poll = loop.time() + 2 * self._seconds, _SHORTEST_POLL
        while not await self._store.write(
            partial(transactions.claim_refresh, row, owner=owner, lease_ms=lease_ms)
        ):
            found = await self._store.read(partial(transactions.find_user, row.tenant, row.platform, row.id))
            if found is None or found.credentials is None:
                raise AuthExpired("signed out")
            if not self._credential_store.same(found, row):
                return found
            row = found  # the same credentials, perhaps sealed again: these bytes are claimed
            if loop.time() > until:
                raise Unavailable("another process has not refreshed the credentials in time")
            await self._sleep(poll)
            poll = min(2 * poll, _LONGEST_POLL)
        return await self._refresh_with_claim(connector, row, owner)

    async def _refresh_with_claim(self, connector: Connector, row: UserRow, owner: str) -> UserRow:
        try:
            renewed = await self._request_token(connector, self._credential_store.open(row))
        except AuthExpired as error:
            return await self._save(row, None, owner, error)
        except BaseException:
            await self._store.write(lambda: transactions.release_refresh(row, owner=owner))
            raise
        sealed = self._credential_store.seal(_key(row), renewed)
        try:
            return await self._save(row, sealed, owner, AuthExpired("signed out"))
        except AuthExpired:
            # The user has signed out while we asked.
            try:
                await self.revoke(connector, renewed)
            except ConnectorError as error:
                _log.warning("revocation_failed", connector=connector.name, detail=error.detail)
            raise

    async def _request_token(self, connector: Connector, credentials: Credentials) -> Credentials:
        """Exchange the refresh token for new credentials."""
        if connector.oauth is None or not credentials.refresh_token:
            raise AuthExpired("there is nothing to refresh the sign-in with")
        client = self._clients[connector.name]
        try:
            return await self._endpoint.refresh(connector.oauth, client, credentials)
        except Rejected as error:
            # Signing in again does not help: the operator has to mend it.
            _log.error("refresh_refused", connector=connector.name, detail=error.detail)
            raise Unavailable(error.detail, status=error.status) from error

    async def _save(self, row: UserRow, credentials: bytes | None, owner: str, error: AuthExpired) -> UserRow:
        """Store the result of a refresh and return the row, perhaps another process's; raise `error` if it has none.

        The write checks our claim and reads the row again: a grant that the CRM has taken back is dropped only if no
        other one has taken its place.
        """
        found = await self._store.write(lambda: transactions.save_credentials(row, credentials, owner=owner))
        if found is None or found.credentials is None:
            raise error
        if self._credential_store.same(found, row):
            raise Unavailable("another process is refreshing the credentials")
        return found

    async def revoke(self, connector: Connector, credentials: Credentials) -> None:
        """End a grant at the CRM, if there is one and it can be ended. Raise as `TokenEndpoint` does."""
        if connector.oauth is not None:
            await self._endpoint.revoke(connector.oauth, self._clients[connector.name], credentials)


def _key(row: UserRow) -> _Key:
    return row.tenant, row.platform, row.id
