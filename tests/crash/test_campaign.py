"""Every point at which a process can die or meet an error of its own, once and twice: never twice in the CRM, never
lost, never unseen.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from messagelog.storage import open_store
from support import COUNTS
from support.campaign import (
    AWAY_ERROR,
    RESOLVABLE,
    SCENARIOS,
    Campaign,
    Clock,
    Result,
    Scenario,
    campaign,
)
from support.crashing import Mishap
from support.slipping import Slip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from support.crm import Plain

LONG = os.environ.get("MESSAGELOG_PROVE") == "1"
"""Every schedule of two crashes, rather than a draw of them: for `make prove`."""

PAIRS = 3
"""How many of the schedules with two mishaps are drawn for each scenario and kind of CRM."""

ERRORS = (None, Slip, AWAY_ERROR)
"""What may happen at a point: the process dies, a mistake of ours shows, or the database is away."""


@pytest.fixture
async def here(database_url: str) -> AsyncIterator[Campaign]:
    clock = Clock()
    store = await open_store(database_url, clock=clock)
    async with campaign(store, clock) as made:
        yield made
    await store.close()


@pytest.mark.timeout(3600 if LONG else 120)
@pytest.mark.parametrize(
    ("scenario", "kind"),
    [
        pytest.param(scenario, kind, id=f"{scenario.name}-{kind.__name__}")
        for scenario in SCENARIOS
        for kind in scenario.goes_to
    ],
)
async def test_every_schedule_of_one_mishap_and_a_draw_of_two(
    here: Campaign,
    scenario: Scenario,
    kind: type[Plain],
    record_property: Callable[[str, object], None],
) -> None:
    clean = await here.run(scenario, kind, [None])
    assert not clean.problems, clean
    assert set(clean.states) == {"logged"} or scenario.faults
    points = range(1, len(clean.passed) + 1)
    draw = random.Random(f"{scenario.name} {kind.__name__}")
    schedules = [[Mishap(at, error)] for error in ERRORS for at in points]
    if LONG:
        schedules += [[Mishap(first), Mishap(second)] for first in points for second in points]
    pairs = len(points) if LONG else PAIRS
    for _ in range(pairs):
        schedules.append([Mishap(draw.choice(points), draw.choice(ERRORS)) for _ in range(2)])
    ended: Counter[str] = Counter()
    for schedule in schedules:
        result = await here.run(scenario, kind, schedule)
        assert not result.problems, (schedule, result)
        ended[_end(result)] += 1
    if kind in RESOLVABLE:
        assert set(ended) == {"logged"}
    record_property(COUNTS, [scenario.name, kind.__name__, dict(ended)])


def _end(result: Result) -> str:
    return "+".join(sorted(result.states))
