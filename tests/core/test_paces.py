"""Paces in life: runtimes on a real database, a CRM that keeps to its limits, and time that passes by itself."""

from __future__ import annotations

import asyncio
import statistics
from typing import TYPE_CHECKING

import pytest

from support.paced import Limited, LimitedCrm, process
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
            for user in users:
                await here.sign_in(user)
                await asyncio.sleep(2)
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
