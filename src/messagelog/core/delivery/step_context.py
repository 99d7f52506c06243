"""One step of a claim as the worker has it at hand, and what its calls came to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from messagelog.connectors import Connector
from messagelog.core.delivery.backoff import Retry
from messagelog.core.delivery.calls import size_after_call
from messagelog.core.delivery.outcomes import (
    Capabilities,
    Outcome,
    Reconciliation,
    earlier_activities,
    on_change_written,
    on_error,
    on_fault_after_success,
    on_nothing_to_change,
    on_reconcile_error,
    on_reconciled,
    on_save_failure,
    on_success,
    to_unconfirmed,
)
from messagelog.storage.records.journal import LeasePolicy, LogRow, MessageRow, RowState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from messagelog.connectors import ConnectorError
    from messagelog.core.delivery.calls import PreparedCall
    from messagelog.core.delivery.faults import ServerFault


@dataclass(slots=True)
class StepProgress:
    """How far a step has come: whose credentials (sealed) it has shown to the CRM last, and the log as it was noted."""

    user_id: str = ""
    credentials: bytes | None = None
    noted: LogRow | None = None


class StepContext(msgspec.Struct, frozen=True):
    """One step of a claim: the connector and its abilities, the log as it is claimed, the rows that it brings.

    `colleague` is another user who has brought something to the log. `asker` is the user in whose session the CRM is
    asked, where that is not the one who made the call. `retry` says how a failure is taken at the moment.
    """

    connector: Connector
    capabilities: Capabilities
    log: LogRow
    rows: Sequence[MessageRow]
    policy: LeasePolicy
    may_recreate: bool
    jitter: float
    progress: StepProgress
    retry: Callable[[], Retry]
    colleague: str | None = None
    asker: str | None = None

    @property
    def outgrown(self) -> bool:
        """Whether a newer snapshot of a shared thread took the place of the one that was sent, to be added to only."""
        return (
            self.log.shared and not self.capabilities.amends and self.rows[0].version > self.log.call_version
        )

    @property
    def in_run(self) -> bool:
        """Whether each of the rows has a call of its own."""
        return self.capabilities.in_runs and len(self.rows) > 1

    @property
    def caller_id(self) -> str:
        """The user in whose session the CRM is called."""
        return self.asker or self.log.call_user or self.rows[0].user_id

    @property
    def done_in(self) -> str | None:
        """The activity that has what the call brought, where that is known and only was not settled.

        A thread that goes on in another activity has rows with the id of the one that is full.
        """
        ids = {row.third_party_log_id if row.state is RowState.UNKNOWN else None for row in self.rows}
        (id_,) = ids if len(ids) == 1 else (None,)
        return None if id_ is None or id_ in earlier_activities(self.log) else id_

    @property
    def first(self) -> StepContext:
        """The first call: of a run that of its oldest row."""
        return self.with_rows(self.rows[:1]) if self.in_run else self

    def with_rows(self, rows: Sequence[MessageRow]) -> StepContext:
        """The same call, for these rows only."""
        return replace(self, rows=rows)

    def with_log(self, log: LogRow) -> StepContext:
        """The same call, with other values of its log."""
        return replace(self, log=log)

    def with_asker(self, user_id: str) -> StepContext:
        """The same call, asked about in another user's session."""
        return replace(self, asker=user_id, colleague=None)

    def with_asker_as_caller(self) -> StepContext:
        """The same call, repeated by the user who asks about it."""
        return self if self.asker is None else self.with_log(replace(self.log, call_user=self.asker))

    def on_success(self, call: PreparedCall, third_party_log_id: str) -> Outcome:
        """The CRM has what a call brought.

        Where a create with the same key was refused before, the CRM may have done that one, and have answered with
        its activity: an update then adds what is missing there.
        """
        if self.log.call == "change":
            return self._on_change_written(call, third_party_log_id)
        outcome = on_success(
            self.log,
            self.rows,
            third_party_log_id,
            call.hashes,
            self.log.call_version,
            size_after_call(self.log, call),
            has_more=self.log.call == "create" and call.log.has_more,
        )
        asked_by_repeating = (
            self.capabilities.upserts and not self.capabilities.finds and self.capabilities.amends
        )
        if self.log.call == "create" and asked_by_repeating and self.log.rejection_count:
            return to_unconfirmed(outcome, self.log)
        return outcome

    def _on_change_written(self, call: PreparedCall, activity: str) -> Outcome:
        """The CRM has a change, in the form that it was last given."""
        is_line = call.change is not None and call.change.is_line
        given = None if call.change is None else call.change.given
        hash_ = None if given is None else given.hash
        return on_change_written(
            self.log,
            self.rows[0],
            activity,
            entry_hash=None if is_line else hash_,
            line_hash=hash_ if is_line else None,
            body_size=self.log.body_size if call.journal.size is None else size_after_call(self.log, call),
        )

    def on_nothing_to_change(self) -> Outcome:
        """A change that has no place in the CRM."""
        return on_nothing_to_change(self.log, self.rows)

    def on_found(self, call: PreparedCall, hashes: Mapping[str, bytes]) -> Outcome:
        """The activity was read, and holds what an update brought; `call` is the last one."""
        log_id, version = self.log.third_party_log_id or "", self.rows[0].version if self.log.shared else 0
        return on_success(self.log, self.rows, log_id, hashes, version, size_after_call(self.log, call))

    def on_error(self, error: ConnectorError) -> Outcome:
        """A call ended with an error."""
        outcome = on_error(
            self.log,
            self.rows,
            error,
            self.capabilities,
            may_recreate=self.may_recreate,
            jitter=self.jitter,
            retry=self.retry(),
        )
        return replace(outcome, error=error)

    def on_fault_after_success(self, id_: str, fault: ServerFault) -> Outcome:
        """The CRM has it in this activity, and we failed to settle that."""
        return replace(
            on_fault_after_success(self.log, self.rows, id_, fault, jitter=self.jitter), error=fault
        )

    def on_save_failure(self, outcome: Outcome, fault: ServerFault) -> Outcome:
        """What is left of an outcome that could not be written down."""
        log = self.progress.noted or self.log
        return on_save_failure(log, self.rows, outcome, fault, self.capabilities, self.jitter)

    def on_reconciled(self, finding: Reconciliation) -> Outcome:
        """It was found out about a call that it is not known to have been done."""
        return on_reconciled(self.log, self.rows, finding, self.capabilities, self.retry())

    def on_reconcile_error(self, error: ConnectorError) -> Outcome:
        """The question what became of a call ended with an error."""
        outcome = on_reconcile_error(
            self.log, self.rows, error, self.capabilities, jitter=self.jitter, retry=self.retry()
        )
        return replace(outcome, error=error)
