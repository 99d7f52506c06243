"""The users of connectors: who they are, and their sessions at the CRM."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import msgspec

from messagelog.compose import pick_zone
from messagelog.connectors import AuthExpired, Connector, Credentials, CrmHttp, Session, UserInfo
from messagelog.storage import Sealer, Store, UserRow, scripts

if TYPE_CHECKING:
    import aiohttp


_MOMENT_SECONDS: Final = 2.0
_MOST_SEEN: Final = 10_000


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


@dataclass(slots=True)
class _Seen:
    """A user's row as it was read, when (by the event loop's clock), and the session that was opened with it."""

    row: UserRow | None
    at: float
    session: Session | None = None


class UserDirectory:
    """Finds users and opens their sessions at the CRM; credentials are stored sealed.

    A request reads the user anew. The calls that it leads to take her as she was a moment ago, at most two seconds.
    """

    def __init__(
        self, store: Store, sealer: Sealer, client: aiohttp.ClientSession, *, call_timeout: float
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._client = client
        self._call_timeout = call_timeout
        self._seen: OrderedDict[tuple[str, str, str], _Seen] = OrderedDict()

    async def find(self, tenant: str, platform: str, id_: str) -> User | None:
        """The user, or None when there is none (any more)."""
        row = (await self._read(tenant, platform, id_)).row
        return None if row is None or row.credentials is None else _user(row)

    async def sign_in(self, connector: Connector, credentials: Credentials, hostname: str) -> User:
        """Asks the CRM who has these credentials, and keeps them. Raises the connector's errors."""
        candidate = self._session(connector, credentials, hostname)
        info = await connector.get_user_info(candidate)
        return await self._kept(connector, credentials, hostname, info)

    async def session(self, connector: Connector, tenant: str, user_id: str) -> Session:
        """A user's session at her CRM; `AuthExpired` when she has signed out."""
        seen = self._seen.get((tenant, connector.name, user_id))
        if seen is None or asyncio.get_running_loop().time() - seen.at > _MOMENT_SECONDS:
            seen = await self._read(tenant, connector.name, user_id)
        row = seen.row
        if row is None or row.credentials is None:
            raise AuthExpired("signed out")
        if seen.session is None:
            text = self._sealer.open(row.credentials, *_context(tenant, connector.name, user_id))
            credentials = msgspec.json.decode(text, type=Credentials)
            seen.session = self._session(connector, credentials, row.hostname, user=_user(row))
        return seen.session

    async def _read(self, tenant: str, platform: str, id_: str) -> _Seen:
        """Reads a user. A session that was opened with the very same row is kept."""
        row = await self._store.read(lambda: scripts.find_user(tenant, platform, id_))
        now = asyncio.get_running_loop().time()
        before = self._seen.pop((tenant, platform, id_), None)
        session = before.session if before is not None and before.row == row else None
        seen = self._seen[tenant, platform, id_] = _Seen(row, now, session)
        if len(self._seen) > _MOST_SEEN:
            self._seen.popitem(last=False)
        return seen

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
        self._seen.pop((row.tenant, row.platform, row.id), None)
        return _user(row)


def _user(row: UserRow) -> User:
    return User(row.tenant, row.platform, row.id, row.name, row.hostname, row.timezone, row.timezone_offset)


def _context(tenant: str, platform: str, id_: str) -> tuple[str, ...]:
    return ("users", tenant, platform, id_)
