"""One step of a claim: prepares its calls, records their intent, makes them, and returns the outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from messagelog.connectors import Connector, ConnectorError, OutcomeUnknown, Rejected, Unavailable
from messagelog.core.delivery import outcomes, runs
from messagelog.core.delivery.backoff import Retry
from messagelog.core.delivery.capabilities import Capabilities
from messagelog.core.delivery.faults import fault_of
from messagelog.core.delivery.outages import write_over_outage
from messagelog.core.delivery.payload import TextErased
from messagelog.core.delivery.prepare import NOTHING_COUNTED, PreparedCall, encode_counts
from messagelog.core.errors import ConnectorBroke, NothingToChange, NotPrepared
from messagelog.core.users.directory import SignInRequired
from messagelog.storage import ClaimLost, transactions
from messagelog.storage.encryption.sealer import SealBroken
from messagelog.storage.records.journal import LeasePolicy, LogRow, MessageRow, RowState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from messagelog.core.delivery.context import DeliveryContext
    from messagelog.core.delivery.outcomes import Outcome, Reconciliation
    from messagelog.core.users.directory import StoredSession


@dataclass(slots=True)
class StepProgress:
    """How far a step has come: the last credentials (sealed) that the CRM was shown, and the log as it was recorded."""

    user_id: str = ""
    credentials: bytes | None = None
    recorded: LogRow | None = None


class StepContext(msgspec.Struct, frozen=True):
    """One step of a claim: the connector and its capabilities, the log as it is claimed, the rows of the step.

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
        """True if an append-only CRM was sent an older snapshot of a shared thread than the one now stored."""
        return (
            self.log.shared and not self.capabilities.amends and self.rows[0].version > self.log.call_version
        )

    @property
    def in_run(self) -> bool:
        """True if each of the rows has a call of its own."""
        return self.capabilities.in_runs and len(self.rows) > 1

    @property
    def caller_id(self) -> str:
        """The user in whose session the CRM is called."""
        return self.asker or self.log.call_user or self.rows[0].user_id

    @property
    def done_in(self) -> str | None:
        """The activity that has what the call brought, where that is known and only its outcome was not saved.

        A thread that goes on in another activity has rows with the id of the one that is full.
        """
        ids = {row.third_party_log_id if row.state is RowState.UNKNOWN else None for row in self.rows}
        (id_,) = ids if len(ids) == 1 else (None,)
        return None if id_ is None or id_ in outcomes.earlier_activities(self.log) else id_

    @property
    def recorded_log(self) -> LogRow:
        """The log as it was last recorded before a call left, and as it was claimed otherwise."""
        return self.progress.recorded or self.log

    @property
    def first(self) -> StepContext:
        """The first call: of a run the one of its oldest row."""
        return self.with_rows(self.rows[:1]) if self.in_run else self

    def with_rows(self, rows: Sequence[MessageRow]) -> StepContext:
        """Return the same step for these rows only."""
        return replace(self, rows=rows)

    def with_log(self, log: LogRow) -> StepContext:
        """Return the same step with other values of its log."""
        return replace(self, log=log)

    def with_asker(self, user_id: str) -> StepContext:
        """Return the same step, reconciled in another user's session."""
        return replace(self, asker=user_id, colleague=None)

    def with_asker_as_caller(self) -> StepContext:
        """Return the same step, its call repeated by the user in whose session it was reconciled."""
        return self if self.asker is None else self.with_log(replace(self.log, call_user=self.asker))

    def on_success(self, call: PreparedCall, third_party_log_id: str) -> Outcome:
        """Return the outcome of a call that the CRM has done.

        If a create with the same key was refused before, the CRM may have done that one, and have answered with its
        activity: an update then adds what is missing there.
        """
        if self.log.call == "change":
            is_line = call.change is not None and call.change.is_line
            given = None if call.change is None else call.change.given
            hash_ = None if given is None else given.hash
            return outcomes.on_change_written(
                self.log,
                self.rows[0],
                third_party_log_id,
                entry_hash=None if is_line else hash_,
                line_hash=hash_ if is_line else None,
                body_size=self.log.body_size if call.journal.size is None else call.size_after(self.log),
            )
        outcome = outcomes.on_success(
            self.log,
            self.rows,
            third_party_log_id,
            call.hashes,
            self.log.call_version,
            call.size_after(self.log),
            has_more=self.log.call == "create" and call.log.has_more,
        )
        reconciled_by_repeating = (
            self.capabilities.upserts and not self.capabilities.finds and self.capabilities.amends
        )
        if self.log.call == "create" and reconciled_by_repeating and self.log.rejection_count:
            return outcomes.to_unconfirmed(outcome, self.log)
        return outcome

    def on_found(self, call: PreparedCall, hashes: Mapping[str, bytes]) -> Outcome:
        """Return the outcome of an update that was found in its activity; `call` is the last one."""
        log_id, version = self.log.third_party_log_id or "", self.rows[0].version if self.log.shared else 0
        return outcomes.on_success(self.log, self.rows, log_id, hashes, version, call.size_after(self.log))

    def on_error(self, error: ConnectorError) -> Outcome:
        """Return the outcome of a call that ended with an error."""
        outcome = outcomes.on_error(
            self.log,
            self.rows,
            error,
            self.capabilities,
            may_recreate=self.may_recreate,
            jitter=self.jitter,
            retry=self.retry(),
        )
        return replace(outcome, error=error)

    def on_reconciled(self, finding: Reconciliation) -> Outcome:
        """Return the outcome of a lost call that is not known to have been done."""
        return outcomes.on_reconciled(self.log, self.rows, finding, self.capabilities, self.retry())

    def on_reconcile_error(self, error: ConnectorError) -> Outcome:
        """Return the outcome of a lost call when reconciling it ended with an error."""
        outcome = outcomes.on_reconcile_error(
            self.log, self.rows, error, self.capabilities, jitter=self.jitter, retry=self.retry()
        )
        return replace(outcome, error=error)


class StepRunner:
    """Makes the calls of steps, each in its user's session."""

    def __init__(self, context: DeliveryContext) -> None:
        self._context = context

    async def run(self, step: StepContext) -> Outcome:
        """Prepare and make the journalled call, or in a run one for each row. Raises `ClaimLost`, and nothing else."""
        timer: runs.RunTimer | None = None
        try:
            if step.in_run:
                timer = runs.RunTimer(self._context.clock, self._context.times.run_within_lease)
                calls = await runs.prepare_calls(self, step)
            else:
                calls = [await self.prepare(step, first_time=True)]
            step, calls = await self.record_intent(step, calls)
        except ConnectorError as error:
            # Nothing has been written yet, however the reading ended: the call is known not to be done.
            return step.first.on_error(_unwritten(error))
        except (SealBroken, TextErased) as error:
            return step.first.on_error(Rejected(f"the stored text cannot be read: {error}"))
        except NothingToChange:
            return outcomes.on_nothing_to_change(step.log, step.rows)
        except ClaimLost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is: nothing was sent, and the row says where
            return step.first.on_error(fault_of(error, wrote=False))
        outcome = await self.make_call(step.with_rows(calls[0].rows), calls[0])
        return outcome if timer is None else await runs.make_calls(self, step, calls[1:], outcome, timer)

    async def make_call(self, step: StepContext, call: PreparedCall) -> Outcome:
        """Make the call; return its outcome, also of one that ended with an error."""
        try:
            return await self.call_crm(step, call)
        except ConnectorError as error:
            return step.on_error(error)

    async def call_crm(self, step: StepContext, call: PreparedCall) -> Outcome:
        """Make the call, which from here on may be done whatever comes back. Raises `ConnectorError`, nothing else."""
        try:
            if step.log.call == "create":
                id_ = await self._context.caller.create(step.connector, call)
            else:
                await self._context.caller.update(step.connector, call)
                id_ = call.activity
        except ConnectorError:
            raise
        except Exception as error:
            raise fault_of(error) from error
        return self.outcome_of_success(step, call, id_)

    def outcome_of_success(self, step: StepContext, call: PreparedCall, id_: str) -> Outcome:
        """Return the outcome of a call that was done in the activity `id_`; an error of ours keeps the id."""
        try:
            return step.on_success(call, id_)
        except Exception as error:  # noqa: BLE001 - whatever it is, the row says where
            return outcomes.on_fault_after_success(
                step.log, step.rows, id_, fault_of(error), jitter=step.jitter
            )

    async def session(self, step: StepContext) -> StoredSession:
        """Return the session of the user for whom the CRM is called."""
        return await self._context.users.session(step.connector, step.log.key.tenant, step.caller_id)

    async def prepare(
        self, step: StepContext, *, linked: bool = False, first_time: bool = False
    ) -> PreparedCall:
        """Prepare one call with all of the rows, in the session of its user; the rest as `CallPreparer.prepare`."""
        progress, log, preparer = step.progress, step.log, self._context.preparer
        progress.user_id = step.caller_id
        try:
            session = await self.session(step)
            progress.credentials = session.sealed
            if log.call == "change":
                return await preparer.prepare_change(
                    step.connector, session, log, step.rows[0], first_time=first_time
                )
            return await preparer.prepare(
                step.connector, session, log, step.rows, linked=linked, first_time=first_time
            )
        except ConnectorError as error:
            error.wrote = False
            if isinstance(error, SignInRequired):
                progress.credentials = error.refused
            raise

    async def prepare_next(
        self, call: PreparedCall, step: StepContext, row: MessageRow, *, first_time: bool = False
    ) -> PreparedCall:
        """Prepare the call of a run that follows this one."""
        return await self._context.preparer.prepare(
            step.connector, call.session, step.log, [row], behind=call, first_time=first_time
        )

    def may_have_left(self, step: StepContext, row: MessageRow) -> bool:
        """Return False if a call that brings this row cannot have left."""
        return self._context.preparer.may_have_left(step.log, row)

    async def record_intent(
        self, step: StepContext, calls: list[PreparedCall]
    ) -> tuple[StepContext, list[PreparedCall]]:
        """Journal, before a call leaves, what is known only now and is needed if its answer is lost.

        This covers what the CRM said of a group's numbers, and which of the rows the call does not bring after all:
        they wait. For a shared thread: the blocks that may be in the activity from now on. For an update whose text is
        there already (two equal messages in one minute): how often.
        """
        if new_payloads := {id_: payload for each in calls for id_, payload in each.new_payloads.items()}:
            rows = [replace(row, payload=new_payloads.get(row.id, row.payload)) for row in step.rows]
            step = await self.record(step.with_rows(rows), payloads=new_payloads)
        log, call = step.log, calls[0]
        fitting = sum(each.fitting for each in calls)
        if fitting < len(step.rows):
            back = [row.id for row in step.rows[fitting:]]
            step = await self.record(step.with_rows(step.rows[:fitting]), back)
            if call.fitting < len(call.rows):
                call = await self.prepare(step)
                calls = [call]
        if log.shared:
            recorded = replace(log, blocks=call.pending_blocks, call_before=NOTHING_COUNTED)
            return await self.record(step.with_log(recorded)), calls
        if log.call == "create" or not step.capabilities.reads_back or not call.is_ambiguous:
            return step, calls
        before = await self._context.caller.count_in_activity(step.connector, log, [call])
        step = await self.record(step.with_log(replace(log, call_before=encode_counts(before))))
        return step, [await self.prepare(step)]

    async def record_certainty(self, step: StepContext) -> None:
        """Journal that the words of these rows stay as they are, since a call may have brought them."""
        if payloads := self._context.preparer.without_uncertainty(step.log, step.rows):
            await self.record(step, payloads=payloads)

    async def record(
        self, step: StepContext, back: Sequence[str] = (), payloads: Mapping[str, bytes] | None = None
    ) -> StepContext:
        """Journal the log of a call that is about to leave, and renew the lease.

        The rows with the ids in `back` wait for another call; `payloads` take the place of those that rows have.
        """
        await write_over_outage(
            self._context.store,
            lambda: transactions.record_intent(step.log, step.policy, back, payloads or {}),
            locks=(step.log.key,),
            seconds=step.policy.lease_ms / 1000,
        )
        step.progress.recorded = step.log
        return step


def _unwritten(error: ConnectorError) -> ConnectorError:
    """Return an error from before anything was written as one that says so."""
    unwritten = error
    if isinstance(error, ConnectorBroke):
        unwritten = NotPrepared(error.detail)
    elif isinstance(error, OutcomeUnknown):
        unwritten = Unavailable(error.detail, status=error.status, body=error.body)
    unwritten.call = error.call
    unwritten.wrote = False
    return unwritten
