"""Reconciles lost calls: asks the CRM whether a call with an unknown outcome was done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from messagelog.compose import LogFormat, read_text_settings
from messagelog.connectors import (
    AuthExpired,
    ConnectorError,
    NotFound,
    RateLimited,
    Rejected,
    Unavailable,
)
from messagelog.core.delivery import backoff, outcomes, runs
from messagelog.core.delivery.faults import fault_of
from messagelog.core.delivery.outcomes import FailureReason, Reconciliation, failure_reason_of
from messagelog.core.delivery.payload import TextErased
from messagelog.core.errors import NothingToChange
from messagelog.core.users.directory import SignInRequired
from messagelog.storage import ClaimLost
from messagelog.storage.encryption.sealer import SealBroken
from messagelog.storage.records.journal import RowState

if TYPE_CHECKING:
    from messagelog.core.delivery.context import DeliveryContext
    from messagelog.core.delivery.outcomes import Outcome
    from messagelog.core.delivery.prepare import PreparedCall
    from messagelog.core.delivery.steps import StepContext, StepRunner

_REFUSALS: Final = frozenset({FailureReason.SIGN_IN, FailureReason.REJECTED})


class Reconciler:
    """Asks the CRM about lost calls, as far as its connector can; a call known not to be done is made again."""

    def __init__(self, context: DeliveryContext, runner: StepRunner) -> None:
        self._context = context
        self._runner = runner

    async def reconcile(self, step: StepContext) -> Outcome:
        """Find out whether a call with an unknown outcome was done. Raises `ClaimLost`, and nothing else.

        Work that was interrupted more often than the table has waits is not begun again: the work may be what
        interrupts it. A call that was refused for its user's credentials may be reconciled in the session of a
        colleague who has brought something to the same log, so that the colleague's messages do not wait for a sign-in
        that may never come.
        """
        if step.log.attempt_count > len(backoff.STEPS):
            return outcomes.on_too_many_interruptions(step.log, step.rows)
        outcome = await self._reconcile_once(step)
        needs_sign_in = isinstance(outcome.error, SignInRequired)
        if (
            needs_sign_in
            and step.colleague is not None
            and failure_reason_of(step.log.reason) is FailureReason.SIGN_IN
        ):
            return await self._reconcile_once(step.with_asker(step.colleague))
        return outcome

    async def _reconcile_once(self, step: StepContext) -> Outcome:
        """Reconcile a call in one user's session; every error is an outcome, but for `ClaimLost`."""
        try:
            return await self._find_out(step)
        except ClaimLost:
            raise
        except ConnectorError as error:
            # To a colleague the activity may be hidden, and not gone.
            if isinstance(error, NotFound) and step.log.call != "create" and step.asker is None:
                return step.on_error(error)
            return step.on_reconcile_error(error)
        except (SealBroken, TextErased):
            return step.on_reconciled(Reconciliation.NOBODY_KNOWS)
        except NothingToChange:
            return outcomes.on_nothing_to_change(step.log, step.rows)
        except Exception as error:  # noqa: BLE001 - whatever it is, the row says where
            return step.on_reconcile_error(fault_of(error))

    async def _find_out(self, step: StepContext) -> Outcome:
        """Find out what became of a call from what the journal says of it, and else from the CRM."""
        runner = self._runner
        if (done_in := step.done_in) is not None:
            return runner.outcome_of_success(step, await runner.prepare(step), done_in)
        # Something is always journalled before such a call leaves.
        if step.log.shared:
            may_have_left = step.log.call_before is not None
        else:
            may_have_left = runner.may_have_left(step, step.rows[0])
        if not may_have_left:
            return step.on_reconciled(Reconciliation.NOT_THERE)
        if step.log.call == "create":
            call = await runner.prepare(step, linked=step.capabilities.finds)
            return await self._reconcile_create(step, call)
        return await self._reconcile_update(step, await runs.prepare_lost_calls(runner, step))

    async def _reconcile_create(self, step: StepContext, call: PreparedCall) -> Outcome:
        """Search for the activity of a lost create, where the connector can; else see whether it may be repeated."""
        finding = (
            Reconciliation.REPEATABLE
            if step.capabilities.upserts and not step.outgrown
            else Reconciliation.NOBODY_KNOWS
        )
        if step.capabilities.finds:
            found = await self._context.caller.find(step.connector, call)
            if found is not None:
                return self._runner.outcome_of_success(step, call, found)
            finding = Reconciliation.NOT_THERE
        elif finding is Reconciliation.NOBODY_KNOWS and failure_reason_of(step.log.reason) in _REFUSALS:
            # Where nothing can be asked, a refusal says that nothing was done.
            finding = Reconciliation.NOT_THERE
        # Repeated here and now, with the very rows of the lost call: a CRM that knows its key answers with the
        # activity as it was made then, and a message that joined in between would count as logged and be nowhere.
        return await self._retry_if_planned(step, step.on_reconciled(finding), call, finding)

    async def _retry_if_planned(
        self, step: StepContext, outcome: Outcome, call: PreparedCall, finding: Reconciliation
    ) -> Outcome:
        """Retry a call, in the session in which it was reconciled, if `outcome` plans it again; else return that."""
        if any(change.state is not RowState.PLANNED for change in outcome.changes):
            return outcome
        step = step.with_asker_as_caller()
        log = replace(
            step.log,
            attempt_count=outcome.log.attempt_count,
            rejection_count=outcome.log.rejection_count,
            probe_count=0,
        )
        return await self._retry(step.with_log(log), call, finding, rejection_count=step.log.rejection_count)

    async def _retry(
        self, step: StepContext, call: PreparedCall, finding: Reconciliation, *, rejection_count: int
    ) -> Outcome:
        """Make a call once more. `rejection_count` is the one before it, which stays while the outcome is unknown."""
        try:
            if (
                not step.log.shared
            ):  # reconciling took its time: the lease is renewed before the call leaves again
                await self._runner.record(step)
            step, calls = await self._runner.record_intent(step, [call])
            return await self._runner.call_crm(step, calls[0])
        except (Unavailable, RateLimited, AuthExpired) as error:
            # The repeat was not done; if the call was only repeatable, the first one may have been.
            if finding is Reconciliation.REPEATABLE:
                return step.with_log(replace(step.log, rejection_count=rejection_count)).on_reconcile_error(
                    error
                )
            return step.on_error(error)
        except ConnectorError as error:
            refused = failure_reason_of(step.log.reason) is FailureReason.REJECTED
            if refused and finding is Reconciliation.REPEATABLE and isinstance(error, Rejected):
                error.wrote = False  # the repeat was the question, and this is its answer
                return step.on_error(error)
            outcome = step.on_error(error)
            if finding is Reconciliation.REPEATABLE and any(
                change.state is RowState.FAILED for change in outcome.changes
            ):
                # A refusal does not say whether the first was done. If the message failed, the next one would be
                # created under its key: a CRM that has the first would answer with that activity, and the next one
                # would be logged and be nowhere.
                return replace(step.on_reconciled(Reconciliation.NOBODY_KNOWS), error=error)
            return outcome

    async def _reconcile_update(  # noqa: PLR0911 - a case for each way of finding out
        self, step: StepContext, calls: list[PreparedCall]
    ) -> Outcome:
        """Look for the entries of lost updates in the activity, where it can be read."""
        if read_text_settings(step.log.text_settings).format is LogFormat.CUSTOM:
            # Only the connector knows such a text.
            return step.on_reconciled(Reconciliation.NOBODY_KNOWS)
        if not step.capabilities.reads_back:
            finding = Reconciliation.REPEATABLE if step.capabilities.amends else Reconciliation.NOBODY_KNOWS
            await self._runner.record_certainty(step)
            return step.on_reconciled(finding)
        if step.log.shared:
            return await self._reconcile_thread(step, calls[0])
        hashes = {id_: hash_ for call in calls for id_, hash_ in call.hashes.items()}
        journal = calls[0].journal
        if journal.is_ambiguous(hashes.values()):
            # Such an entry is counted, and the count recorded, before its call leaves: this call never left.
            return step.on_reconciled(Reconciliation.NOT_THERE)
        found = await self._context.caller.count_in_activity(step.connector, step.log, calls)
        if step.log.call == "change":
            is_there = calls[0].change is not None and calls[0].change.find_given(journal.new_counts(found))
            return (
                step.on_success(calls[0], calls[0].activity)
                if is_there
                else step.on_reconciled(Reconciliation.NOT_THERE)
            )
        there = step.with_rows(runs.rows_found(step.rows, hashes, journal.new_counts(found)))
        if not there.rows:
            return step.on_reconciled(Reconciliation.NOT_THERE)
        if len(there.rows) < len(step.rows):
            calls = await runs.prepare_lost_calls(self._runner, there)
        return runs.with_missing(
            there.on_found(calls[-1], hashes), [row for row in step.rows if row not in there.rows]
        )

    async def _reconcile_thread(self, step: StepContext, call: PreparedCall) -> Outcome:
        """Look for the blocks of a lost update in a shared thread's activity."""
        if call.log.holds(await self._context.caller.read(step.connector, call)):
            return step.on_found(call, {})
        outcome = step.on_reconciled(Reconciliation.NOT_THERE)
        if step.asker is None:
            return outcome
        # The colleague's snapshot has taken the place of the one that was sent: it need not wait for its user.
        return await self._retry_if_planned(step, outcome, call, Reconciliation.NOT_THERE)
