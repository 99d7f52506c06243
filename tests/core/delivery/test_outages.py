"""What a runtime does while its database is away, and when it is to end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import pytest
import structlog

from messagelog.connectors import Unavailable
from messagelog.core import Times
from messagelog.core.delivery.outages import write_over_outage
from messagelog.storage import StoreUnavailable
from messagelog.storage.causes import DatabaseFault
from support.forwarder import forwarding
from support.limited_crm import RateLimitedConnector, RateLimitedCrm, server_process
from support.live_server import SQLITE_ONLY
from support.memory_crm import Crm, Plain
from support.postgres import port_of, with_port
from support.requests import body, message
from support.runtime_fixture import runtime_fixture
from support.virtual_clock import VirtualTimeLoop, run_in_virtual_time
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from messagelog.storage import Store
    from messagelog.storage.store import Lock
    from messagelog.storage.transactions import Transaction

T = TypeVar("T")

POSTGRES_ONLY = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
LONG_LEASE = Times(answer=1.0, call=20.0, lease=600.0)
AWAY = DatabaseFault("08006", "the connection is lost")


@dataclass
class Failing:
    """A store whose writes fail a few times, before or after they were committed."""

    store: Store
    times: int
    committed: bool = False
    tried: int = field(default=0)

    async def read(self, transaction: Callable[[], Transaction[T]]) -> T:
        return await self.store.read(transaction)

    async def write(self, transaction: Callable[[], Transaction[T]], *, locks: Sequence[Lock] = ()) -> T:
        self.tried += 1
        if self.tried > self.times:
            return await self.store.write(transaction, locks=locks)
        if self.committed:
            await self.store.write(transaction, locks=locks)
        raise StoreUnavailable(AWAY)

    async def close(self) -> None:
        await self.store.close()


def is_called(crm: Crm) -> Callable[[], bool]:
    return lambda: bool(crm.calls)


# ------------------------------------------------------------------------------------ what was called


@POSTGRES_ONLY
async def test_what_a_call_came_to_is_written_when_the_database_is_back(database_url: str) -> None:
    """Otherwise no process would know of it before the lease has run out, and this CRM allows no reconciling."""
    crm = Crm(gate=asyncio.Event())
    async with (
        forwarding(port_of(database_url)) as proxy,
        runtime_fixture(with_port(database_url, proxy.port), Plain, crm=crm, settings=LONG_LEASE) as here,
    ):
        sending = asyncio.create_task(here.send(body(message(1))))
        await until(is_called(crm))
        proxy.refuse()
        assert crm.gate is not None
        crm.gate.set()
        answer = await sending
        assert answer.log_ids == ["1"], "it was accepted before the database went away"
        proxy.refuse(refusing=False)
        await here.runtime.idle()
        assert await here.states() == {"1": "logged"}
        assert crm.count("create") == 1


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("error", [None, Unavailable("HTTP 503", status=503)])
async def test_an_outcome_is_written_once_whether_its_commit_was_made_or_not(
    database_url: str, committed: bool, error: Unavailable | None
) -> None:
    crm = Crm(before=lambda _call: error)
    async with runtime_fixture(database_url, Plain, crm=crm, settings=LONG_LEASE, jitter=lambda: 1.0) as here:
        await here.user()
        failing = Failing(here.store, times=2, committed=committed)
        worker = here.runtime._dispatcher._worker
        worker._context = replace(worker._context, store=failing)
        await here.send(body(message(1)))
        await here.runtime.idle()
        assert await here.states() == {"1": "logged" if error is None else "planned"}
        assert crm.count("create") == 1
        assert failing.tried > 1


async def test_an_outage_that_is_longer_than_the_lease_is_told() -> None:
    failing = Failing(None, times=1_000)  # type: ignore[arg-type] # nothing gets through to a store
    with pytest.raises(StoreUnavailable):
        await write_over_outage(failing, lambda: iter(()), seconds=0.3)  # type: ignore[arg-type,return-value]
    assert failing.tried > 1


@SQLITE_ONLY
async def test_a_request_that_was_accepted_is_answered_so_whatever_the_database_does_then(
    database_url: str,
) -> None:
    crm = Crm(gate=asyncio.Event())
    async with runtime_fixture(database_url, Plain, crm=crm, settings=LONG_LEASE) as here:
        sending = asyncio.create_task(here.send(body(message(1))))
        await until(is_called(crm))
        here.runtime.context.store = Stuck(here.store, fails=True)
        answer = await sending
        assert (answer.successful, answer.log_ids) == (True, ["1"])
        assert crm.gate is not None
        crm.gate.set()
        await here.runtime.idle()


# ------------------------------------------------------------------------------------------ the sweep


@dataclass
class Stuck:
    """A store that does not answer reads for as long as it is told to."""

    store: Store
    stuck: bool = True
    fails: bool = False

    async def read(self, transaction: Callable[[], Transaction[T]]) -> T:
        if self.fails:
            raise StoreUnavailable(AWAY)
        if self.stuck:
            await asyncio.sleep(100_000)
        return await self.store.read(transaction)

    async def write(self, transaction: Callable[[], Transaction[T]], *, locks: Sequence[Lock] = ()) -> T:
        return await self.store.write(transaction, locks=locks)

    async def close(self) -> None:
        await self.store.close()


@SQLITE_ONLY
def test_a_sweep_that_hangs_is_ended_and_begins_again(database_url: str) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        async with server_process(
            loop, database_url, RateLimitedCrm(loop.time), RateLimitedConnector()
        ) as here:
            runtime = here.runtime
            await asyncio.sleep(3)
            assert runtime.seconds_since_sweep <= runtime.times.longest_between_sweeps
            stuck = Stuck(runtime.context.store)
            runtime.context.store = stuck
            with structlog.testing.capture_logs() as lines:
                await asyncio.sleep(100)
                assert runtime.seconds_since_sweep > runtime.times.longest_between_sweeps
                stuck.stuck = False
                await asyncio.sleep(15)
            assert runtime.seconds_since_sweep <= 2
            told = [(line["event"], line["error"]) for line in lines if line["event"] == "sweep_failed"]
            assert told == [("sweep_failed", "TimeoutError")], "it is told of once"

    run_in_virtual_time(main)


@SQLITE_ONLY
def test_an_outage_is_told_of_by_the_sweep_once(database_url: str) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        async with server_process(
            loop, database_url, RateLimitedCrm(loop.time), RateLimitedConnector()
        ) as here:
            runtime = here.runtime
            await asyncio.sleep(3)
            stuck = Stuck(runtime.context.store, stuck=False)
            runtime.context.store = stuck
            with structlog.testing.capture_logs() as lines:
                for _ in range(2):
                    stuck.fails = True
                    await asyncio.sleep(30)
                    stuck.fails = False
                    await asyncio.sleep(5)
            told = [line["cause"] for line in lines if line["event"] == "sweep_failed"]
            assert told == [str(AWAY)] * 2

    run_in_virtual_time(main)


# ------------------------------------------------------------------------------------------ the drain


@SQLITE_ONLY
async def test_a_call_that_outlasts_the_drain_time_is_cut_off_and_named(database_url: str) -> None:
    crm = Crm(gate=asyncio.Event())
    times = Times(answer=0.1, call=20.0, lease=60.0, drain=0.2)
    async with runtime_fixture(database_url, Plain, crm=crm, settings=times) as here:
        await here.send(body(message(1)))
        with structlog.testing.capture_logs() as lines:
            await here.runtime.stop()
            await here.runtime.stop()
        await here.runtime.idle()
    assert [line for line in lines if line["event"] == "shutdown_hung"] == [
        {
            "event": "shutdown_hung",
            "log_level": "error",
            "what": "call",
            "platform": "memory",
            "log": "conv/7/13/2026",
        }
    ]
