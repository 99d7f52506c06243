"""The effects of the switch: on the work of a call, and on its answer."""

import asyncio
import math
import sqlite3
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from messagelog.testing.demo_crm.store import DemoCrmStore
from messagelog.testing.demo_crm.switch import Switch, apply_changes
from messagelog.testing.demo_crm.wire import DroppedConnection, json_answer


class Chaos:
    """The switches of all tenants, as the file has them, and their effects.

    A call has its tenant's switch of the time when it came in; only `hold` is read when the work is done. Calls that
    are refused for a reason of their own (404, 422, ...) did no work: their answers are not lost, replaced or held.
    """

    hold_limit_s = 120.0
    """The longest time that an answer is held, in seconds."""

    def __init__(
        self,
        store: DemoCrmStore,
        *,
        random: Random,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._random = random
        self._sleep = sleep
        self._clock = clock
        self._times: defaultdict[str, deque[float]] = defaultdict(deque)
        self._switches: dict[str, Switch] = {}
        self._held: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def switch(self, tenant: str) -> Switch:
        """Return the tenant's present switch."""
        if tenant not in self._switches:
            stored = await self._store.run(lambda connection: _read_switch(connection, tenant))
            self._switches.setdefault(tenant, stored)
        return self._switches[tenant]

    async def change(self, tenant: str, changes: dict[str, Any]) -> Switch:
        """Change the tenant's switch, in the file first. Raises RefusedError (422) for invalid changes."""

        def apply(connection: sqlite3.Connection) -> Switch:
            switch = apply_changes(_read_switch(connection, tenant), changes)
            text = msgspec.json.encode(switch).decode()
            connection.execute("UPDATE tenant SET chaos = ? WHERE id = ?", (text, tenant))
            return switch

        switch = await self._store.run(apply)
        self._switches[tenant] = switch
        if not switch.hold:
            for released in self._held.pop(tenant, set()):
                released.set()
        return switch

    async def apply(
        self, tenant: str, work: Callable[[Switch], Awaitable[Response]], *, writes: bool
    ) -> Response:
        """Do `work`, or not, and return its answer, or another one, as the tenant's switch says."""
        switch = await self.switch(tenant)
        allowed, limit_headers = self._count_call(tenant, switch)
        if not allowed:
            return json_answer({"error": "too many calls"}, 429, limit_headers)
        answer = await self._apply(tenant, switch, work, writes=writes)
        answer.headers.update(limit_headers)
        return answer

    def _count_call(self, tenant: str, switch: Switch) -> tuple[bool, dict[str, str]]:
        """Count a call if it is within the limit; return whether it is, and headers with what is left."""
        if switch.rate_limit is None:
            return True, {}
        times, now = self._times[tenant], self._clock()
        while times and times[0] <= now - switch.rate_window_s:
            times.popleft()
        allowed = len(times) < switch.rate_limit
        if allowed:
            times.append(now)
        reset = str(math.ceil(times[0] + switch.rate_window_s - now))
        limit_headers = {
            "X-RateLimit-Limit": str(switch.rate_limit),
            "X-RateLimit-Remaining": str(max(0, switch.rate_limit - len(times))),
            "X-RateLimit-Reset": reset,
        }
        return allowed, limit_headers if allowed else {**limit_headers, "Retry-After": reset}

    async def _apply(
        self, tenant: str, switch: Switch, work: Callable[[Switch], Awaitable[Response]], *, writes: bool
    ) -> Response:
        if switch.delay_ms:
            await self._sleep(switch.delay_ms / 1000)
        if self._happens(switch.drop_request_rate):
            return DroppedConnection()
        if self._happens(switch.failure_rate):
            return _failure(switch, switch.status)
        answer = await work(switch)
        if not writes:
            return answer
        if self._happens(switch.lose_response_rate):
            answer = DroppedConnection()
        elif switch.apply_then_status is not None:
            answer = _failure(switch, switch.apply_then_status)
        return _HeldResponse(answer, lambda receive: self._wait_for_release(tenant, receive))

    def _happens(self, rate: float) -> bool:
        return rate > 0 and self._random.random() < rate

    async def _wait_for_release(self, tenant: str, receive: Receive) -> bool:
        """Wait while the tenant's answers are held, and return whether the client is still connected."""
        if not (await self.switch(tenant)).hold:
            return True
        released = asyncio.Event()
        self._held[tenant].add(released)
        gone = asyncio.create_task(_wait_for_disconnect(receive))
        waiting = {gone, asyncio.create_task(released.wait())}
        try:
            await asyncio.wait(waiting, timeout=self.hold_limit_s, return_when=asyncio.FIRST_COMPLETED)
            return not gone.done()
        finally:
            self._held[tenant].discard(released)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


class _HeldResponse(Response):
    """An answer that is sent when `released` returns True, and never when it returns False."""

    def __init__(self, answer: Response, released: Callable[[Receive], Awaitable[bool]]) -> None:
        super().__init__(status_code=answer.status_code)
        self._answer = answer
        self.raw_headers = answer.raw_headers  # shared, so that additions reach the answer too
        self._wait_for_release = released

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if await self._wait_for_release(receive):
            await self._answer(scope, receive, send)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _failure(switch: Switch, status: int) -> Response:
    seconds = switch.retry_after_s
    headers = {} if seconds is None else {"Retry-After": f"{seconds:g}"}
    return json_answer({"error": f"the demo CRM was told to answer {status}"}, status, headers)


def _read_switch(connection: sqlite3.Connection, tenant: str) -> Switch:
    row = connection.execute("SELECT chaos FROM tenant WHERE id = ?", (tenant,)).fetchone()
    return msgspec.json.decode(row["chaos"], type=Switch)
