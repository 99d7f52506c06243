"""Finds out what became of a call whose answer nobody has."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from messagelog.compose import LogFormat, read_text_settings
from messagelog.connectors import (
    AuthExpired,
    BodyFull,
    ConnectorError,
    NotFound,
    RateLimited,
    Rejected,
    Unavailable,
)
from messagelog.core.delivery import backoff
from messagelog.core.delivery.faults import fault_of
from messagelog.core.delivery.outcomes import (
    FailureReason,
    Reconciliation,
    failure_reason_of,
    on_too_many_interruptions,
    with_missing,
)
from messagelog.core.delivery.payload import TextErased
from messagelog.core.errors import NothingToChange
from messagelog.core.users.directory import SignInRequired
from messagelog.storage import ClaimLost
from messagelog.storage.encryption.sealer import SealBroken
from messagelog.storage.records.journal import RowState

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from messagelog.core.delivery.calls import ConnectorCaller, PreparedCall
    from messagelog.core.delivery.outcomes import Outcome
    from messagelog.core.delivery.step_context import StepContext
    from messagelog.core.delivery.steps import StepRunner
    from messagelog.storage.records.journal import MessageRow

_REFUSALS: Final = frozenset({FailureReason.SIGN_IN, FailureReason.REJECTED})


class Reconciler:
    """Asks the CRM about lost calls, as far as its connector can; what is known not to be done is made again."""

    def __init__(self, caller: ConnectorCaller, steps: StepRunner) -> None:
        self._caller = caller
        self._runner = steps

    async def reconcile(self, job: StepContext) -> Outcome:
        """Finds out what became of a call whose answer nobody has. Raises `ClaimLost`, and nothing else.

        Work that was interrupted more often than the table has waits is not begun again: it may be what ends it. A
        call that was refused for its user's credentials may be asked about by a colleague who has brought something
        to the same log, so that the colleague's messages do not wait for a sign-in that may never come.
        """
        if job.log.attempt_count > len(backoff.STEPS):
            return on_too_many_interruptions(job.log, job.rows)
        outcome = await self._reconcile_once(job)
        needs_sign_in = isinstance(outcome.error, SignInRequired)
        if (
            needs_sign_in
            and job.colleague is not None
            and failure_reason_of(job.log.reason) is FailureReason.SIGN_IN
        ):
            return await self._reconcile_once(job.with_asker(job.colleague))
        return outcome

    async def _reconcile_once(self, job: StepContext) -> Outcome:
        try:
            return await self._find_out(job)
        except ClaimLost:
            raise
        except ConnectorError as error:
            # To a colleague the activity may be hidden, and not gone.
            if isinstance(error, NotFound) and job.log.call != "create" and job.asker is None:
                return job.on_error(error)
            return job.on_reconcile_error(error)
        except (SealBroken, TextErased):
            return job.on_reconciled(Reconciliation.NOBODY_KNOWS)
        except NothingToChange:
            return job.on_nothing_to_change()
        except Exception as error:  # noqa: BLE001 - whatever it is, its row says where
            return job.on_reconcile_error(fault_of(error))

    async def _find_out(self, job: StepContext) -> Outcome:
        if (done_in := job.done_in) is not None:
            return self._runner.outcome(job, await self._runner.prepare(job), done_in)
        if self._never_left(job):
            return job.on_reconciled(Reconciliation.NOT_THERE)
        if job.log.call == "create":
            call = await self._runner.prepare(job, linked=job.capabilities.finds)
            return await self._reconcile_create(job, call)
        return await self._reconcile_update(job, await self._prepare_lost(job))

    def _never_left(self, job: StepContext) -> bool:
        """Whether something is not journalled that always is before such a call leaves."""
        if job.log.shared:
            return job.log.call_before is None
        return not self._caller.may_have_left(job.log, job.rows[0])

    async def _reconcile_create(self, job: StepContext, call: PreparedCall) -> Outcome:
        finding = (
            Reconciliation.REPEATABLE
            if job.capabilities.upserts and not job.outgrown
            else Reconciliation.NOBODY_KNOWS
        )
        if job.capabilities.finds:
            found = await self._caller.find(job.connector, call)
            if found is not None:
                return self._runner.outcome(job, call, found)
            finding = Reconciliation.NOT_THERE
        elif finding is Reconciliation.NOBODY_KNOWS and failure_reason_of(job.log.reason) in _REFUSALS:
            # Where nothing can be asked, a refusal says that nothing was done.
            finding = Reconciliation.NOT_THERE
        # Repeated here and now, with the very rows of the lost call: a CRM that knows its key answers with the
        # activity as it was made then, and a message that joined in between would count as logged and be nowhere.
        return await self._retry_if_planned(job, job.on_reconciled(finding), call, finding)

    async def _retry_if_planned(
        self, job: StepContext, outcome: Outcome, call: PreparedCall, finding: Reconciliation
    ) -> Outcome:
        """Repeats a call that is to be planned again, as whoever was asked about it; else what it has become."""
        if any(change.state is not RowState.PLANNED for change in outcome.changes):
            return outcome
        job = job.with_asker_as_caller()
        log = replace(
            job.log,
            attempt_count=outcome.log.attempt_count,
            rejection_count=outcome.log.rejection_count,
            probe_count=0,
        )
        return await self._retry(job.with_log(log), call, finding, rejection_count=job.log.rejection_count)

    async def _retry(
        self, job: StepContext, call: PreparedCall, finding: Reconciliation, *, rejection_count: int
    ) -> Outcome:
        """Makes a call once more. `refusals` are those before the question: they stay while it is open."""
        try:
            if not job.log.shared:  # asking took its time: the lease is renewed before the call leaves again
                await self._runner.record(job)
            job, calls = await self._runner.record_intent(job, [call])
            return await self._runner.call_crm(job, calls[0])
        except (Unavailable, RateLimited, AuthExpired) as error:
            # The repeat was not done; of a call that was only repeatable, the first may have been.
            if finding is Reconciliation.REPEATABLE:
                return job.with_log(replace(job.log, rejection_count=rejection_count)).on_reconcile_error(
                    error
                )
            return job.on_error(error)
        except ConnectorError as error:
            refused = failure_reason_of(job.log.reason) is FailureReason.REJECTED
            if refused and finding is Reconciliation.REPEATABLE and isinstance(error, Rejected):
                error.wrote = False  # the repeat was the question, and this is its answer
                return job.on_error(error)
            outcome = job.on_error(error)
            if finding is Reconciliation.REPEATABLE and any(
                change.state is RowState.FAILED for change in outcome.changes
            ):
                # A refusal does not say whether the first was done. If the message failed, the next one would be
                # created under its key: a CRM that has the first would answer with that activity, and the next one
                # would be logged and be nowhere.
                return replace(job.on_reconciled(Reconciliation.NOBODY_KNOWS), error=error)
            return outcome

    async def _reconcile_update(  # noqa: PLR0911 - a case for each way of finding out
        self, job: StepContext, calls: list[PreparedCall]
    ) -> Outcome:
        if (
            read_text_settings(job.log.text_settings).format is LogFormat.CUSTOM
        ):  # nobody knows such a text but the connector
            return job.on_reconciled(Reconciliation.NOBODY_KNOWS)
        if not job.capabilities.reads_back:
            finding = Reconciliation.REPEATABLE if job.capabilities.amends else Reconciliation.NOBODY_KNOWS
            await self._runner.record_certainty(job)
            return job.on_reconciled(finding)
        if job.log.shared:
            return await self._reconcile_thread(job, calls[0])
        hashes = {id_: hash_ for call in calls for id_, hash_ in call.hashes.items()}
        journal = calls[0].journal
        if journal.is_ambiguous(hashes.values()):
            # It is counted and noted before such a call leaves, and a run ends before one: this one never left.
            return job.on_reconciled(Reconciliation.NOT_THERE)
        found = await self._caller.count_in_activity(job.connector, job.log, calls)
        if job.log.call == "change":
            stands_there = calls[0].change is not None and calls[0].change.find_given(
                journal.new_counts(found)
            )
            return (
                job.on_success(calls[0], calls[0].activity)
                if stands_there
                else job.on_reconciled(Reconciliation.NOT_THERE)
            )
        there = job.with_rows(_rows_found(job.rows, hashes, journal.new_counts(found)))
        if not there.rows:
            return job.on_reconciled(Reconciliation.NOT_THERE)
        if len(there.rows) < len(job.rows):
            calls = await self._prepare_lost(there)
        return with_missing(
            there.on_found(calls[-1], hashes), [row for row in job.rows if row not in there.rows]
        )

    async def _reconcile_thread(self, job: StepContext, call: PreparedCall) -> Outcome:
        if call.log.holds(await self._caller.read(job.connector, call)):
            return job.on_found(call, {})
        outcome = job.on_reconciled(Reconciliation.NOT_THERE)
        if job.asker is None:
            return outcome
        # The colleague's snapshot has taken the place of the one that was sent: it need not wait for its user.
        return await self._retry_if_planned(job, outcome, call, Reconciliation.NOT_THERE)

    async def _prepare_lost(self, job: StepContext) -> list[PreparedCall]:
        """The updates whose answers were lost, each as it was made.

        Each message of a run was written with what its own request said of who speaks.
        """
        calls = [await self._runner.prepare(job.first)]
        if not job.in_run:
            return calls
        with suppress(BodyFull):  # what is behind the one that had no room never left
            for row in job.rows[1:]:
                if not self._caller.may_have_left(job.log, row):  # the run ends before it
                    break
                calls.append(await self._runner.prepare_next(calls[-1], job, row))
        return calls


def _rows_found(
    rows: Sequence[MessageRow], hashes: Mapping[str, bytes], left: Counter[bytes]
) -> list[MessageRow]:
    """The rows whose entries stand in a body: of two that read alike each has one of its own."""
    found = []
    for row in rows:
        hash_ = hashes.get(row.id)
        if hash_ is not None and left[hash_] > 0:
            left[hash_] -= 1
            found.append(row)
    return found
