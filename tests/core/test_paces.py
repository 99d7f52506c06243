"""Paces in life: runtimes on a real database, a CRM that keeps to its limits, and time that passes by itself."""

from __future__ import annotations

import asyncio
import statistics
from typing import TYPE_CHECKING, ClassVar

import pytest

from messagelog.connectors import MessageLog, RateLimit, Session
from support.paced import Limited, LimitedCrm, Paced, Process, process
from support.virtual import VirtualLoop, run_virtually

DAY = 86_400.0

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(true: Callable[[], bool], *, within: float, every: float = 1.0) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while not true():
        assert loop.time() < end, "it never happens"
        await asyncio.sleep(every)


def test_two_processes_share_a_budget(database_url: str) -> None:
    async def main(loop: VirtualLoop) -> None:
        crm = LimitedCrm(loop.time, limits=((5, 1.0), (1_000, 86_400.0)))
        async with (
            process(loop, database_url, crm, Limited()) as one,
            process(loop, database_url, crm, Limited()) as two,
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

    run_virtually(main)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_burst_is_logged_at_the_pace_of_the_crm_and_live_messages_go_first(database_url: str) -> None:
    """5 requests a second and 1,000 a day, 3,000 messages of 50 users at once, and somebody new every 20 minutes."""

    async def main(loop: VirtualLoop) -> None:
        crm = LimitedCrm(loop.time, limits=((5, 1.0), (1_000, DAY)))
        async with process(loop, database_url, crm, Limited()) as here:
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

    run_virtually(main)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("connector", [Limited, Paced])
def test_a_crm_is_down_for_an_hour_under_steady_traffic(database_url: str, connector: type[Paced]) -> None:
    """Then it is back: every message once and in order, no herd, and all is drained at the allowed rate."""

    async def main(loop: VirtualLoop) -> None:
        crm = LimitedCrm(loop.time, limits=((5, 1.0),) if connector is Limited else ())
        begun = loop.time()
        async with process(loop, database_url, crm, connector()) as here:
            users = [f"acme/u{number}" for number in range(10)]
            await here.sign_in(*users)
            sending = []
            for number in range(1, 401):
                crm.down = 600 <= loop.time() - begun < 4_200
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
            assert crm.statuses()[503] < 80, "it is hardly asked while it is down"
            assert statistics.mean(took[60:340]) < 1, "who logs while it is down is answered at once"
            after = [seen.at for seen in crm.seen if seen.at >= back]
            assert most(after, 1.0) <= (5 if connector is Limited else 80)
            assert sum(at < back + 3 for at in after) <= 60, "a few at first"
            soon = {seen.text for seen in crm.seen if seen.status == 200 and seen.at < back + 300}
            assert len(soon) > 330, "nearly all of what had waited is done five minutes later"
            assert crm.statuses().keys() == {200, 503}

    run_virtually(main)


def most(times: list[float], seconds: float) -> int:
    return max(sum(first <= at < first + seconds for at in times) for first in times)


async def timed(here: Process, user: str, number: int, conversation: str) -> float:
    """How long the answer takes; it is a good one in any case."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    answer = await here.send(user, number, conversation=conversation)
    assert answer.successful
    assert answer.log_ids == [str(number)]
    return loop.time() - begun


def test_a_refusal_slows_its_tenant_down_and_nobody_else(database_url: str) -> None:
    """In all processes: one is refused, and the other one does not even ask."""

    async def main(loop: VirtualLoop) -> None:
        crm = LimitedCrm(loop.time, limits=((3, 60.0),))
        async with (
            process(loop, database_url, crm, Paced()) as one,
            process(loop, database_url, crm, Paced()) as two,
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
            assert [row.tenant for row in await one.runtime.paces()] == ["acme"]
            await until(lambda: len(crm.texts()) == 5, within=1_200)
            assert set(crm.texts().values()) == {1}

    run_virtually(main)


def test_what_a_crm_tells_is_kept_to_without_a_declaration(database_url: str) -> None:
    async def main(loop: VirtualLoop) -> None:
        crm = LimitedCrm(loop.time, limits=((20, 60.0),), tells=True)
        async with process(loop, database_url, crm, Paced()) as here:
            await here.sign_in("acme/ada")
            for number in range(1, 61):
                await timed(here, "acme/ada", number, f"c{number}")
            await until(lambda: len(crm.texts()) == 60, within=1_200)
            assert crm.statuses() == {200: 61}

    run_virtually(main)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_one_conversation_that_a_crm_cannot_digest_opens_no_circuit(database_url: str) -> None:
    async def main(loop: VirtualLoop) -> None:
        crm = LimitedCrm(loop.time, fails=lambda _tenant, text: 500 if text == "text 1" else None)
        async with process(loop, database_url, crm, Paced()) as here:
            await here.sign_in("acme/ada")
            await here.send("acme/ada", 1, conversation="c1")
            await asyncio.sleep(6_000)
            assert crm.statuses("acme")[500] >= 5
            assert await here.runtime.paces() == []
            assert await timed(here, "acme/ada", 2, "c2") < 1

    run_virtually(main)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nothing_is_stored_of_a_pace_that_nothing_limits(database_url: str) -> None:
    async def main(loop: VirtualLoop) -> None:
        crm = LimitedCrm(loop.time)
        async with process(loop, database_url, crm, Paced()) as here:
            await here.sign_in("acme/ada")
            await asyncio.gather(
                *(here.send("acme/ada", number, conversation=f"c{number}") for number in range(1, 30))
            )
            assert crm.statuses() == {200: 30}
            assert await here.runtime.paces() == []

    run_virtually(main)


class TwoWrites(Limited):
    """A create of two writes: once the first has been sent, it has to go on."""

    rate_limits: ClassVar[tuple[RateLimit, ...]] = (RateLimit(2, 1),)

    async def create_message_log(self, session: Session, log: MessageLog) -> str:
        made = await super().create_message_log(session, log)
        await session.http.patch(f"/activities/{made}", json={"text": f"more of {made}"})
        return made


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_call_that_has_written_is_never_held_back_half_way(database_url: str) -> None:
    async def main(loop: VirtualLoop) -> None:
        crm = LimitedCrm(loop.time, limits=((2, 1.0),))
        async with process(loop, database_url, crm, TwoWrites()) as here:
            await here.sign_in("acme/ada")
            await asyncio.gather(
                *(here.send("acme/ada", number, conversation=f"c{number}") for number in range(1, 21))
            )
            await until(lambda: len(crm.texts()) == 40, within=1_800)
            assert crm.statuses() == {200: 41}, "no call was made twice"

    run_virtually(main)
