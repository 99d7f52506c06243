"""Runs: several updates of one activity that are journalled as one step, with a call for each message.

A run saves the journal two writes for each message but one. Every rule of runs is here:

- Only a connector each of whose updates can be reconciled has runs, and none with declared limits: there the CRM is
  slower than the journal (`are_possible`). Any other connector takes one step for each call.
- A run has at most `MOST_ROWS` messages of one user. None begins while the log's calls are being retried: after any
  trouble its messages go one by one (`may_begin`).
- It ends before a message whose entry reads like another one, since the outcomes of the two could not be told apart,
  and before one that cannot be prepared (`prepare_calls`).
- A call of a run is prepared with the journal as it will be after the call before it (`journal_after`).
- It goes on only after a success, within its time by two clocks, and in the same session (`RunTimer`, `make_calls`).
- If answers were lost, each message of the run is looked for by itself (`prepare_lost_calls`, `rows_found`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog
from msgspec.structs import replace

from messagelog.connectors import BodyFull, ConnectorError
from messagelog.core.delivery.faults import error_summary
from messagelog.core.delivery.outcomes import LOST_ANSWER
from messagelog.core.delivery.payload import TextErased
from messagelog.storage.encryption.sealer import SealBroken
from messagelog.storage.records.journal import RowChange, RowState

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping, Sequence

    from messagelog.connectors import Connector
    from messagelog.connectors.log import JournalView
    from messagelog.core.delivery.outcomes import Outcome
    from messagelog.core.delivery.prepare import PreparedCall
    from messagelog.core.delivery.steps import StepContext, StepRunner
    from messagelog.storage.records.journal import LogRow, MessageRow

MOST_ROWS: Final = 20

_log = structlog.get_logger(__name__)


def are_possible(connector: Connector, *, reconcilable: bool) -> bool:
    """Return True if several updates of this connector may be one step; `reconcilable` is about each of them."""
    return reconcilable and not connector.takes_batches and not connector.rate_limits


def may_begin(log: LogRow, call: str) -> bool:
    """Return True if the log's next call may be the first of a run."""
    return call == "update" and not log.attempt_count


class RunTimer:
    """Says when a run has to end, in a process that may have been paused: then the claim may be another process's.

    `clock` gives epoch seconds. The event loop's clock stands still while a machine is frozen, the calendar may be set
    back: the run ends by whichever is first.
    """

    __slots__ = ("_began", "_clock", "_seconds")

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._began = self.now()

    def now(self) -> tuple[float, float]:
        """Return the time of the event loop and of the calendar."""
        return asyncio.get_running_loop().time(), self._clock()

    def is_over(self) -> bool:
        """Return True if no further call may begin."""
        return any(now - then >= self._seconds for now, then in zip(self.now(), self._began, strict=True))


async def prepare_calls(runner: StepRunner, step: StepContext) -> list[PreparedCall]:
    """Prepare the calls of a run, one for each row.

    It ends before the first row that cannot be prepared, whose error is told when its turn comes. It has one
    call only in an activity whose text is the connector's own, since nothing could be told apart in it.
    """
    call = await runner.prepare(step.first, first_time=True)
    calls = [call]
    if not call.hashes or call.is_ambiguous:
        return calls
    with suppress(ConnectorError, SealBroken, TextErased):
        for row in step.rows[1:]:
            call = await runner.prepare_next(call, step, row, first_time=True)
            if call.is_ambiguous:
                break
            calls.append(call)
    return calls


def journal_after(log: LogRow, call: PreparedCall) -> JournalView:
    """Return what the journal will know of an activity once this call, of one message, is done."""
    journal = call.journal
    (row,), (message,) = call.rows, call.log.messages
    known = [*journal.known, *((row.sent_at, entry.hash, message.id) for entry in call.log.entries)]
    size = call.size_after(log) if journal.appends else None
    return replace(journal, known=known, before=None, size=size)


async def make_calls(
    runner: StepRunner, step: StepContext, calls: Sequence[PreparedCall], outcome: Outcome, timer: RunTimer
) -> Outcome:
    """Make the calls that follow the first one, whose outcome is given; return the outcome of all that were made."""
    for call in calls:
        if outcome.error is not None or timer.is_over() or not await _is_signed_in(runner, step, call):
            break
        after = await runner.make_call(step.with_log(outcome.log).with_rows(call.rows), call)
        outcome = combine_outcomes(outcome, after)
    return outcome


async def _is_signed_in(runner: StepRunner, step: StepContext, call: PreparedCall) -> bool:
    """Return True if the user's session is still the one that a call was prepared with."""
    try:
        return call.session is await runner.session(step)
    except ConnectorError:
        return False
    except Exception as error:  # noqa: BLE001 - the outcomes of the calls before must not be lost for it
        _log.error("run_ended", log=step.log.key.conversation_log_id, error=error_summary(error))
        return False


def combine_outcomes(before: Outcome, after: Outcome) -> Outcome:
    """Return the outcome of two calls of one run.

    What the first has brought into an activity that the second found gone is planned again.
    """
    changes = before.changes
    if after.recreate:
        changes = tuple(RowChange(change.id, RowState.PLANNED) for change in changes)
    return replace(after, changes=changes + after.changes)


async def prepare_lost_calls(runner: StepRunner, step: StepContext) -> list[PreparedCall]:
    """Prepare the updates whose answers were lost, each as it was made.

    Each message of a run was written with the participants of its own request.
    """
    calls = [await runner.prepare(step.first)]
    if not step.in_run:
        return calls
    with suppress(BodyFull):  # what comes after a row that had no room never left
        for row in step.rows[1:]:
            if not runner.may_have_left(step, row):  # the run ends before it
                break
            calls.append(await runner.prepare_next(calls[-1], step, row))
    return calls


def rows_found(
    rows: Sequence[MessageRow], hashes: Mapping[str, bytes], left: Counter[bytes]
) -> list[MessageRow]:
    """Return the rows whose entries are in a body; `left` counts the new entries in it by hash, and is used up.

    Of two rows that read alike, each has an entry of its own.
    """
    found = []
    for row in rows:
        hash_ = hashes.get(row.id)
        if hash_ is not None and left[hash_] > 0:
            left[hash_] -= 1
            found.append(row)
    return found


def with_missing(outcome: Outcome, missing: Sequence[MessageRow]) -> Outcome:
    """Return the outcome of a run whose rows here are not in the CRM: they are sent, or sent again."""
    changes = tuple(RowChange(row.id, RowState.PLANNED, LOST_ANSWER) for row in missing)
    return replace(outcome, changes=outcome.changes + changes)
