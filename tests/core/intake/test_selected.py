"""Selected messages and days in any order, at once, twice, in two processes, with lost answers: one record for each."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from messagelog.connectors import OutcomeUnknown, Unavailable
from messagelog.core import Times
from support.crash_campaign import Clock
from support.memory_crm import Batches, Call, Crm, Finding, Plain, ReadingBack, Upserting
from support.requests import body, message
from support.run_until_idle import run_until_idle
from support.runtime_fixture import runtime_fixture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from messagelog.connectors import ConnectorError

ALL = (1, 2, 3, 4)
DAY_MS = 86_400_000
TIMES = Times(answer=0.1, call=5.0, lease=60.0)

Request = tuple[int, frozenset[int]]
"""Which process it goes to, and which messages are selected (none: the days are logged whole)."""

requests = st.tuples(st.integers(0, 1), st.frozensets(st.sampled_from(ALL), max_size=3))


def message_of(number: int) -> dict[str, Any]:
    """A message of the conversation; the last two are of the next day."""
    made = message(number, f"text-{number:02}.")
    made["creationTime"] += DAY_MS if number > 2 else 0
    return made


def bodies(selected: frozenset[int]) -> list[dict[str, Any]]:
    """What the client sends for a selection, or for both days."""
    if not selected:
        return [
            body(*(message_of(n) for n in (1, 2))),
            body(*(message_of(n) for n in (3, 4)), day="7/14/2026"),
        ]
    sent = body(*map(message_of, ALL))
    del sent["logInfo"]["conversationLogId"]
    return [{**sent, "selectedMessageIds": [str(n) for n in selected]}]


def losing(faults: Sequence[tuple[bool, bool]]) -> tuple[Any, Any]:
    """The ends of the next writes, before the work and after it: (away, answer lost)."""
    left = list(faults)
    after = False

    def before(call: Call) -> ConnectorError | None:
        nonlocal after
        after = False
        if call.kind not in {"create", "update"} or not left:
            return None
        away, after = left.pop(0)
        return Unavailable("no connection") if away else None

    def lost(_call: Call) -> ConnectorError | None:
        return OutcomeUnknown("lost") if after else None

    return before, lost


@pytest.mark.parametrize("connector", [Upserting, Finding, ReadingBack, Batches])
@given(
    rounds=st.lists(st.lists(requests, min_size=1, max_size=3), min_size=1, max_size=4),
    faults=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=4),
)
@example(rounds=[[(0, frozenset({1, 2})), (1, frozenset({2, 3}))]], faults=[])
@example(
    rounds=[[(0, frozenset({1, 2}))], [(1, frozenset({2, 3}))], [(0, frozenset())]],
    faults=[(False, True)] * 3,
)
@example(rounds=[[(0, frozenset())], [(0, frozenset({1, 3}))]], faults=[(True, False), (False, True)])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
def test_each_message_is_in_exactly_one_record(
    sqlite_template: Path,
    tmp_path: Path,
    connector: type[Plain],
    rounds: list[list[Request]],
    faults: list[tuple[bool, bool]],
) -> None:
    if connector is Batches and faults:
        faults = [(away, False) for away, _ in faults]  # it can tell nothing of a lost create
    path = tmp_path / "messagelog.sqlite"
    shutil.copy(sqlite_template, path)
    crm = Crm()
    asyncio.run(_in_one_record(f"sqlite:///{path}", crm, connector, rounds, faults))
    whole = [activity.body for activity in crm.activities.values()]
    for number in ALL:
        held = [text.count(f"text-{number:02}.") for text in whole]
        assert sum(held) == 1, f"message {number}: {held}"


async def test_two_processes_on_one_database(database_url: str) -> None:
    crm = Crm()
    rounds = [[(0, frozenset({1, 2})), (1, frozenset({2, 3})), (0, frozenset()), (1, frozenset({1, 2}))]]
    await _in_one_record(database_url, crm, Upserting, rounds, [(False, True), (True, False)])
    whole = "\n".join(activity.body for activity in crm.activities.values())
    assert [whole.count(f"text-{number:02}.") for number in ALL] == [1] * 4


async def _in_one_record(
    url: str,
    crm: Crm,
    connector: type[Plain],
    rounds: Sequence[Sequence[Request]],
    faults: Sequence[tuple[bool, bool]],
) -> None:
    clock = Clock()
    crm.now = clock
    crm.before, crm.after = losing(faults)
    made: dict[str, Any] = {"crm": crm, "settings": TIMES, "clock": clock}
    async with runtime_fixture(url, connector, **made) as one, runtime_fixture(url, connector, **made) as two:
        processes = (one, two)
        for at_once in rounds:
            sent = [(processes[place], each) for place, chosen in at_once for each in bodies(chosen)]
            await asyncio.gather(*(process.send(each) for process, each in sent))
        for each in bodies(frozenset()):
            await one.send(each)

        async def sweep() -> None:
            for process in processes:
                await process.runtime.sweep()
                await process.runtime.idle()

        await run_until_idle(one.runtime, one.store, clock, sweep)
        for each in bodies(frozenset(ALL[:3])) + bodies(frozenset()):
            answer = await two.send(each)
            assert answer.successful
        await run_until_idle(two.runtime, two.store, clock, sweep)
        assert set((await one.states()).values()) == {"logged"}
