"""A limiter by itself: a row in memory, time that passes by itself, and a connector that makes mistakes."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pytest

from messagelog.connectors import Connector, Left, RateLimit
from messagelog.connectors.errors import Throttled
from messagelog.connectors.limits import RequestEnd
from messagelog.core.rate_limits import call_context
from messagelog.core.rate_limits.registry import LimiterRegistry
from support.virtual_clock import VirtualTimeLoop, run_in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from messagelog.core.rate_limits.limiter import RateLimiter
    from messagelog.storage.transactions import Transaction

T = TypeVar("T")


class RowStore:
    """Runs the one script of a pace. It is `away` for so many writes, and takes `seconds` for one."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self.away = 0
        self.seconds = 0.0
        self.text = "{}"
        self.circuit = "closed"
        self.woken = 0

    async def write(self, transaction: Callable[[], Transaction[T]], *, locks: Sequence[Any] = ()) -> T:
        del locks
        await asyncio.sleep(self.seconds)
        if self.away:
            self.away -= 1
            raise ConnectionError
        running = transaction()
        next(running)
        try:
            saved: Any = running.send([[(self.text, self._loop.clock())]])
            self.text, self.circuit = saved.params[0]["pace"], saved.params[0]["circuit"]
            running.send(None)
            self.woken += 1
            running.send([[]])
        except StopIteration as end:
            value: T = end.value
            return value
        raise AssertionError

    async def read(self, transaction: Callable[[], Transaction[T]]) -> T:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


class Slow(Connector):
    """Declares a limit, so that every request asks."""

    name = "slow"
    rate_limits: ClassVar[tuple[RateLimit, ...]] = (RateLimit(50, 1),)
    left: Left | None = None

    def rate_headers(self, headers: Mapping[str, str]) -> Left | None:
        del headers
        return self.left


class Free(Slow):
    """Declares none."""

    rate_limits = ()


def limiter_of(loop: VirtualTimeLoop, connector: Slow | None = None) -> tuple[RateLimiter, RowStore, Slow]:
    store, connector = RowStore(loop), connector or Slow()
    limiters = LimiterRegistry(store, jitter=lambda: 0.5)
    return limiters.gate(connector, "acme"), store, connector


@pytest.mark.parametrize("trouble", ["the database is away", "the database is slow"])
def test_a_call_that_has_written_outlasts_a_database_that_does_not_answer(trouble: str) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        limiter, store, _ = limiter_of(loop)
        with call_context.for_work("c1", live_until=math.inf), call_context.single_call():
            first = await limiter.permit(writes=True)
            first.finish(RequestEnd.ANSWERED, 200, {})
            await asyncio.sleep(1)
            store.away, store.seconds = (3, 0.0) if trouble == "the database is away" else (0, 6.0)
            asking = asyncio.create_task(limiter.permit(writes=True))
            await asyncio.sleep(7)
            store.seconds = 0.0
            second = await asking
        assert (first.goes_on, second.goes_on) == (False, True)
        second.finish(RequestEnd.ANSWERED, 200, {})
        await asyncio.sleep(60)
        assert "taken" not in store.text, "no permit is left behind"

    run_in_virtual_time(main)


def test_a_call_that_has_not_written_is_held_back_by_a_database_that_does_not_answer() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        limiter, store, _ = limiter_of(loop)
        store.away = 1
        with (
            call_context.for_work("c1", live_until=math.inf),
            call_context.single_call(),
            pytest.raises(Throttled),
        ):
            await limiter.permit(writes=True)

    run_in_virtual_time(main)


@pytest.mark.parametrize("asked_for", [math.nan, -math.inf, -5.0, 0.0, math.inf, 1e300])
def test_whatever_a_connector_takes_for_a_wait_is_one(asked_for: float) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        limiter, store, _ = limiter_of(loop)
        limiter.hold_back(asked_for)
        await asyncio.sleep(3_700)
        (await limiter.permit(writes=False)).finish(RequestEnd.ANSWERED, 200, {})
        await asyncio.sleep(1)
        assert store.circuit == "closed"

    run_in_virtual_time(main)


@pytest.mark.parametrize("left", [Left(3, math.nan), Left(3, math.inf)])
def test_a_connectors_mistake_in_reading_headers_loses_no_answer(left: Left) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        limiter, store, connector = limiter_of(loop)
        permit = await limiter.permit(writes=True)
        connector.left = left
        permit.finish(RequestEnd.ANSWERED, 200, {})
        await asyncio.sleep(60)
        assert "taken" not in store.text

    run_in_virtual_time(main)


async def send(limiter: RateLimiter, work: object, status: int) -> None:
    with call_context.for_work(work, live_until=math.inf), call_context.single_call():
        (await limiter.permit(writes=True)).finish(RequestEnd.ANSWERED, status, {})


@pytest.mark.parametrize(
    ("statuses", "works", "circuit"),
    [
        ([500] * 5, "ababa", "open"),
        ([500] * 9, "aaaaaaaaa", "closed"),
        ([500] * 4, "abab", "closed"),
        ([500, 500, 500, 500, 404, 500], "ababab", "closed"),
        ([503] * 5, "aaaaa", "open"),
        ([502, 504, 500, 500, 500], "aaaaa", "open"),
    ],
)
def test_a_circuit_opens_when_a_crm_fails_steadily_and_not_for_one_conversation(
    statuses: list[int], works: str, circuit: str
) -> None:
    """A gateway that says that nothing is behind it says nothing of what a conversation holds."""

    async def main(loop: VirtualTimeLoop) -> None:
        limiter, store, _ = limiter_of(loop)
        for status, work in zip(statuses, works, strict=True):
            await send(limiter, work, status)
        await asyncio.sleep(1)
        assert store.circuit == circuit
        assert store.woken == (circuit == "open")

    run_in_virtual_time(main)


@pytest.mark.parametrize("answer", ["an earlier request", "a sign-in"])
def test_whatever_is_answered_closes_a_circuit_and_wakes_what_waits(answer: str) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        limiter, store, _ = limiter_of(loop, Free())
        with call_context.for_work("slow", live_until=math.inf), call_context.single_call():
            slow = await limiter.permit(writes=False)
        for number in range(5):
            await send(limiter, number, 500)
        await asyncio.sleep(1)
        assert (store.circuit, store.woken) == ("open", 1)
        if answer == "a sign-in":
            limiter.count_requests(1)
        else:
            slow.finish(RequestEnd.ANSWERED, 200, {})
        await asyncio.sleep(1)
        assert (store.circuit, store.woken) == ("closed", 2)

    run_in_virtual_time(main)


@pytest.mark.parametrize(("last", "circuit"), [((200, 500), "closed"), ((500,), "open")])
def test_an_answer_that_tells_what_is_left_counts_as_any_other(last: tuple[int, ...], circuit: str) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        limiter, store, connector = limiter_of(loop)
        connector.left = Left(30, 60.0, 30)
        for number, status in enumerate([500, 500, 500, 500, *last]):
            with call_context.for_work(number, live_until=math.inf), call_context.single_call():
                (await limiter.permit(writes=True)).finish(RequestEnd.ANSWERED, status, {})
        await asyncio.sleep(1)
        assert store.circuit == circuit

    run_in_virtual_time(main)
