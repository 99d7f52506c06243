"""The users of connectors: who they are, and their sessions at the CRM."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from messagelog.compose import pick_zone
from messagelog.connectors import AuthExpired, Connector, Credentials, CrmHttp, Session, UserInfo
from messagelog.storage import Sealer, Store, UserRow, scripts

if TYPE_CHECKING:
    import aiohttp


@dataclass(frozen=True)
class User:
    """A user who is signed in: what a session token stands for."""

    tenant: str
    platform: str
    id: str
    name: str
    hostname: str
    timezone: str | None
    timezone_offset: str | None

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


class UserDirectory:
    """Finds users and opens their sessions at the CRM; credentials are stored sealed."""

    def __init__(
        self, store: Store, sealer: Sealer, client: aiohttp.ClientSession, *, call_timeout: float
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._client = client
        self._call_timeout = call_timeout

    async def find(self, tenant: str, platform: str, id_: str) -> User | None:
        """The user, or None when there is none (any more)."""
        row = await self._store.read(lambda: scripts.find_user(tenant, platform, id_))
        return None if row is None or row.credentials is None else _user(row)

    async def sign_in(self, connector: Connector, credentials: Credentials, hostname: str) -> User:
        """Asks the CRM who has these credentials, and keeps them. Raises the connector's errors."""
        candidate = self._session(connector, credentials, hostname)
        info = await connector.get_user_info(candidate)
        return await self._kept(connector, credentials, hostname, info)

    async def session(self, connector: Connector, tenant: str, user_id: str) -> Session:
        """A user's session at her CRM; `AuthExpired` when she has signed out."""
        row = await self._store.read(lambda: scripts.find_user(tenant, connector.name, user_id))
        if row is None or row.credentials is None:
            raise AuthExpired("signed out")
        text = self._sealer.open(row.credentials, *_context(tenant, connector.name, user_id))
        credentials = msgspec.json.decode(text, type=Credentials)
        return self._session(connector, credentials, row.hostname, user=_user(row))

    def _session(
        self, connector: Connector, credentials: Credentials, hostname: str, *, user: User | None = None
    ) -> Session:
        http = CrmHttp(
            self._client,
            connector.base_url_for(hostname),
            headers=connector.auth_headers(credentials),
            call_timeout=self._call_timeout,
        )
        if user is None:
            return Session(http, credentials, hostname)
        return Session(http, credentials, hostname, user.id, user.name, user.tenant)

    async def _kept(
        self, connector: Connector, credentials: Credentials, hostname: str, info: UserInfo
    ) -> User:
        offset = None if info.timezone_offset is None else str(info.timezone_offset)
        context = _context(info.tenant, connector.name, info.id)
        row = UserRow(
            tenant=info.tenant,
            platform=connector.name,
            id=info.id,
            name=info.name,
            hostname=hostname,
            timezone=info.timezone,
            timezone_offset=offset,
            credentials=self._sealer.seal(msgspec.json.encode(credentials), *context),
        )
        await self._store.write(lambda: scripts.save_user(row))
        return _user(row)


def _user(row: UserRow) -> User:
    return User(row.tenant, row.platform, row.id, row.name, row.hostname, row.timezone, row.timezone_offset)


def _context(tenant: str, platform: str, id_: str) -> tuple[str, ...]:
    return ("users", tenant, platform, id_)
