"""What a claim's call may come to, in one word each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from messagelog.storage import LogState, RowState
from messagelog.storage.records.journal import WaitingChange
from storage.journal import became

if TYPE_CHECKING:
    from messagelog.storage import Claim
    from storage.journal import Journal


def ids_of(claim: Claim | None) -> tuple[str, ...]:
    """The rows of a claim's step: there must be one."""
    assert claim is not None
    assert claim.step is not None
    return claim.step.ids


async def fail(journal: Journal, claim: Claim) -> Claim | None:
    """The CRM refused it."""
    return await journal.save(claim.log, became(RowState.FAILED, *ids_of(claim), reason="rejected: no"))


async def park(journal: Journal, claim: Claim) -> Claim | None:
    """It is unknown whether the CRM has it."""
    log = replace(claim.log, state=LogState.PARKED, reason="no_answer: lost")
    changes = became(RowState.PARKED, *ids_of(claim), reason="no_answer: lost")
    return await journal.save(log, changes, waiting=WaitingChange(None, RowState.PARKED, "behind: parked"))


async def wait(journal: Journal, claim: Claim, ms: int = 1_000) -> None:
    """The CRM asked to wait."""
    await journal.save(claim.log.without_call(), became(RowState.PLANNED, *ids_of(claim)), wait_ms=ms)


async def lose(journal: Journal, claim: Claim, ms: int = 1_000) -> None:
    """The answer was lost; it is to be found out what became of the call."""
    changes = became(RowState.UNKNOWN, *ids_of(claim), reason="no_answer: lost")
    await journal.save(replace(claim.log, reason="no_answer: lost"), changes, wait_ms=ms)
