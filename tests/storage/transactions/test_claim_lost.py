"""A claim that does not stand any more: what its holder knows must not be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from messagelog.storage import ClaimLost, LogKey, RowState
from messagelog.storage.records.journal import WaitingChange
from storage.journal import LEASE, SETTLE, Journal, became, everything, logged, new
from storage.outcomes import fail, wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.storage import LogRow

OTHER = LogKey("acme", "crm", "conv/7/14/2026")


def _fence_behind(log: LogRow) -> LogRow:
    return replace(log, fence=log.fence - 1)


def _fence_ahead(log: LogRow) -> LogRow:
    return replace(log, fence=log.fence + 1)


def _of_another(log: LogRow) -> LogRow:
    return replace(log, owner="other")


def _of_nobody(log: LogRow) -> LogRow:
    return replace(log, owner=None)


def _not_there(log: LogRow) -> LogRow:
    return replace(log, key=OTHER)


@pytest.mark.parametrize("changed", [_fence_behind, _fence_ahead, _of_another, _of_nobody, _not_there])
async def test_a_claim_that_does_not_stand_writes_nothing(
    journal: Journal, database_url: str, changed: Callable[[LogRow], LogRow]
) -> None:
    claim = await journal.claimed("1", "2")
    before = everything(database_url)
    log, changes = logged(changed(claim.log), "1")
    with pytest.raises(ClaimLost):
        await journal.save(
            log, changes, recreated=[new("1")], waiting=WaitingChange(None, RowState.FAILED, "x")
        )
    with pytest.raises(ClaimLost):
        await journal.save(log, changes, wait_ms=1)
    with pytest.raises(ClaimLost):
        await journal.note(log)
    assert everything(database_url) == before


async def test_who_lost_the_claim_writes_nothing(journal: Journal, database_url: str) -> None:
    """The slow one's answer comes when another has taken the log up, and when that one is done with it."""
    slow = await journal.claimed("1")
    journal.clock.forward(LEASE + SETTLE)
    other = await journal.as_owner("other").claim()
    assert other is not None
    before = everything(database_url)
    with pytest.raises(ClaimLost):
        await journal.done(slow)
    assert everything(database_url) == before
    await journal.as_owner("other").save(other.log, became(RowState.FAILED, "1"))
    before = everything(database_url)
    with pytest.raises(ClaimLost):
        await journal.done(slow)
    assert everything(database_url) == before


async def test_a_claim_is_used_once(journal: Journal, database_url: str) -> None:
    claim = await journal.claimed("1", "2")
    await journal.done(claim)
    before = everything(database_url)
    with pytest.raises(ClaimLost):
        await fail(journal, claim)
    assert everything(database_url) == before


async def test_a_claim_that_waits_is_no_claim_any_more(journal: Journal, database_url: str) -> None:
    claim = await journal.claimed("1")
    await wait(journal, claim)
    before = everything(database_url)
    with pytest.raises(ClaimLost):
        await journal.done(claim)
    assert everything(database_url) == before
