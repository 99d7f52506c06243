"""Which call comes next for a conversation log. Pure: nothing here reads a database, a clock or a CRM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.core.delivery import runs
from messagelog.storage.records.journal import LogRow, MessageRow, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from messagelog.storage.records.journal import Planner


def next_step(*, takes_batches: bool, in_runs: bool = False) -> Planner:
    """Return the planner of a connector: it takes the oldest waiting message, in a batch also those behind it.

    One step belongs to one user, since it is made in that user's session. The first message of a conversation log
    creates its activity, all others update it: with `in_runs`, several updates are one step (see `runs`). After a
    refusal messages go one by one, until the CRM takes one. A message that the activity may hold already also goes
    alone: there is room for it, and may be none for more. A change of a message has a call of its own: it may go to
    another activity than the log's present one.
    """

    def may_be_there(log: LogRow, row: MessageRow) -> bool:
        return row.third_party_log_id is not None and row.third_party_log_id == log.third_party_log_id

    def plan(log: LogRow, waiting: Sequence[MessageRow]) -> Step | None:
        if not waiting:
            return None
        first = waiting[0]
        if first.is_change:
            return Step("change", first.user_id, (first,), first.version)
        rows = [first]
        call = "update" if log.third_party_log_id is not None else "create"
        together = takes_batches or (in_runs and runs.may_begin(log, call))
        if together and not log.shared and not log.rejection_count and not may_be_there(log, first):
            for row in waiting[1:]:
                if row.user_id != first.user_id or row.is_change or may_be_there(log, row):
                    break
                rows.append(row)
        return Step(call, first.user_id, tuple(rows), first.version)

    return plan
