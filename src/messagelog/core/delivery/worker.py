"""Does one step of a claimed conversation log, saves its outcome, and tells the requests that wait for it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from msgspec.structs import replace

from messagelog.core.delivery import outcomes
from messagelog.core.delivery.attempts import attempt_of
from messagelog.core.delivery.backoff import Retry
from messagelog.core.delivery.faults import error_summary, fault_of
from messagelog.core.delivery.outages import write_over_outage
from messagelog.core.delivery.outcomes import FailureReason, Outcome, failure_reason_of
from messagelog.core.delivery.reconcile import Reconciler
from messagelog.core.delivery.steps import StepContext, StepProgress, StepRunner
from messagelog.storage import ClaimLost, StoreUnavailable, is_transient, transactions
from messagelog.storage.records.journal import (
    RowChange,
    RowState,
    RowStatus,
    SignInPause,
    is_change,
    message_id_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from messagelog.core.delivery.context import ConnectorPlan, DeliveryContext
    from messagelog.storage import Claim, NewRow
    from messagelog.storage.records.journal import LogKey, LogRow, MessageRow, Planner

_SHORTEST_PROBE_MS: Final = 1000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What follows a step: the claim of the next one, or the time (ms) after which to go on, or neither."""

    claim: Claim | None = None
    wait_ms: int | None = None
    recreated: bool = False


class Worker:
    """Does the steps of claims. It keeps nothing between them: the journal is the truth."""

    def __init__(self, context: DeliveryContext) -> None:
        self._context = context
        self._runner = StepRunner(context)
        self._reconciler = Reconciler(context, self._runner)
        self.saving: set[LogKey] = set()
        """The logs whose calls are over, and whose outcomes are being saved."""

    async def run(
        self,
        plan: ConnectorPlan,
        claim: Claim,
        *,
        planner: Callable[[], Planner | None],
        held: Callable[[], Sequence[NewRow]],
        may_recreate: bool,
    ) -> StepResult:
        """Do the claimed step, or reconcile a lost call, and save the outcome.

        If `planner()` returns None by then (shutdown), the claim is released. `held` gives all rows of this
        conversation log that the waiting requests hold: a deleted activity is created again from them.
        """
        rows = claim.rows if claim.reconcile else claim.step.rows if claim.step else ()

        def retry() -> Retry:
            seconds = self._context.users.limiters.next_probe(claim.key.tenant, claim.key.platform)
            probe_ms = None if seconds is None else max(_SHORTEST_PROBE_MS, int(seconds * 1000))
            return Retry(claim.early, probe_ms)

        step = StepContext(
            plan.connector,
            plan.capabilities,
            claim.log,
            rows,
            plan.policy,
            may_recreate,
            self._context.jitter(),
            StepProgress(),
            retry,
            claim.colleague,
        )
        try:
            if not claim.reconcile:
                outcome = await self._runner.run(step)
            elif rows:
                outcome = await self._reconciler.reconcile(step)
            else:  # they were taken away: nothing is left to reconcile
                outcome = Outcome(claim.log, ())
            return await self._save_outcome(outcome, planner(), step, held)
        except ClaimLost:
            _log.warning("claim_lost", log=claim.key.conversation_log_id)
            return StepResult()

    async def _save_outcome(
        self,
        outcome: Outcome,
        planner: Planner | None,
        step: StepContext,
        held: Callable[[], Sequence[NewRow]],
    ) -> StepResult:
        """Save an outcome, or what is left of one that cannot be saved, and tell of it. Raises `ClaimLost`."""
        key = outcome.log.key
        # A shutdown releases the claim, due at once: the next start goes on.
        wait_ms = outcome.wait_ms if outcome.wait_ms is not None or planner is not None else 0
        outcome = replace(outcome, wait_ms=wait_ms)
        rows: tuple[NewRow, ...] | None = None
        if outcome.recreate:
            try:
                rows = tuple(held())
            except Exception as error:  # noqa: BLE001 - then what was logged there is reported as deleted
                rows = ()
                _log.error("outcome_curtailed", log=key.conversation_log_id, error=error_summary(error))
        try:
            claim = await self._write_outcome(outcome, planner, step, rows)
        except ClaimLost:
            raise
        except Exception as error:
            if is_transient(error):
                raise
            _log.error("outcome_not_saved", log=key.conversation_log_id, error=error_summary(error))
            outcome = outcomes.on_save_failure(
                step.recorded_log, step.rows, outcome, fault_of(error), step.capabilities, step.jitter
            )
            claim = await self._write_outcome(outcome, None, step, None)
        await self._notify_waiters(outcome, step)
        return StepResult(claim, outcome.wait_ms, recreated=outcome.recreate)

    async def _write_outcome(
        self, outcome: Outcome, planner: Planner | None, step: StepContext, new_rows: Sequence[NewRow] | None
    ) -> Claim | None:
        """Write an outcome to the journal; return the claim of the next step."""
        context, key, pause = self._context, outcome.log.key, None
        if outcome.signed_out:
            pause = SignInPause(step.progress.user_id, step.progress.credentials)
            context.users.invalidate(key.tenant, key.platform, pause.user_id)
        # Rows whose calls were not made, as those of a run that has ended before them, wait for the next step.
        done = {change.id for change in outcome.changes}
        unsent = [RowChange(row.id, RowState.PLANNED) for row in step.rows if row.id not in done]
        changes = (*outcome.changes, *unsent)
        attempt = attempt_of(context.sealer, outcome.log, outcome.error, outcome.changes)
        self.saving.add(key)
        try:
            # Only this process knows how the call ended: it is written as long as the claim may hold.
            return await write_over_outage(
                context.store,
                lambda: transactions.save_outcome(
                    outcome.log,
                    changes,
                    planner or _plan_nothing,
                    step.policy,
                    waiting=outcome.waiting,
                    recreated=new_rows,
                    wait_ms=outcome.wait_ms,
                    pause=pause,
                    attempt=attempt,
                    entry=outcome.entry,
                    unsaid=outcome.unsaid,
                ),
                locks=(key,) if pause is None else (),
                seconds=step.policy.lease_ms / 1000,
            )
        finally:
            self.saving.discard(key)

    async def _notify_waiters(self, outcome: Outcome, step: StepContext) -> None:
        """Count and log an outcome, and tell the requests of this process. The next step survives an error here."""
        log, notifier = outcome.log, self._context.notifier
        try:
            self._context.caller.metrics.count_outcomes(log.key.platform, outcome.changes)
            _log_failures(outcome, step.rows)
            if not outcome.waiting and outcome.wait_ms is None and not log.shared:
                notifier.publish(
                    log.key,
                    [
                        RowStatus(change.id, change.state, change.reason, log.version)
                        for change in outcome.changes
                    ],
                )
            elif ids := sorted(notifier.pending_ids(log.key)):
                with suppress(StoreUnavailable):  # the requests poll as well
                    reports = await self._context.store.read(lambda: transactions.report_rows(log.key, ids))
                    notifier.publish(log.key, reports)
        except Exception as error:  # noqa: BLE001 - the requests poll by themselves
            _log.error("outcome_untold", log=log.key.conversation_log_id, error=error_summary(error))


def _log_failures(outcome: Outcome, before: Sequence[MessageRow]) -> None:
    """Write a log line for each message that fails, parks or waits for a sign-in, without the reason's detail.

    The detail may be a connector's own words, and those may quote a message. `before` are the rows as they were: a row
    that has waited for a sign-in and still does has its line already.
    """
    log, error = outcome.log, outcome.error
    where: dict[str, Any] = {
        "tenant": log.key.tenant,
        "platform": log.key.platform,
        "log": log.key.conversation_log_id,
    }
    if error is not None:
        where |= {"error": type(error).__name__}
        if error.status is not None:
            where |= {"status": error.status}
    have_waited = {
        row.id
        for row in before
        if row.state is RowState.UNKNOWN and failure_reason_of(row.reason) is FailureReason.SIGN_IN
    }
    for change in outcome.changes:
        reason = failure_reason_of(change.reason)
        # What may have been written waits for a sign-in too: the user's session is asked about it first.
        waits = change.state is RowState.UNKNOWN and reason is FailureReason.SIGN_IN
        if waits and change.id in have_waited:
            continue
        if waits or change.state in _FAILURE_STATES:
            state = RowState.WAITING if waits else change.state
            fields = {**where, "message": message_id_of(change.id), "state": state, "reason": reason}
            if is_change(change.id):
                _log.warning("change_not_logged", **fields)
            else:
                _log.warning("message_not_logged", **fields)
    behind = outcome.waiting
    if behind is not None:
        _log.warning("messages_behind", **where, state=behind.state, reason=failure_reason_of(behind.reason))


_FAILURE_STATES: Final = frozenset({RowState.FAILED, RowState.PARKED, RowState.WAITING})


def _plan_nothing(_log: LogRow, _waiting: Sequence[MessageRow]) -> None:
    """Plan no step, for a claim that is released."""
