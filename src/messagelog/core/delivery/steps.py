"""Makes the calls of a step, and journals before each what only then can be known."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from messagelog.connectors import ConnectorError, OutcomeUnknown, Rejected, Unavailable
from messagelog.core.delivery.calls import NOTHING_COUNTED, ambiguous, encode_blocks, encode_counts
from messagelog.core.delivery.faults import error_summary, fault_of
from messagelog.core.delivery.outages import write_over_outage
from messagelog.core.delivery.outcomes import and_then
from messagelog.core.delivery.payload import TextErased
from messagelog.core.errors import ConnectorBroke, NothingToChange, NotPrepared
from messagelog.core.users.directory import SignInRequired
from messagelog.storage import ClaimLost, transactions
from messagelog.storage.encryption.sealer import SealBroken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from messagelog.core.delivery.calls import ConnectorCaller, PreparedCall
    from messagelog.core.delivery.outcomes import Outcome
    from messagelog.core.delivery.step_context import StepContext
    from messagelog.core.users.directory import StoredSession, UserDirectory
    from messagelog.storage import Store
    from messagelog.storage.records.journal import MessageRow

_log = structlog.get_logger(__name__)


class StepRunner:
    """Makes the calls of steps, each in its user's session.

    No further call of a run begins after `run_seconds`: what was done is written down, and who waits for it is told.
    `clock` gives epoch seconds.
    """

    def __init__(
        self,
        store: Store,
        users: UserDirectory,
        caller: ConnectorCaller,
        *,
        run_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._run_seconds = run_seconds
        self._clock = clock
        self._store = store
        self._users = users
        self._caller = caller

    async def run(self, job: StepContext) -> Outcome:
        """Makes the journalled call, of a run one for each row. Raises `ClaimLost`, and nothing else."""
        began = self._now()
        try:
            job, calls = await self.record_intent(job, await self._prepare_all(job))
        except ConnectorError as error:
            # Nothing has been written yet, whatever reading came to: it is known not to be done.
            return job.first.on_error(_harmless(error))
        except (SealBroken, TextErased) as error:
            return job.first.on_error(Rejected(f"the stored text cannot be read: {error}"))
        except NothingToChange:
            return job.on_nothing_to_change()
        except ClaimLost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is: nothing was sent, and its row says where
            return job.first.on_error(fault_of(error, wrote=False))
        outcome = await self._try(job.with_rows(calls[0].rows), calls[0])
        for call in calls[1:]:
            if outcome.error is not None or self._is_late(began) or not await self._goes_on(job, call):
                break
            outcome = and_then(outcome, await self._try(job.with_log(outcome.log).with_rows(call.rows), call))
        return outcome

    def _now(self) -> tuple[float, float]:
        """The event loop's clock, which stands still while a machine is frozen, and the calendar's."""
        return asyncio.get_running_loop().time(), self._clock()

    def _is_late(self, began: tuple[float, float]) -> bool:
        """Whether a run has to end, by either clock: for whoever was paused meanwhile the claim may be another's."""
        return any(now - then >= self._run_seconds for now, then in zip(self._now(), began, strict=True))

    async def _goes_on(self, job: StepContext, call: PreparedCall) -> bool:
        """Whether the user's session is the one that a call was prepared with: they may have signed out meanwhile."""
        try:
            return call.session is await self._session(job)
        except ConnectorError:
            return False
        except Exception as error:  # noqa: BLE001 - what the calls before came to is not lost for it
            _log.error("run_ended", log=job.log.key.conversation_log_id, error=error_summary(error))
            return False

    async def _try(self, job: StepContext, call: PreparedCall) -> Outcome:
        try:
            return await self.call_crm(job, call)
        except ConnectorError as error:
            return job.on_error(error)

    async def call_crm(self, job: StepContext, call: PreparedCall) -> Outcome:
        """Makes the call, which from here on may have been done whatever comes back. Raises `ConnectorError` alone."""
        try:
            if job.log.call == "create":
                id_ = await self._caller.create(job.connector, call)
            else:
                await self._caller.update(job.connector, call)
                id_ = call.log.existing.third_party_log_id if call.log.existing is not None else ""
        except ConnectorError:
            raise
        except Exception as error:
            raise fault_of(error) from error
        return self.outcome(job, call, id_)

    def outcome(self, job: StepContext, call: PreparedCall, id_: str) -> Outcome:
        """What it means that the CRM has what a call brought, in the activity `id_`, which is not lost for an error."""
        try:
            return job.on_success(call, id_)
        except Exception as error:  # noqa: BLE001 - whatever it is, its row says where
            return job.on_fault_after_success(id_, fault_of(error))

    async def _prepare_all(self, job: StepContext) -> list[PreparedCall]:
        """The calls of a step: one, or of a run one for each row.

        A run ends before an entry that reads like another one: that one's outcome could not be told from the other's.
        So it does before one that cannot be prepared, which is told of when its turn comes. There is none where the
        activity has a text of the connector's own, in which nothing could be told from anything.
        """
        call = await self.prepare(job.first, first_time=True)
        calls = [call]
        if not job.in_run or not call.hashes or ambiguous(call):
            return calls
        with suppress(ConnectorError, SealBroken, TextErased):
            for row in job.rows[1:]:
                call = await self.prepare_next(call, job, row, first_time=True)
                if ambiguous(call):
                    break
                calls.append(call)
        return calls

    async def prepare(
        self, job: StepContext, *, linked: bool = False, first_time: bool = False
    ) -> PreparedCall:
        """One call with all of the rows, in the session of its user; the rest as for `ConnectorCaller.prepare`."""
        job.progress.user_id = job.caller_id
        try:
            session = await self._session(job)
            job.progress.credentials = session.sealed
            if job.log.call == "change":
                given_change = (job.connector, session, job.log, job.rows[0])
                return await self._caller.prepare_change(*given_change, first_time=first_time)
            given = (job.connector, session, job.log, job.rows)
            return await self._caller.prepare(*given, linked=linked, first_time=first_time)
        except ConnectorError as error:
            error.wrote = False
            if isinstance(error, SignInRequired):
                job.progress.credentials = error.refused
            raise

    async def _session(self, job: StepContext) -> StoredSession:
        return await self._users.session(job.connector, job.log.key.tenant, job.caller_id)

    async def prepare_next(
        self, call: PreparedCall, job: StepContext, row: MessageRow, *, first_time: bool = False
    ) -> PreparedCall:
        """The call of a run that is made next."""
        given = (job.connector, call.session, job.log, [row])
        return await self._caller.prepare(*given, behind=call, first_time=first_time)

    async def record_intent(
        self, job: StepContext, calls: list[PreparedCall]
    ) -> tuple[StepContext, list[PreparedCall]]:
        """Journals, before a call leaves, what only then can be known and a lost answer would make necessary.

        What the CRM said of a group's numbers. Which of the rows it does not bring after all: they wait. For a shared
        thread: the blocks that may stand in the activity from now on. For an update whose text stands there already
        (two equal messages in one minute): how often it does.
        """
        if new_payloads := {id_: payload for each in calls for id_, payload in each.new_payloads.items()}:
            rows = [replace(row, payload=new_payloads.get(row.id, row.payload)) for row in job.rows]
            job = await self.record(job.with_rows(rows), payloads=new_payloads)
        log, call = job.log, calls[0]
        fitting = sum(each.fitting for each in calls)
        if fitting < len(job.rows):
            back = [row.id for row in job.rows[fitting:]]
            job = await self.record(job.with_rows(job.rows[:fitting]), back)
            if call.fitting < len(call.rows):
                call = await self.prepare(job)
                calls = [call]
        if log.shared:
            noted = replace(log, blocks=encode_blocks(call), call_before=NOTHING_COUNTED)
            return await self.record(job.with_log(noted)), calls
        if log.call == "create" or not job.capabilities.reads_back or not ambiguous(call):
            return job, calls
        before = await self._caller.count_in_activity(job.connector, log, [call])
        job = await self.record(job.with_log(replace(log, call_before=encode_counts(before))))
        return job, [await self.prepare(job)]

    async def record_certainty(self, job: StepContext) -> None:
        """Journals that the words of these rows are as they are, since a call may have brought them."""
        if payloads := self._caller.without_uncertainty(job.log, job.rows):
            await self.record(job, payloads=payloads)

    async def record(
        self, job: StepContext, back: Sequence[str] = (), payloads: Mapping[str, bytes] | None = None
    ) -> StepContext:
        """Journals the log of a call that is about to leave, and renews the lease; rows to be put `back` wait.

        `payloads` take the place of those that these rows have.
        """
        await write_over_outage(
            self._store,
            lambda: transactions.record_intent(job.log, job.policy, back, payloads or {}),
            locks=(job.log.key,),
            seconds=job.policy.lease_ms / 1000,
        )
        job.progress.noted = job.log
        return job


def _harmless(error: ConnectorError) -> ConnectorError:
    """An error before anything was written, as one that says so."""
    harmless = error
    if isinstance(error, ConnectorBroke):
        harmless = NotPrepared(error.detail)
    elif isinstance(error, OutcomeUnknown):
        harmless = Unavailable(error.detail, status=error.status, body=error.body)
    harmless.call = error.call
    harmless.wrote = False
    return harmless
