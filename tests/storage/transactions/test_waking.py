"""A CRM that goes away or comes back makes what waits for it due, in any process; and so does a request that waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from messagelog.storage import AcceptResult, LogKey, RowState, transactions
from messagelog.storage.records.limits import LimiterChange
from storage.journal import KEY, SETTLE, became

if TYPE_CHECKING:
    from messagelog.storage import LogRow
    from storage.journal import Journal

HOURS = 4 * 3_600_000


async def wait(
    journal: Journal,
    key: LogKey = KEY,
    *,
    reason: str = "unavailable: no",
    unknown: bool = False,
    asks: int = 0,
) -> None:
    """A log whose call did not arrive, or is to be asked about, waits for hours."""
    claim = await journal.claimed("1", key=key)
    log = msgspec.structs.replace(claim.log, reason=reason, probe_count=asks, attempt_count=9)
    if not unknown:
        log = log.without_call()
    state = RowState.UNKNOWN if unknown else RowState.PLANNED
    await journal.save(log, became(state, "1", reason=reason), wait_ms=HOURS)


async def notice(journal: Journal, *, wakes: bool = True) -> None:
    change = LimiterChange("{}", "closed", None, None, None, wakes=wakes)
    await journal.store.write(
        lambda: transactions.update_limiter(KEY.tenant, KEY.platform, lambda *_: (change, None), SETTLE)
    )


def due_in(log: LogRow, journal: Journal) -> int | None:
    return None if log.due_at is None else log.due_at - journal.clock()


@pytest.mark.parametrize(
    ("reason", "unknown", "asks", "due"),
    [
        ("unavailable: no", False, 0, 0),
        ("unavailable: no", True, 3, 0),
        ("no_answer: lost", True, 1, 0),
        ("mistake: no", True, 1, 0),
        ("rate_limited: no", False, 0, HOURS),
        ("mistake: no", True, 0, HOURS),
    ],
)
async def test_what_waits_for_the_crm_is_due_and_what_waits_for_something_else_is_not(
    journal: Journal, reason: str, unknown: bool, asks: int, due: int
) -> None:
    await wait(journal, reason=reason, unknown=unknown, asks=asks)
    journal.clock.forward(SETTLE)
    await notice(journal, wakes=False)
    assert due_in(await journal.log(), journal) == HOURS - SETTLE
    await notice(journal)
    assert due_in(await journal.log(), journal) == max(0, due - SETTLE)
    assert (await journal.claim() is not None) is (due == 0)


@pytest.mark.parametrize("since", [0, SETTLE - 1, SETTLE, SETTLE + 1])
async def test_nobody_is_asked_about_a_call_before_the_search_has_had_its_time(
    journal: Journal, since: int
) -> None:
    await wait(journal, reason="no_answer: lost", unknown=True)
    journal.clock.forward(since)
    await notice(journal)
    assert due_in(await journal.log(), journal) == max(0, SETTLE - since)


async def test_others_are_left_alone(journal: Journal) -> None:
    """Logs that a process works on, that are due, that are parked, and other tenants'."""
    keys = [LogKey("acme", "crm", f"log-{number}") for number in range(3)]
    held, soon, parked = keys
    others = [LogKey("bolt", "crm", "log"), LogKey("acme", "other", "log")]
    await journal.claimed("3", key=held)
    await wait(journal, soon)
    await journal.with_parked("2", key=parked)
    for key in others:
        await wait(journal, key)
    before = {key: await journal.log(key) for key in (*keys, *others)}
    await notice(journal)
    for key, log in before.items():
        due_at = journal.clock() if key is soon else log.due_at
        assert await journal.log(key) == msgspec.structs.replace(log, due_at=due_at), key


async def test_somebody_who_waits_claims_what_waits_for_the_crm(journal: Journal) -> None:
    await wait(journal)
    claim = await journal.claimed("2")
    assert claim.early
    assert claim.step is not None
    assert claim.step.ids == ("1",)
    assert claim.log.attempt_count == 9


async def test_somebody_who_waits_has_what_became_of_a_lost_call_asked(journal: Journal) -> None:
    await wait(journal, reason="no_answer: lost", unknown=True)
    early = await journal.accept("2")
    assert early.claim is None
    assert early.due_ms == HOURS
    journal.clock.forward(SETTLE)
    claim = await journal.claimed("2")
    assert (claim.early, claim.reconcile) == (True, True)
    assert [row.id for row in claim.rows] == ["1"]


@pytest.mark.parametrize("reason", ["rate_limited: no", "mistake: no"])
async def test_nobody_claims_what_waits_for_something_else(journal: Journal, reason: str) -> None:
    await wait(journal, reason=reason)
    assert await journal.accept("2") == AcceptResult(due_ms=HOURS)


async def test_what_is_due_in_a_moment_is_waited_for(journal: Journal) -> None:
    await wait(journal)
    journal.clock.forward(HOURS - 2_000)
    assert await journal.accept("2") == AcceptResult(due_ms=2_000)
