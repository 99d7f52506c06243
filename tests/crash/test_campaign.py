"""Every point at which a process can die or meet an error of its own, once and twice: never twice in the CRM, never
lost, never unseen.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from messagelog.storage import open_store
from support import COUNTS
from support.crash_campaign import (
    RESOLVABLE,
    SCENARIOS,
    Campaign,
    Clock,
    Result,
    Scenario,
    campaign,
)
from support.crash_points import Mishap
from support.effort import ONE_OF, PAIRS, PROVE, random_from_seed
from support.own_faults import DatabaseAway, OwnFault

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable

    from support.memory_crm import Plain

ERRORS = (OwnFault, DatabaseAway)
"""Errors of our own that are met at every point: a mistake shows, or the database is away."""


@pytest.fixture
async def here(database_url: str) -> AsyncIterator[Campaign]:
    clock = Clock()
    store = await open_store(database_url, clock=clock)
    async with campaign(store, clock) as made:
        yield made
    await store.close()


@pytest.mark.timeout(3600 if PROVE else 120)
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
    database_url: str,
    scenario: Scenario,
    kind: type[Plain],
    record_property: Callable[[str, object], None],
) -> None:
    clean = await here.run(scenario, kind, [None])
    assert not clean.problems, clean
    assert set(clean.states) == {"logged"} or scenario.faults
    points = range(1, len(clean.passed) + 1)
    draw = random_from_seed(f"{database_url.partition(':')[0]} {scenario.name} {kind.__name__}")
    pairs = list(itertools.product(points, points))
    if PAIRS is not None and len(pairs) > PAIRS:
        pairs = draw.sample(pairs, PAIRS)
    schedules = _of_one(clean.passed, draw, quick=database_url.startswith("sqlite"))
    schedules += [[Mishap(at, draw.choice((None, *ERRORS))) for at in pair] for pair in pairs]
    ended: Counter[str] = Counter()
    for schedule in schedules:
        result = await here.run(scenario, kind, schedule)
        assert not result.problems, (schedule, result)
        ended[_end(result)] += 1
    if kind in RESOLVABLE:
        assert set(ended) == {"logged"}
    record_property(COUNTS, [scenario.name, kind.__name__, dict(ended)])


def _of_one(passed: list[str], draw: random.Random, *, quick: bool) -> list[list[Mishap]]:
    """The schedules of one mishap. `quick` says that the database is the quick one.

    All of them in a long run. In a short one the quick database has every crash, and at the first and the last point
    with each name one of the errors; the other has every so-manieth of all these, from another one on for each
    scenario and CRM.
    """
    crashes = [[Mishap(at)] for at in range(1, len(passed) + 1)]
    if PROVE:
        return crashes + [[Mishap(at, error)] for error in ERRORS for at in range(1, len(passed) + 1)]
    first = {name: at for at, name in reversed([*enumerate(passed, 1)])}
    last = {name: at for at, name in enumerate(passed, 1)}
    errors = [[Mishap(at, draw.choice(ERRORS))] for at in sorted({*first.values(), *last.values()})]
    return [*crashes, *errors] if quick else [*crashes, *errors][draw.randrange(ONE_OF) :: ONE_OF]


def _end(result: Result) -> str:
    return "+".join(sorted(result.states))
