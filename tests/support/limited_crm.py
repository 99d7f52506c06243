"""A CRM with limits of its own, which it keeps by its own record, behind a transport in memory; and who calls it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Self

import aiohttp

from messagelog.connectors import Connector, Contact, Credentials, MessageLog, RateLimit, Session, UserInfo
from messagelog.core import DeliveryContext, Runtime, Times, UserDirectory
from messagelog.core.delivery.calls import ConnectorCaller
from messagelog.core.delivery.media import MediaFetcher
from messagelog.core.delivery.prepare import CallPreparer
from messagelog.core.rate_limits.registry import LimiterRegistry
from messagelog.storage import Sealer, open_store
from support.requests import body, message, to_log_request
from support.virtual_clock import FrozenTimeStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from messagelog.core import Answer
    from support.virtual_clock import VirtualTimeLoop

SECRET = "a-secret-for-tests-0123456789-abcdef"


@dataclass(frozen=True)
class SeenRequest:
    """A request as the CRM saw it, in seconds of the loop's time."""

    at: float
    tenant: str
    method: str
    path: str
    status: int
    text: str = ""


@dataclass
class RateLimitedCrm:
    """Activities as lists of texts. `limits` (requests, seconds) hold for each tenant, by when it saw the requests.

    It `does` what a CRM does that is there or not: answers, errs (503), fails (500), hangs, refuses connections.
    """

    now: Callable[[], float]
    limits: tuple[tuple[int, float], ...] = ()
    latency: tuple[float, float] = (0.05, 0.3)
    retry_after: bool = True
    tells: bool = False
    does: str = "answers"
    fails: Callable[[str, str], int | None] = lambda _tenant, _text: None
    random: Random = field(default_factory=lambda: Random(7))
    seen: list[SeenRequest] = field(default_factory=list)
    tenants: set[str] = field(default_factory=set)
    activities: dict[str, list[str]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    _windows: dict[tuple[str, float], list[float]] = field(default_factory=lambda: defaultdict(list))

    async def handle(self, method: str, path: str, tenant: str, sent: dict[str, Any]) -> _Answer:
        """Takes a request some time after it was sent, and answers some time after that."""
        one_way = self.random.uniform(*self.latency) / 2
        await asyncio.sleep(one_way)
        if self.does == "refuses":
            raise aiohttp.ConnectionTimeoutError
        if self.does == "hangs":
            await asyncio.Event().wait()
        status, payload, headers = self._respond(method, path, tenant, sent)
        self.tenants.add(tenant)
        self.seen.append(SeenRequest(self.now(), tenant, method, path, status, sent.get("text", "")))
        await asyncio.sleep(one_way)
        return _Answer(status, _Body(json.dumps(payload).encode()), headers)

    def _respond(
        self, method: str, path: str, tenant: str, sent: dict[str, Any]
    ) -> tuple[int, Any, dict[str, str]]:
        if self.does in {"errs", "fails"}:
            return 503 if self.does == "errs" else 500, {}, {}
        if (wait := self._seconds_over_limit(tenant)) is not None:
            return 429, {}, {"Retry-After": str(int(wait) + 1)} if self.retry_after else {}
        headers = self._limit_headers(tenant)
        if (status := self.fails(tenant, sent.get("text", ""))) is not None:
            return status, {}, headers
        if path == "/me":
            return 200, {}, headers
        if method == "POST":
            made = self.keys.setdefault(sent["key"], f"a-{len(self.keys) + 1}")
            self.activities.setdefault(made, [sent["text"]])
            return 200, {"id": made}, headers
        texts = self.activities[path.removeprefix("/activities/")]
        if sent["text"] not in texts:
            texts.append(sent["text"])
        return 200, {}, headers

    def _seconds_over_limit(self, tenant: str) -> float | None:
        """How long until this tenant's next request is within all limits; None when it is now, and then it counts."""
        now = self.now()
        for limit, seconds in self.limits:
            times = self._windows[tenant, seconds]
            # A limit with headers counts in fixed windows, as most of them do.
            while times and times[0] < (now // seconds * seconds if self.tells else now - seconds):
                times.pop(0)
            if len(times) >= limit:
                return (now // seconds + 1) * seconds - now if self.tells else times[0] + seconds - now
        for _, seconds in self.limits:
            self._windows[tenant, seconds].append(now)
        return None

    def _limit_headers(self, tenant: str) -> dict[str, str]:
        if not self.tells:
            return {}
        limit, seconds = self.limits[-1]
        times = self._windows[tenant, seconds]
        reset = int((self.now() // seconds + 1) * seconds - self.now()) + 1
        return {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(limit - len(times)),
            "X-RateLimit-Reset": str(reset),
        }

    def most_within(self, tenant: str, seconds: float) -> int:
        """The most requests of a tenant that it saw within any span of so many seconds."""
        times = [seen.at for seen in self.seen if seen.tenant == tenant]
        most, first = 0, 0
        for last, at in enumerate(times):
            while times[first] <= at - seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    def statuses(self, tenant: str | None = None) -> Counter[int]:
        return Counter(seen.status for seen in self.seen if tenant in {None, seen.tenant})

    def texts(self) -> Counter[str]:
        """How often each text stands in the CRM."""
        return Counter(itertools.chain.from_iterable(self.activities.values()))


@dataclass
class _Body:
    whole: bytes

    def is_eof(self) -> bool:
        return False

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self.whole


@dataclass
class _Answer:
    status: int
    content: _Body
    headers: Mapping[str, str]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """There is no connection."""


class MemoryTransport:
    """Stands in for an HTTP client: requests go to a CRM in memory."""

    def __init__(self, crm: RateLimitedCrm) -> None:
        self._crm = crm

    async def request(self, method: str, url: Any, **sent: Any) -> _Answer:
        data = json.loads(sent["data"]) if sent.get("data") else {}
        tenant = sent["headers"]["Authorization"].removeprefix("Bearer ").partition("/")[0]
        return await self._crm.handle(method, url.path, tenant, data)


class RateLimitedConnector(Connector):
    """Speaks to it: one request for each message."""

    name = "paced"
    display_name = "Paced CRM"
    base_url = "http://crm.test"
    upserts = True
    settle_seconds = 0.0

    async def get_user_info(self, session: Session) -> UserInfo:
        await session.http.get("/me")
        tenant, _, user = session.credentials.api_key.partition("/")
        return UserInfo(id=user, name=user.title(), tenant=tenant)

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        found: list[Contact] = await session.http.get("/contacts", params={"phone": phone_number})
        return found

    async def create_message_log(self, session: Session, log: MessageLog) -> str:
        made = await session.http.post("/activities", json={"key": log.idempotency_key, "text": _text(log)})
        return str(made["id"])

    async def update_message_log(self, session: Session, log: MessageLog) -> None:
        assert log.existing is not None
        path = f"/activities/{log.existing.third_party_log_id}"
        await session.http.patch(path, json={"text": _text(log)})


class DeclaringConnector(RateLimitedConnector):
    """The same, and it says what the CRM allows."""

    rate_limits: ClassVar[tuple[RateLimit, ...]] = (RateLimit(5, 1), RateLimit(1_000, 86_400))


def _text(log: MessageLog) -> str:
    assert log.message is not None
    return log.message.text


@dataclass
class ServerProcess:
    """One process of a server: its runtime sweeps as it does in life."""

    runtime: Runtime
    users: UserDirectory
    connector: Connector
    loop: VirtualTimeLoop
    arrived: dict[str, float] = field(default_factory=dict)

    async def send(self, user: str, *numbers: int, conversation: str) -> Answer:
        """Sends messages of one conversation as a user; the time of their arrival is noted by their text."""
        for number in numbers:
            self.arrived.setdefault(f"text {number}", self.loop.time())
        tenant, _, name = user.partition("/")
        signed_in = await self.users.find(tenant, self.connector.name, name)
        assert signed_in is not None
        request = body(*(message(number) for number in numbers), conversation=conversation)
        return await self.runtime.submit(signed_in, to_log_request(request))

    async def sign_in(self, *users: str) -> None:
        """Sign users in, one by one: no budget holds back a sign-in, whose tenant is only known from its answer."""
        for user in users:
            await asyncio.sleep(2)
            await self.users.sign_in(self.connector, Credentials(api_key=user), "")


@asynccontextmanager
async def server_process(
    loop: VirtualTimeLoop,
    database_url: str,
    crm: RateLimitedCrm,
    connector: Connector,
    *,
    slowly: bool = True,
) -> AsyncIterator[ServerProcess]:
    """Run a process on a database. While no call is allowed, its sweep sleeps for longer if it may go on `slowly`."""
    with loop.frozen_time():
        store = FrozenTimeStore(await open_store(database_url, clock=loop.clock), loop)
    sealer = Sealer(SECRET)
    client: Any = MemoryTransport(crm)
    times = Times()
    limiters = LimiterRegistry(store, call_seconds=times.call, jitter=Random(3).random)
    users = UserDirectory(store, sealer, client, call_timeout=times.call, limiters=limiters)

    async def sleep(seconds: float) -> None:
        held = (
            slowly
            and crm.tenants
            and not any(limiters.backlog_share(connector, tenant) for tenant in crm.tenants)
        )
        await asyncio.sleep(seconds * 60 if held else seconds)

    context = DeliveryContext(
        store=store,
        sealer=sealer,
        users=users,
        preparer=CallPreparer(store, sealer, MediaFetcher(client), call_timeout=times.call),
        caller=ConnectorCaller(sealer, call_timeout=times.call),
        times=times,
        jitter=Random(5).random,
    )
    runtime = Runtime(context, {connector.name: connector}, journal="5eed0003", sleep=sleep)
    await runtime.start()
    try:
        yield ServerProcess(runtime, users, connector, loop)
    finally:
        await runtime.stop()
        await users.close()
        await limiters.close()
        await store.close()
