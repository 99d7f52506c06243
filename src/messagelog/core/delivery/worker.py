"""Carries out one step of a claimed conversation log, and journals what came of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from msgspec.structs import replace

from messagelog.core.delivery.attempts import attempt_of
from messagelog.core.delivery.backoff import Retry
from messagelog.core.delivery.faults import error_summary, fault_of
from messagelog.core.delivery.outages import write_over_outage
from messagelog.core.delivery.outcomes import FailureReason, Outcome, failure_reason_of
from messagelog.core.delivery.reconcile import Reconciler
from messagelog.core.delivery.step_context import StepContext, StepProgress
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

    from messagelog.connectors import Connector
    from messagelog.core.delivery.calls import ConnectorCaller
    from messagelog.core.delivery.notifier import OutcomeNotifier
    from messagelog.core.delivery.outcomes import Capabilities
    from messagelog.core.delivery.steps import StepRunner
    from messagelog.core.users.directory import UserDirectory
    from messagelog.storage import Claim, NewRow, Sealer, Store
    from messagelog.storage.records.journal import Attempt, LeasePolicy, LogKey, LogRow, MessageRow, Planner

_SHORTEST_PROBE_MS: Final = 1000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step led to: the claim of the next one, or the time (ms) after which to go on, or neither."""

    claim: Claim | None = None
    wait_ms: int | None = None
    recreated: bool = False


class Worker:
    """Does the steps of claims. It keeps nothing between them: the journal is the truth.

    `luck` draws a number from 0 up to 1 for each step: where in its time the next try lies.
    """

    def __init__(  # noqa: PLR0917 - the parts that it needs
        self,
        store: Store,
        sealer: Sealer,
        users: UserDirectory,
        caller: ConnectorCaller,
        notifier: OutcomeNotifier,
        jitter: Callable[[], float],
        steps: StepRunner,
    ) -> None:
        self._jitter = jitter
        self._store = store
        self._sealer = sealer
        self._users = users
        self._caller = caller
        self._notifier = notifier
        self._runner = steps
        self._reconciler = Reconciler(caller, steps)
        self._saving: set[LogKey] = set()

    async def run(
        self,
        connector: Connector,
        capabilities: Capabilities,
        claim: Claim,
        *,
        planner: Callable[[], Planner | None],
        policy: LeasePolicy,
        held: Callable[[], Sequence[NewRow]],
        may_recreate: bool,
    ) -> StepResult:
        """Does one step, or finds out about a call of before. Without a planner by then the claim is let go.

        `held` gives all rows that the waiting requests hold of this conversation log: what a deleted activity is
        made anew from.
        """
        rows = claim.rows if claim.reconcile else claim.step.rows if claim.step else ()
        jitter, retry, colleague = self._jitter(), partial(self._retry, claim), claim.colleague
        job = StepContext(
            connector,
            capabilities,
            claim.log,
            rows,
            policy,
            may_recreate,
            jitter,
            StepProgress(),
            retry,
            colleague,
        )
        try:
            if not claim.reconcile:
                outcome = await self._runner.run(job)
            elif rows:
                outcome = await self._reconciler.reconcile(job)
            else:  # they were taken away: nothing is left to find out
                outcome = Outcome(claim.log, ())
        except ClaimLost:
            _log.warning("claim_lost", log=claim.key.conversation_log_id)
            return StepResult()
        return await self._save_outcome(outcome, planner(), job, held)

    def _retry(self, claim: Claim) -> Retry:
        """How a failure of this claim is taken now."""
        seconds = self._users.pacer.next_probe(claim.key.tenant, claim.key.platform)
        return Retry(claim.early, None if seconds is None else max(_SHORTEST_PROBE_MS, int(seconds * 1000)))

    async def _save_outcome(
        self,
        outcome: Outcome,
        planner: Planner | None,
        job: StepContext,
        held: Callable[[], Sequence[NewRow]],
    ) -> StepResult:
        key = outcome.log.key
        # A shutdown lets the claim go, due at once: the next start goes on.
        wait_ms = outcome.wait_ms if outcome.wait_ms is not None or planner is not None else 0
        outcome = replace(outcome, wait_ms=wait_ms)
        anew = self._rows_to_recreate(held, job) if outcome.anew else None
        try:
            try:
                claim = await self._write_outcome(outcome, planner, job, anew)
            except ClaimLost:
                raise
            except Exception as error:
                if is_transient(error):
                    raise
                _log.error("outcome_not_saved", log=key.conversation_log_id, error=error_summary(error))
                outcome = job.on_save_failure(outcome, fault_of(error))
                claim = await self._write_outcome(outcome, None, job, None)
        except ClaimLost:
            _log.warning("claim_lost", log=key.conversation_log_id)
            return StepResult()
        await self._notify_waiters(outcome, job)
        return StepResult(claim, outcome.wait_ms, recreated=outcome.anew)

    async def _write_outcome(
        self, outcome: Outcome, planner: Planner | None, job: StepContext, anew: Sequence[NewRow] | None
    ) -> Claim | None:
        """Writes what a step came to; the claim of the next one."""
        key, pause = outcome.log.key, None
        if outcome.signed_out:
            pause = SignInPause(job.progress.user_id, job.progress.credentials)
            self._users.invalidate(key.tenant, key.platform, pause.user_id)
        changes = (*outcome.changes, *_unsent_changes(job.rows, outcome.changes))
        attempt = self._build_attempt(outcome)
        self._saving.add(key)
        try:
            # What the call came to is known here alone: it is written as long as the claim may hold.
            return await write_over_outage(
                self._store,
                lambda: transactions.save_outcome(
                    outcome.log,
                    changes,
                    planner or _no_plan,
                    job.policy,
                    waiting=outcome.waiting,
                    anew=anew,
                    wait_ms=outcome.wait_ms,
                    pause=pause,
                    attempt=attempt,
                    entry=outcome.entry,
                    unsaid=outcome.unsaid,
                ),
                locks=(key,) if pause is None else (),
                seconds=job.policy.lease_ms / 1000,
            )
        finally:
            self._saving.discard(key)

    def is_saving(self, key: LogKey) -> bool:
        """Whether the calls of this log are over and what they came to is being written."""
        return key in self._saving

    def _rows_to_recreate(self, held: Callable[[], Sequence[NewRow]], job: StepContext) -> tuple[NewRow, ...]:
        """What a deleted activity is made anew from: nothing, where the requests at hand cannot be read."""
        try:
            return tuple(held())
        except Exception as error:  # noqa: BLE001 - what was logged there is told of as deleted
            _log.error("outcome_curtailed", log=job.log.key.conversation_log_id, error=error_summary(error))
            return ()

    def _build_attempt(self, outcome: Outcome) -> Attempt | None:
        """What is kept of a call that came to nothing, if it can be kept: the outcome matters more."""
        try:
            return attempt_of(self._sealer, outcome.log, outcome.error, outcome.changes)
        except Exception as error:  # noqa: BLE001 - whatever it is, the call came to the same
            _log.error(
                "outcome_curtailed", log=outcome.log.key.conversation_log_id, error=error_summary(error)
            )
            return None

    async def _notify_waiters(self, outcome: Outcome, job: StepContext) -> None:
        """Counts what became of rows, and tells the requests of this process. The next step is not lost for it."""
        try:
            self._caller.metrics.count_outcomes(outcome.log.key.platform, outcome.changes)
            _log_failures(outcome, job.rows)
            await self._publish_reports(outcome)
        except Exception as error:  # noqa: BLE001 - they ask by themselves
            _log.error("outcome_untold", log=outcome.log.key.conversation_log_id, error=error_summary(error))

    async def _publish_reports(self, outcome: Outcome) -> None:
        log = outcome.log
        if not outcome.waiting and outcome.wait_ms is None and not log.shared:
            reports = [
                RowStatus(change.id, change.state, change.reason, log.version) for change in outcome.changes
            ]
            self._notifier.publish(log.key, reports)
            return
        ids = sorted(self._notifier.pending_ids(log.key))
        if not ids:
            return
        with suppress(StoreUnavailable):  # they ask for themselves as well
            reports = await self._store.read(lambda: transactions.report_rows(log.key, ids))
            self._notifier.publish(log.key, reports)


def _log_failures(outcome: Outcome, before: Sequence[MessageRow]) -> None:
    """Write a line for each message that fails, parks or waits for a sign-in. A reason's detail is not in it.

    The detail may be a connector's own words, and those may quote a message. `before` are the rows as they were: one
    that waited for a sign-in, and does so still, has its line.
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


def _no_plan(_log: LogRow, _waiting: Sequence[MessageRow]) -> None:
    """Plans nothing, for a claim that is let go."""


def _unsent_changes(rows: Sequence[MessageRow], changes: Sequence[RowChange]) -> list[RowChange]:
    """The rows of a run that has ended before their calls: they wait for the next step."""
    done = {change.id for change in changes}
    return [RowChange(row.id, RowState.PLANNED) for row in rows if row.id not in done]
