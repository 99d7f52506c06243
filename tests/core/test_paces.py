"""Paces in life: runtimes on a real database, a CRM that keeps to its limits, and time that passes by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from support.paced import Limited, LimitedCrm, process
from support.virtual import VirtualLoop, run_virtually

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
