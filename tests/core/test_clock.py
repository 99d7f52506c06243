"""A clock that was wrong for a while: work goes on when it is right again, and nothing is done twice for it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from messagelog.connectors import Credentials, OAuth, RateLimit, Unavailable
from messagelog.core import Times
from messagelog.core.rate_limits.budget import Urgency
from messagelog.core.users.directory import _refresh_after
from messagelog.storage import transactions
from messagelog.storage.records.limits import LimiterChange
from support.crash_campaign import Clock, kill_runtime
from support.live_server import SQLITE_ONLY
from support.memory_crm import Crm, Finding, Plain
from support.requests import body, message
from support.runtime_fixture import runtime_fixture
from support.waiting import until

if TYPE_CHECKING:
    from messagelog.core.rate_limits.registry import LimiterRegistry
    from support.runtime_fixture import RuntimeFixture

YEAR = 365 * 86_400_000
BRISK = Times(answer=0.2, call=5.0, lease=60.0)


async def swept(here: RuntimeFixture) -> None:
    await here.runtime.sweep()
    await here.runtime.idle()


async def test_a_retry_of_a_year_ahead_is_taken_up(database_url: str) -> None:
    clock = Clock()
    async with runtime_fixture(database_url, clock=clock, settings=BRISK, jitter=lambda: 0.5) as here:
        clock.now += YEAR
        here.crm.before = lambda _call: Unavailable("no connection")
        await here.send(body(message(1)))
        assert await here.states() == {"1": "planned"}
        clock.now -= YEAR
        here.crm.before = None
        await swept(here)
        assert await here.states() == {"1": "logged"}


async def test_a_retry_of_a_few_hours_ahead_is_waited_for(database_url: str) -> None:
    """It cannot be told from a wait of ours."""
    clock = Clock()
    async with runtime_fixture(database_url, clock=clock, settings=BRISK, jitter=lambda: 0.5) as here:
        clock.now += 3 * 3_600_000
        here.crm.before = lambda _call: Unavailable("no connection")
        await here.send(body(message(1)))
        clock.now -= 3 * 3_600_000
        here.crm.before = None
        await swept(here)
        assert await here.states() == {"1": "planned"}
        clock.now += 3 * 3_600_000 + 60_000
        await swept(here)
        assert await here.states() == {"1": "logged"}


async def test_a_call_that_died_a_year_ahead_is_found_out_about(database_url: str) -> None:
    clock, crm = Clock(), Crm()
    async with runtime_fixture(database_url, Finding, crm=crm, clock=clock, settings=BRISK) as here:
        clock.now += YEAR
        crm.gate = asyncio.Event()
        sending = asyncio.create_task(here.send(body(message(1))))
        await until(lambda: crm.activities)
        await kill_runtime(here.runtime)
        await sending
        clock.now -= YEAR
    crm.gate = None
    async with runtime_fixture(database_url, Finding, crm=crm, clock=clock, settings=BRISK) as again:
        await swept(again)
        assert await again.states() == {"1": "calling"}, "its process may live, for all that anybody knows"
        clock.now += 61_000
        await swept(again)
        assert await again.states() == {"1": "logged"}
        assert crm.count("create") == 1


async def test_a_call_under_way_is_not_taken_over_when_the_clock_is_set_right(database_url: str) -> None:
    clock, crm = Clock(), Crm()
    async with (
        runtime_fixture(database_url, Finding, crm=crm, clock=clock, settings=BRISK) as here,
        runtime_fixture(database_url, Finding, crm=crm, clock=clock, settings=BRISK) as other,
    ):
        clock.now += YEAR
        crm.gate = asyncio.Event()
        sending = asyncio.create_task(here.send(body(message(1))))
        await until(lambda: crm.activities)
        clock.now -= YEAR
        for _ in range(3):
            await other.runtime.sweep()
            clock.now += 10_000
        assert crm.count("find") == 0
        crm.gate.set()
        await sending
        await here.runtime.idle()
        assert await here.states() == {"1": "logged"}
        assert len(crm.activities) == 1


class Limited(Plain):
    rate_limits = (RateLimit(5, seconds=1), RateLimit(1000, seconds=86_400))


async def test_a_pace_of_a_year_ahead_holds_nobody_up(database_url: str) -> None:
    clock = Clock()
    for connector in (Plain, Limited):
        async with runtime_fixture(database_url, connector, clock=clock, settings=BRISK) as here:
            tenant = connector.__name__
            await here.user(f"{tenant}/ada")
            far = clock.now + YEAR

            def held(_pace: str, _now: int, far: int = far) -> tuple[LimiterChange, None]:
                text = (
                    f'{{"circuit":"open","probe_at":{far},"not_before":{far},"since":{far},"pause_ms":5000}}'
                )
                return LimiterChange(text, "open", far, far, far), None

            await here.store.write(partial(transactions.update_limiter, tenant, "memory", held))
            await swept(here)
            limiters: LimiterRegistry = here.context.users.limiters
            gate = limiters.gate(here.runtime.connector("memory"), tenant)
            assert limiters.backlog_share(here.runtime.connector("memory"), tenant) > 0
            assert gate._known[tenant, "memory"].resume_at(Urgency.LIVE) <= asyncio.get_running_loop().time()


# ------------------------------------------------------------------------------------- credentials


class SignsIn(Plain):
    oauth = OAuth(authorization_url="https://crm.example/authorize", token_url="https://crm.example/token")


@SQLITE_ONLY
async def test_credentials_of_the_future_are_refreshed_where_they_can_be(database_url: str) -> None:
    now, hour, day = 1_800_000_000_000, 3_600_000, 86_400_000
    connector = SignsIn(Crm())

    def due(issued_at: int, refresh_token: str = "r") -> float:
        credentials = Credentials(
            access_token="a", refresh_token=refresh_token, issued_at=issued_at, expires_at=issued_at + hour
        )
        found = _refresh_after(connector, credentials, now)
        assert found is not None
        return found

    assert due(now) > now
    assert due(now + 1_000) > now, "the clock of another machine"
    assert due(now + day) <= now
    assert due(now + day, refresh_token="") > now, "there is nothing to refresh them with"
