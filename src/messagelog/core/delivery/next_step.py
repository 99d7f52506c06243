"""Which call comes next for a conversation log. Pure: nothing here reads a database, a clock or a CRM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.storage.records.journal import LogRow, MessageRow, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from messagelog.storage.records.journal import Planner


def next_step(*, takes_batches: bool, in_runs: bool = False) -> Planner:
    """Decides the next step: the oldest waiting message, with those behind it where the connector takes batches.

    One step belongs to one user, since it is made in her session. The first message of a conversation log creates
    its activity, all others update it: `in_runs`, several updates with a call each are one step. After a refusal they
    go one by one, until one is taken; so they do after any trouble where each has its own call. So does what the
    activity may hold already, and which is only made sure of: there is room for it, and may be none for more. A change
    of a message has a call of its own: it may go to another activity than the log's present one.
    """

    def is_made_sure_of(log: LogRow, row: MessageRow) -> bool:
        return row.third_party_log_id is not None and row.third_party_log_id == log.third_party_log_id

    def plan(log: LogRow, waiting: Sequence[MessageRow]) -> Step | None:
        if not waiting:
            return None
        first = waiting[0]
        if first.is_change:
            return Step("change", first.user_id, (first,), first.version)
        rows = [first]
        call = "update" if log.third_party_log_id is not None else "create"
        together = takes_batches or (in_runs and call == "update" and not log.attempt_count)
        if together and not log.shared and not log.rejection_count and not is_made_sure_of(log, first):
            for row in waiting[1:]:
                if row.user_id != first.user_id or row.is_change or is_made_sure_of(log, row):
                    break
                rows.append(row)
        return Step(call, first.user_id, tuple(rows), first.version)

    return plan
