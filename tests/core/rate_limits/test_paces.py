"""Paces in life: runtimes on a real database, a CRM that keeps to its limits, and time that passes by itself."""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections import Counter
from typing import TYPE_CHECKING, ClassVar

import msgspec
import pytest
from msgspec.structs import replace

from messagelog.connectors import MessageLog, RateLimit, Session
from messagelog.core.rate_limits.budget import LimiterState
from messagelog.storage import transactions
from messagelog.storage.records.limits import LimiterChange
from storage.journal import run_sql
from support.limited_crm import (
    DeclaringConnector,
    RateLimitedConnector,
    RateLimitedCrm,
    ServerProcess,
    server_process,
)
from support.process_group import sqlite_database
from support.virtual_clock import VirtualTimeLoop, run_in_virtual_time

DAY = 86_400.0

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def paces_of(url: str) -> list[tuple[str, str]]:
    """The tenants that have a row of their own, and their circuits."""
    return [(tenant, circuit) for tenant, circuit in run_sql(url, 'SELECT "tenant", "circuit" FROM "paces"')]


async def until(true: Callable[[], bool], *, within: float, every: float = 1.0) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while not true():
        assert loop.time() < end, "it never happens"
        await asyncio.sleep(every)


def test_two_processes_share_a_budget(database_url: str) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        crm = RateLimitedCrm(loop.time, limits=((5, 1.0), (1_000, 86_400.0)))
        async with (
            server_process(loop, database_url, crm, DeclaringConnector()) as one,
            server_process(loop, database_url, crm, DeclaringConnector()) as two,
        ):
            await one.sign_in("acme/ada")
            sending = [
                each.send("acme/ada", number, conversation=f"c{number}")
                for number, each in enumerate([one, two] * 20, 1)
            ]
            answers = await asyncio.gather(*sending)
            assert all(answer.successful for answer in answers)
            await until(lambda: len(crm.texts()) == 40, within=60)
            assert crm.most_within("acme", 1.0) <= 5
            assert crm.statuses() == {200: 41}
            assert set(crm.texts().values()) == {1}

    run_in_virtual_time(main)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_burst_is_logged_at_the_pace_of_the_crm_and_live_messages_go_first(database_url: str) -> None:
    """5 requests a second and 1,000 a day, 3,000 messages of 50 users at once, and a new user every 20 minutes."""

    async def main(loop: VirtualTimeLoop) -> None:
        crm = RateLimitedCrm(loop.time, limits=((5, 1.0), (1_000, DAY)))
        async with server_process(loop, database_url, crm, DeclaringConnector()) as here:
            users = [f"acme/u{number}" for number in range(50)]
            await here.sign_in(*users)
            burst = [
                here.send(
                    users[number % 50], *range(100 * number + 1, 100 * number + 11), conversation=f"c{number}"
                )
                for number in range(300)
            ]
            assert all(answer.successful for answer in await asyncio.gather(*burst))
            old = dict(here.arrived)
            for number in range(100_000, 100_250):
                await here.send(users[number % 50], number, conversation=f"c{number}")
                await asyncio.sleep(20 * 60)
            await until(lambda: len(crm.texts()) == 3_250, within=2 * DAY, every=600.0)
            assert crm.most_within("acme", 1.0) <= 5
            assert crm.most_within("acme", DAY) <= 1_000
            assert crm.statuses() == {200: 3_300}
            assert set(crm.texts().values()) == {1}
            waits = {seen.text: seen.at - here.arrived[seen.text] for seen in crm.seen if seen.text}
            live = [wait for text, wait in waits.items() if text not in old]
            caught_up = [wait for text, wait in waits.items() if text in old]
            assert max(live) < 5
            assert statistics.mean(live) < statistics.mean(caught_up)
            for texts in crm.activities.values():
                assert texts == sorted(texts, key=lambda text: int(text.removeprefix("text ")))

    run_in_virtual_time(main)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("connector", [DeclaringConnector, RateLimitedConnector])
def test_a_crm_is_down_for_an_hour_under_steady_traffic(
    database_url: str, connector: type[RateLimitedConnector]
) -> None:
    """Then it is back: every message once and in order, no herd, and all is drained at the allowed rate."""

    async def main(loop: VirtualTimeLoop) -> None:
        crm = RateLimitedCrm(loop.time, limits=((5, 1.0),) if connector is DeclaringConnector else ())
        begun = loop.time()
        async with server_process(loop, database_url, crm, connector()) as here:
            users = [f"acme/u{number}" for number in range(10)]
            await here.sign_in(*users)
            sending = []
            for number in range(1, 401):
                crm.does = "errs" if 600 <= loop.time() - begun < 4_200 else "answers"
                sending.append(
                    asyncio.create_task(timed(here, users[number % 10], number, f"c{number % 40}"))
                )
                await asyncio.sleep(12)
            took = await asyncio.gather(*sending)
            back = begun + 4_200
            await until(lambda: len(crm.texts()) == 400, within=3_600)
            assert set(crm.texts().values()) == {1}
            for texts in crm.activities.values():
                assert texts == sorted(texts, key=lambda text: int(text.removeprefix("text ")))
            assert crm.statuses()[503] < 420, (
                "once for each who logs, and now and then for what was left behind"
            )
            assert statistics.mean(took[60:340]) < 1, "who logs while it is down is answered at once"
            after = [seen.at for seen in crm.seen if seen.at >= back]
            assert most(after, 1.0) <= (5 if connector is DeclaringConnector else 120), (
                "sixteen logs at a time"
            )
            assert sum(at < back + 3 for at in after) <= 60, "a few at first"
            done = {seen.text: seen.at for seen in crm.seen if seen.status == 200}
            waited = [done[f"text {number}"] for number in range(1, 351)]
            assert max(waited) < back + (150 if connector is DeclaringConnector else 60), (
                "what had waited is done"
            )
            assert crm.statuses().keys() == {200, 503}

    run_in_virtual_time(main)


HISTORIES = {
    "once": [(700, 0)],
    "again and again": [(40, 20), (40, 3), (200, 70), (600, 0)],
    "flickering": [(25, 2)] * 12,
}
"""Seconds for which a CRM is away, and then there."""


@pytest.mark.parametrize("conversations", [2, 6])
@pytest.mark.parametrize("does", ["errs", "fails", "hangs", "refuses"])
@pytest.mark.parametrize("history", HISTORIES)
def test_a_crm_that_is_back_has_live_work_in_ten_seconds_and_the_backlog_in_a_minute(
    tmp_path: Path, sqlite_template: Path, history: str, does: str, conversations: int
) -> None:
    """Whatever it did before, and however it was away."""

    async def main(loop: VirtualTimeLoop) -> None:
        crm = RateLimitedCrm(loop.time)
        url = sqlite_database(sqlite_template, tmp_path)
        async with server_process(loop, url, crm, RateLimitedConnector(), slowly=False) as here:
            await here.sign_in("acme/ada")
            numbers = itertools.count(1)

            async def send(seconds: float) -> None:
                """Every seven seconds a user sends, in one conversation or another."""
                end = loop.time() + seconds
                while loop.time() < end:
                    number = next(numbers)
                    sending.append(
                        asyncio.create_task(timed(here, "acme/ada", number, f"c{number % conversations}"))
                    )
                    await asyncio.sleep(7)

            sending: list[asyncio.Task[float]] = []
            for away, there in HISTORIES[history]:
                crm.does = does
                await send(away)
                crm.does = "answers"
                await asyncio.sleep(there)
            crm.does = "answers"
            back, waiting = loop.time(), {f"text {number}" for number in range(1, next(numbers))}
            await asyncio.sleep(3)
            # Where a call hangs, what comes behind it in its own conversation waits for the end of that call.
            conversation = "c-new" if does == "hangs" else "c1"
            await here.send("acme/ada", 10_000, conversation=conversation)
            await until(lambda: "text 10000" in crm.texts(), within=10, every=0.1)
            await until(lambda: waiting <= crm.texts().keys(), within=back + 60 - loop.time())
            await asyncio.gather(*sending)
            assert set(crm.texts().values()) == {1}

    run_in_virtual_time(main)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("does", ["fails", "hangs"])
def test_one_conversation_that_has_failed_for_hours_is_tried_when_somebody_sends_more_of_it(
    database_url: str, does: str
) -> None:
    """No circuit opens for it, and it may wait for hours; what fails then is no try of its own."""

    async def main(loop: VirtualTimeLoop) -> None:
        crm = RateLimitedCrm(loop.time)
        async with server_process(loop, database_url, crm, RateLimitedConnector(), slowly=False) as here:
            await here.sign_in("acme/ada")
            crm.does = does
            await here.send("acme/ada", 1, conversation="c1")
            await asyncio.sleep(3 * 3_600)
            assert paces_of(database_url) == []
            before = await tries(here)
            for number in range(2, 20):
                await here.send("acme/ada", number, conversation="c1")
                await asyncio.sleep(1)
            assert await tries(here) <= before + 1, "it is not given up for that"
            crm.does = "answers"
            await asyncio.sleep(60)
            assert await timed(here, "acme/ada", 20, "c1") < 10
            assert crm.texts() == Counter(f"text {number}" for number in range(1, 21))

    run_in_virtual_time(main)


def begun_before(days: int) -> Callable[[str, int], tuple[LimiterChange, None]]:
    """Makes an open circuit one that has been open for so many days more."""

    def change(text: str, _now: int) -> tuple[LimiterChange, None]:
        pace = msgspec.json.decode(text, type=LimiterState)
        since = pace.since - days * 86_400_000
        earlier = msgspec.json.encode(replace(pace, since=since)).decode()
        return LimiterChange(earlier, pace.circuit, None, pace.probe_at, pace.active_until(), since), None

    return change


async def tries(here: ServerProcess) -> int:
    (summary,) = await here.runtime.context.store.read(lambda: transactions.list_logs(10))
    return summary.log.attempt_count


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_had_failed_for_hours_goes_on_when_a_circuit_closes(database_url: str) -> None:
    """A conversation that failed alone waits by its own table, until others show that it was the CRM."""

    async def main(loop: VirtualTimeLoop) -> None:
        crm = RateLimitedCrm(loop.time)
        async with server_process(loop, database_url, crm, RateLimitedConnector(), slowly=False) as here:
            await here.sign_in("acme/ada")
            crm.does = "fails"
            await here.send("acme/ada", 1, conversation="c1")
            await asyncio.sleep(3 * 3_600)
            for number in range(2, 6):
                await here.send("acme/ada", number, conversation=f"c{number}")
            await asyncio.sleep(60)
            ((_, circuit),) = paces_of(database_url)
            assert circuit != "closed"
            crm.does = "answers"
            await until(lambda: len(crm.texts()) == 5, within=60)

    run_in_virtual_time(main)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("days", "given_up"), [(2, False), (4, True)])
def test_no_outage_of_days_gives_a_message_up_but_one_without_end_does(
    database_url: str, days: int, given_up: bool
) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        crm = RateLimitedCrm(loop.time)
        async with server_process(loop, database_url, crm, RateLimitedConnector()) as here:
            await here.sign_in("acme/ada")
            crm.does = "refuses"
            await here.send("acme/ada", 1, conversation="c1")
            await asyncio.sleep(180)
            before = await tries(here)
            await here.runtime.context.store.write(
                lambda: transactions.update_limiter("acme", "paced", begun_before(days))
            )
            await asyncio.sleep(600)
            assert (await tries(here) > before) is given_up, "it counts its tries again"

    run_in_virtual_time(main)


def most(times: list[float], seconds: float) -> int:
    return max(sum(first <= at < first + seconds for at in times) for first in times)


async def timed(here: ServerProcess, user: str, number: int, conversation: str) -> float:
    """How long the answer takes; it is a good one in any case."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    answer = await here.send(user, number, conversation=conversation)
    assert answer.successful
    assert answer.log_ids == [str(number)]
    return loop.time() - begun


def test_a_refusal_slows_its_tenant_down_and_nobody_else(database_url: str) -> None:
    """In all processes: one is refused, and the other one does not even ask."""

    async def main(loop: VirtualTimeLoop) -> None:
        crm = RateLimitedCrm(loop.time, limits=((3, 60.0),))
        async with (
            server_process(loop, database_url, crm, RateLimitedConnector()) as one,
            server_process(loop, database_url, crm, RateLimitedConnector()) as two,
        ):
            await one.sign_in("acme/ada", "otto/otto")
            for number in range(1, 4):
                await one.send("acme/ada", number, conversation=f"c{number}")
            assert crm.statuses("acme") == {200: 3, 429: 1}
            await asyncio.sleep(2)
            took = await timed(two, "acme/ada", 4, "c4")
            assert took < 3
            assert crm.statuses("acme") == {200: 3, 429: 1}
            assert await timed(two, "otto/otto", 5, "c5") < 1
            assert [tenant for tenant, _ in paces_of(database_url)] == ["acme"]
            await until(lambda: len(crm.texts()) == 5, within=1_200)
            assert set(crm.texts().values()) == {1}

    run_in_virtual_time(main)


def test_what_a_crm_tells_is_kept_to_without_a_declaration(database_url: str) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        crm = RateLimitedCrm(loop.time, limits=((20, 60.0),), tells=True)
        async with server_process(loop, database_url, crm, RateLimitedConnector()) as here:
            await here.sign_in("acme/ada")
            for number in range(1, 61):
                await timed(here, "acme/ada", number, f"c{number}")
            await until(lambda: len(crm.texts()) == 60, within=1_200)
            assert crm.statuses() == {200: 61}

    run_in_virtual_time(main)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_one_conversation_that_a_crm_cannot_digest_opens_no_circuit(database_url: str) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        crm = RateLimitedCrm(loop.time, fails=lambda _tenant, text: 500 if text == "text 1" else None)
        async with server_process(loop, database_url, crm, RateLimitedConnector()) as here:
            await here.sign_in("acme/ada")
            await here.send("acme/ada", 1, conversation="c1")
            await asyncio.sleep(6_000)
            assert crm.statuses("acme")[500] >= 5
            assert paces_of(database_url) == []
            assert await timed(here, "acme/ada", 2, "c2") < 1

    run_in_virtual_time(main)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nothing_is_stored_of_a_pace_that_nothing_limits(database_url: str) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        crm = RateLimitedCrm(loop.time)
        async with server_process(loop, database_url, crm, RateLimitedConnector()) as here:
            await here.sign_in("acme/ada")
            await asyncio.gather(
                *(here.send("acme/ada", number, conversation=f"c{number}") for number in range(1, 30))
            )
            assert crm.statuses() == {200: 30}
            assert paces_of(database_url) == []

    run_in_virtual_time(main)


class TwoWrites(DeclaringConnector):
    """A create of two writes: once the first has been sent, it has to go on."""

    rate_limits: ClassVar[tuple[RateLimit, ...]] = (RateLimit(2, 1),)

    async def create_message_log(self, session: Session, log: MessageLog) -> str:
        made = await super().create_message_log(session, log)
        await session.http.patch(f"/activities/{made}", json={"text": f"more of {made}"})
        return made


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_call_that_has_written_is_never_held_back_half_way(database_url: str) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        crm = RateLimitedCrm(loop.time, limits=((2, 1.0),))
        async with server_process(loop, database_url, crm, TwoWrites()) as here:
            await here.sign_in("acme/ada")
            await asyncio.gather(
                *(here.send("acme/ada", number, conversation=f"c{number}") for number in range(1, 21))
            )
            await until(lambda: len(crm.texts()) == 40, within=1_800)
            assert crm.statuses() == {200: 41}, "no call was made twice"

    run_in_virtual_time(main)
