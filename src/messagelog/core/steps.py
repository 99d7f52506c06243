"""Makes the calls of a step, and journals before each what only then can be known."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from messagelog.connectors import ConnectorError, OutcomeUnknown, Rejected, Unavailable
from messagelog.core.calls import (
    NOTHING_COUNTED,
    ambiguous,
    blocks_noted,
    counts_noted,
)
from messagelog.core.errors import ConnectorBroke, NothingToChange, NotPrepared
from messagelog.core.faults import fault_of, told_of
from messagelog.core.outages import write_over_outage
from messagelog.core.payload import TextErased
from messagelog.core.settle import followed
from messagelog.core.users import SignInNeeded
from messagelog.storage import ClaimLost, scripts
from messagelog.storage.sealing import SealBroken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from messagelog.core.calls import Caller, Prepared
    from messagelog.core.job import Job
    from messagelog.core.settle import Settled
    from messagelog.core.users import KeptSession, UserDirectory
    from messagelog.storage import Store
    from messagelog.storage.rows import MessageRow

_log = structlog.get_logger(__name__)


class Steps:
    """Makes the calls of steps, each in its user's session.

    No further call of a run begins after `run_seconds`: what was done is written down, and who waits for it is told.
    `clock` gives epoch seconds.
    """

    def __init__(
        self,
        store: Store,
        users: UserDirectory,
        caller: Caller,
        *,
        run_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._run_seconds = run_seconds
        self._clock = clock
        self._store = store
        self._users = users
        self._caller = caller

    async def made(self, job: Job) -> Settled:
        """Makes the journalled call, of a run one for each row. Raises `ClaimLost`, and nothing else."""
        began = self._now()
        try:
            job, calls = await self.noted(job, await self._all_prepared(job))
        except ConnectorError as error:
            # Nothing has been written yet, whatever reading came to: it is known not to be done.
            return job.first.troubled(_harmless(error))
        except (SealBroken, TextErased) as error:
            return job.first.troubled(Rejected(f"the stored text cannot be read: {error}"))
        except NothingToChange:
            return job.dropped()
        except ClaimLost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is: nothing was sent, and its row says where
            return job.first.troubled(fault_of(error, wrote=False))
        settled = await self._tried(job.of(calls[0].rows), calls[0])
        for call in calls[1:]:
            if settled.error is not None or self._is_late(began) or not await self._goes_on(job, call):
                break
            settled = followed(settled, await self._tried(job.about(settled.log).of(call.rows), call))
        return settled

    def _now(self) -> tuple[float, float]:
        """The event loop's clock, which stands still while a machine is frozen, and the calendar's."""
        return asyncio.get_running_loop().time(), self._clock()

    def _is_late(self, began: tuple[float, float]) -> bool:
        """Whether a run has to end, by either clock: for whoever was paused meanwhile the claim may be another's."""
        return any(now - then >= self._run_seconds for now, then in zip(self._now(), began, strict=True))

    async def _goes_on(self, job: Job, call: Prepared) -> bool:
        """Whether the user's session is the one that a call was prepared with: they may have signed out meanwhile."""
        try:
            return call.session is await self._session(job)
        except ConnectorError:
            return False
        except Exception as error:  # noqa: BLE001 - what the calls before came to is not lost for it
            _log.error("run_ended", log=job.log.key.conversation_log_id, error=told_of(error))
            return False

    async def _tried(self, job: Job, call: Prepared) -> Settled:
        try:
            return await self.called(job, call)
        except ConnectorError as error:
            return job.troubled(error)

    async def called(self, job: Job, call: Prepared) -> Settled:
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
        return self.settled(job, call, id_)

    def settled(self, job: Job, call: Prepared, id_: str) -> Settled:
        """What it means that the CRM has what a call brought, in the activity `id_`, which is not lost for an error."""
        try:
            return job.succeeded(call, id_)
        except Exception as error:  # noqa: BLE001 - whatever it is, its row says where
            return job.kept(id_, fault_of(error))

    async def _all_prepared(self, job: Job) -> list[Prepared]:
        """The calls of a step: one, or of a run one for each row.

        A run ends before an entry that reads like another one: that one's outcome could not be told from the other's.
        So it does before one that cannot be prepared, which is told of when its turn comes. There is none where the
        activity has a text of the connector's own, in which nothing could be told from anything.
        """
        call = await self.prepared(job.first, first_time=True)
        calls = [call]
        if not job.in_run or not call.hashes or ambiguous(call):
            return calls
        with suppress(ConnectorError, SealBroken, TextErased):
            for row in job.rows[1:]:
                call = await self.behind(call, job, row, first_time=True)
                if ambiguous(call):
                    break
                calls.append(call)
        return calls

    async def prepared(self, job: Job, *, linked: bool = False, first_time: bool = False) -> Prepared:
        """One call with all of the rows, in the session of its user; the rest as for `Caller.prepare`."""
        job.course.user_id = job.caller_id
        try:
            session = await self._session(job)
            job.course.credentials = session.sealed
            if job.log.call == "change":
                given_change = (job.connector, session, job.log, job.rows[0])
                return await self._caller.prepare_change(*given_change, first_time=first_time)
            given = (job.connector, session, job.log, job.rows)
            return await self._caller.prepare(*given, linked=linked, first_time=first_time)
        except ConnectorError as error:
            error.wrote = False
            if isinstance(error, SignInNeeded):
                job.course.credentials = error.refused
            raise

    async def _session(self, job: Job) -> KeptSession:
        return await self._users.session(job.connector, job.log.key.tenant, job.caller_id)

    async def behind(
        self, call: Prepared, job: Job, row: MessageRow, *, first_time: bool = False
    ) -> Prepared:
        """The call of a run that is made next."""
        given = (job.connector, call.session, job.log, [row])
        return await self._caller.prepare(*given, behind=call, first_time=first_time)

    async def noted(self, job: Job, calls: list[Prepared]) -> tuple[Job, list[Prepared]]:
        """Journals, before a call leaves, what only then can be known and a lost answer would make necessary.

        What the CRM said of a group's numbers. Which of the rows it does not bring after all: they wait. For a shared
        thread: the blocks that may stand in the activity from now on. For an update whose text stands there already
        (two equal messages in one minute): how often it does.
        """
        if told := {id_: payload for each in calls for id_, payload in each.told.items()}:
            rows = [replace(row, payload=told.get(row.id, row.payload)) for row in job.rows]
            job = await self.note(job.of(rows), payloads=told)
        log, call = job.log, calls[0]
        fitting = sum(each.fitting for each in calls)
        if fitting < len(job.rows):
            back = [row.id for row in job.rows[fitting:]]
            job = await self.note(job.of(job.rows[:fitting]), back)
            if call.fitting < len(call.rows):
                call = await self.prepared(job)
                calls = [call]
        if log.shared:
            noted = replace(log, blocks=blocks_noted(call), call_before=NOTHING_COUNTED)
            return await self.note(job.about(noted)), calls
        if log.call == "create" or not job.able.reads_back or not ambiguous(call):
            return job, calls
        before = await self._caller.counted(job.connector, log, [call])
        job = await self.note(job.about(replace(log, call_before=counts_noted(before))))
        return job, [await self.prepared(job)]

    async def decide(self, job: Job) -> None:
        """Journals that the words of these rows are as they are, since a call may have brought them."""
        if payloads := self._caller.decided(job.log, job.rows):
            await self.note(job, payloads=payloads)

    async def note(
        self, job: Job, back: Sequence[str] = (), payloads: Mapping[str, bytes] | None = None
    ) -> Job:
        """Journals the log of a call that is about to leave, and renews the lease; rows to be put `back` wait.

        `payloads` take the place of those that these rows have.
        """
        await write_over_outage(
            self._store,
            lambda: scripts.note(job.log, job.terms, back, payloads or {}),
            locks=(job.log.key,),
            seconds=job.terms.lease_ms / 1000,
        )
        job.course.noted = job.log
        return job


def _harmless(error: ConnectorError) -> ConnectorError:
    """An error before anything was written, as one that says so."""
    made = error
    if isinstance(error, ConnectorBroke):
        made = NotPrepared(error.detail)
    elif isinstance(error, OutcomeUnknown):
        made = Unavailable(error.detail, status=error.status, body=error.body)
    made.call = error.call
    made.wrote = False
    return made
