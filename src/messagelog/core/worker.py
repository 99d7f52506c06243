"""Carries out one step of a claimed conversation log: call the connector, journal what came of it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import structlog
from msgspec.structs import replace

from messagelog.connectors import (
    AuthExpired,
    BodyFull,
    Connector,
    ConnectorError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from messagelog.core.attempts import attempt_of
from messagelog.core.calls import (
    NOTHING_COUNTED,
    ambiguous,
    blocks_noted,
    counted,
    counts_noted,
    read_pins,
    standing,
    written_size,
)
from messagelog.core.settle import (
    Abilities,
    ConnectorBroke,
    Finding,
    NotPrepared,
    Settled,
    followed,
    found_in_part,
    recovered,
    succeeded,
    troubled,
    undecided,
)
from messagelog.core.users import SignInNeeded
from messagelog.storage import ClaimLost, scripts
from messagelog.storage.rows import LogRow, MessageRow, Pause, RowChange, RowReport, RowState, Terms
from messagelog.storage.sealing import SealBroken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from messagelog.core.bulletin import Bulletin
    from messagelog.core.calls import Caller, Prepared
    from messagelog.core.users import UserDirectory
    from messagelog.storage import Claim, NewRow, Sealer, Store
    from messagelog.storage.rows import Planner

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """What a step led to: the claim of the next one, or the time (ms) after which to go on, or neither."""

    claim: Claim | None = None
    wait_ms: int | None = None
    recreated: bool = False


@dataclass(slots=True)
class _Shown:
    """The credentials (sealed) that a step has shown to the CRM last."""

    credentials: bytes | None = None


class _Job(msgspec.Struct, frozen=True):
    """One step of a claim: the connector and its abilities, the log as it is claimed, the rows that it brings."""

    connector: Connector
    able: Abilities
    log: LogRow
    rows: Sequence[MessageRow]
    terms: Terms
    may_recreate: bool
    luck: float
    shown: _Shown

    @property
    def outgrown(self) -> bool:
        """Whether a newer snapshot of a shared thread took the place of the one that was sent, to be added to only."""
        return self.log.shared and not self.able.amends and self.rows[0].version > self.log.call_version

    @property
    def in_run(self) -> bool:
        """Whether each of the rows has a call of its own."""
        return self.able.in_runs and len(self.rows) > 1

    @property
    def caller_id(self) -> str:
        """The user in whose session the call is made."""
        return self.log.call_user or self.rows[0].user_id

    @property
    def first(self) -> _Job:
        """The first call: of a run that of its oldest row."""
        return self.of(self.rows[:1]) if self.in_run else self

    def of(self, rows: Sequence[MessageRow]) -> _Job:
        """The same call, for these rows only."""
        return replace(self, rows=rows)

    def about(self, log: LogRow) -> _Job:
        """The same call, with other values of its log."""
        return replace(self, log=log)

    def succeeded(self, call: Prepared, third_party_log_id: str) -> Settled:
        return succeeded(
            self.log,
            self.rows,
            third_party_log_id,
            call.hashes,
            self.log.call_version,
            written_size(self.log, call),
            has_more=self.log.call == "create" and call.log.has_more,
        )

    def is_there(self, call: Prepared, hashes: Mapping[str, bytes]) -> Settled:
        """The activity was read, and holds what an update brought; `call` is the last one."""
        log_id, version = self.log.third_party_log_id or "", self.rows[0].version if self.log.shared else 0
        return succeeded(self.log, self.rows, log_id, hashes, version, written_size(self.log, call))

    def troubled(self, error: ConnectorError) -> Settled:
        may_recreate = self.may_recreate
        settled = troubled(self.log, self.rows, error, self.able, may_recreate=may_recreate, luck=self.luck)
        return replace(settled, error=error)

    def undecided(self, error: ConnectorError) -> Settled:
        return replace(undecided(self.log, self.rows, error, luck=self.luck), error=error)


class Worker:
    """Does the steps of claims. It keeps nothing between them: the journal is the truth.

    `luck` draws a number from 0 up to 1 for each step: where in its time the next try lies. No further call of a run
    begins after `run_seconds`: what was done is written down, and who waits for it is told. `clock` gives epoch
    seconds.
    """

    def __init__(  # noqa: PLR0917 - the parts that it needs
        self,
        store: Store,
        sealer: Sealer,
        users: UserDirectory,
        caller: Caller,
        bulletin: Bulletin,
        luck: Callable[[], float] = random.random,
        *,
        run_seconds: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._luck = luck
        self._run_seconds = run_seconds
        self._clock = clock
        self._store = store
        self._sealer = sealer
        self._users = users
        self._caller = caller
        self._bulletin = bulletin

    async def run(
        self,
        connector: Connector,
        able: Abilities,
        claim: Claim,
        *,
        planner: Callable[[], Planner | None],
        terms: Terms,
        held: Callable[[], Sequence[NewRow]],
        may_recreate: bool,
    ) -> Done:
        """Does one step, or finds out about a call of before. Without a planner by then the claim is let go.

        `held` gives all rows that the waiting requests hold of this conversation log: what a deleted activity is
        made anew from.
        """
        rows = claim.rows if claim.recover else claim.step.rows if claim.step else ()
        job = _Job(connector, able, claim.log, rows, terms, may_recreate, self._luck(), _Shown())
        try:
            if not claim.recover:
                settled = await self._stepped(job)
            elif rows:
                settled = await self._recovered(job)
            else:  # they were taken away: nothing is left to find out
                settled = Settled(claim.log, ())
        except ClaimLost:
            _log.warning("claim_lost", log=claim.key.conversation_log_id)
            return Done()
        return await self._saved(settled, planner(), job, held)

    # ------------------------------------------------------------------------------------------ steps

    async def _stepped(self, job: _Job) -> Settled:
        """Makes the journalled call, of a run one for each row."""
        began = self._now()
        try:
            job, calls = await self._noted(job, await self._all_prepared(job))
        except ConnectorError as error:
            # Nothing has been written yet, whatever reading came to: it is known not to be done.
            return job.first.troubled(_harmless(error))
        except (SealBroken, LookupError) as error:
            return job.first.troubled(Rejected(f"the stored text cannot be read: {error}"))
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

    async def _goes_on(self, job: _Job, call: Prepared) -> bool:
        """Whether the user's session is the one that a call was prepared with: she may have signed out meanwhile."""
        try:
            return call.session is await self._users.session(job.connector, job.log.key.tenant, job.caller_id)
        except ConnectorError:
            return False

    async def _tried(self, job: _Job, call: Prepared) -> Settled:
        try:
            return await self._called(job, call)
        except ConnectorError as error:
            return job.troubled(error)

    async def _called(self, job: _Job, call: Prepared) -> Settled:
        """Makes the call, which from here on may have been done whatever comes back."""
        if job.log.call == "create":
            return job.succeeded(call, await self._caller.create(job.connector, call))
        await self._caller.update(job.connector, call)
        return job.succeeded(call, job.log.third_party_log_id or "")

    async def _all_prepared(self, job: _Job) -> list[Prepared]:
        """The calls of a step: one, or of a run one for each row.

        A run ends before an entry that reads like another one: that one's outcome could not be told from the other's.
        So it does before one that cannot be prepared, which is told of when its turn comes. There is none where the
        activity has a text of the connector's own, in which nothing could be told from anything.
        """
        call = await self._prepared(job.first)
        calls = [call]
        if not job.in_run or not call.hashes or ambiguous(call):
            return calls
        with suppress(ConnectorError, SealBroken, LookupError):
            for row in job.rows[1:]:
                call = await self._behind(call, job, row)
                if ambiguous(call):
                    break
                calls.append(call)
        return calls

    async def _prepared(self, job: _Job, *, linked: bool = False) -> Prepared:
        user_id = job.caller_id
        try:
            session = await self._users.session(job.connector, job.log.key.tenant, user_id)
        except SignInNeeded as error:
            job.shown.credentials = error.refused
            raise
        job.shown.credentials = session.sealed
        return await self._caller.prepare(job.connector, session, job.log, job.rows, linked=linked)

    async def _behind(self, call: Prepared, job: _Job, row: MessageRow) -> Prepared:
        """The call of a run that is made next."""
        return await self._caller.prepare(job.connector, call.session, job.log, [row], behind=call)

    async def _noted(self, job: _Job, calls: list[Prepared]) -> tuple[_Job, list[Prepared]]:
        """Journals, before a call leaves, what only then can be known and a lost answer would make necessary.

        Which of the rows it does not bring after all: they wait. For a shared thread: the blocks that may stand in the
        activity from now on. For an update whose text stands there already (two equal messages in one minute): how
        often it does.
        """
        log, call = job.log, calls[0]
        fitting = sum(each.fitting for each in calls)
        if fitting < len(job.rows):
            job, back = job.of(job.rows[:fitting]), [row.id for row in job.rows[fitting:]]
            await self._store.write(lambda: scripts.note(log, job.terms, back), locks=(log.key,))
            if call.fitting < len(call.rows):
                call = await self._prepared(job)
                calls = [call]
        if log.shared:
            noted = replace(log, blocks=blocks_noted(call), call_before=NOTHING_COUNTED)
            await self._store.write(lambda: scripts.note(noted, job.terms), locks=(job.log.key,))
            return job.about(noted), calls
        if log.call != "update" or not job.able.reads_back or not ambiguous(call):
            return job, calls
        body = await self._caller.read(job.connector, call)
        before = counted(body, read_pins(log.pins), call, self._sealer.entry_key)
        counting = replace(log, call_before=counts_noted(before))
        await self._store.write(lambda: scripts.note(counting, job.terms), locks=(job.log.key,))
        job = job.about(counting)
        return job, [await self._prepared(job)]

    # --------------------------------------------------------------------------------------- recovery

    async def _recovered(self, job: _Job) -> Settled:
        """Finds out what became of a call whose answer nobody has."""
        if job.log.shared and job.log.call_before is None:  # noted before every call: this one never left
            return recovered(job.log, job.rows, Finding.NOT_THERE)
        try:
            call = await self._prepared(job, linked=job.able.finds)
            if job.log.call == "create":
                return await self._recovered_create(job, call)
            return await self._recovered_update(job, call)
        except ConnectorError as error:
            if isinstance(error, NotFound) and job.log.call == "update":
                return job.troubled(error)
            return job.undecided(error)
        except (SealBroken, LookupError):
            return recovered(job.log, job.rows, Finding.NOBODY_KNOWS)

    async def _recovered_create(self, job: _Job, call: Prepared) -> Settled:
        finding = Finding.REPEATABLE if job.able.upserts and not job.outgrown else Finding.NOBODY_KNOWS
        if job.able.finds:
            found = await self._caller.find(job.connector, call)
            if found is not None:
                return job.succeeded(call, found)
            finding = Finding.NOT_THERE
        settled = recovered(job.log, job.rows, finding)
        if any(change.state is not RowState.PLANNED for change in settled.changes):
            return settled
        # Repeated here and now, with the very rows of the lost call: a CRM that knows its key answers with the
        # activity as it was made then, and a message that joined in between would count as logged and be nowhere.
        return await self._repeated(
            job.about(replace(job.log, tries=settled.log.tries, asks=0)), call, finding
        )

    async def _repeated(self, job: _Job, call: Prepared, finding: Finding) -> Settled:
        try:
            if not job.log.shared:  # asking took its time: the lease is renewed before the call leaves again
                await self._store.write(lambda: scripts.note(job.log, job.terms), locks=(job.log.key,))
            job, calls = await self._noted(job, [call])
            return await self._called(job, calls[0])
        except (Unavailable, RateLimited, AuthExpired) as error:
            # The repeat was not done; of a call that was only repeatable, the first may have been.
            if finding is Finding.REPEATABLE:
                return job.undecided(error)
            return job.troubled(error)
        except ConnectorError as error:
            return job.troubled(error)

    async def _recovered_update(self, job: _Job, call: Prepared) -> Settled:
        if not job.able.reads_back:
            finding = Finding.REPEATABLE if job.able.amends else Finding.NOBODY_KNOWS
            return recovered(job.log, job.rows, finding)
        calls = await self._lost(job, call)
        hashes = {id_: hash_ for each in calls for id_, hash_ in each.hashes.items()}
        if call.journal.before is None and not call.journal.known_hashes.isdisjoint(hashes.values()):
            # It is counted and noted before such a call leaves, and a run ends before one: this one never left.
            return recovered(job.log, job.rows, Finding.NOT_THERE)
        body = await self._caller.read(job.connector, call)
        if job.log.shared:
            whole = call.log.holds(body)
            return job.is_there(call, {}) if whole else recovered(job.log, job.rows, Finding.NOT_THERE)
        there = self._found(job, calls, hashes, body)
        if not there.rows:
            return recovered(job.log, job.rows, Finding.NOT_THERE)
        if len(there.rows) < len(job.rows):
            calls = await self._lost(there, await self._prepared(there))
        return found_in_part(
            there.is_there(calls[-1], hashes), [row for row in job.rows if row not in there.rows]
        )

    async def _lost(self, job: _Job, call: Prepared) -> list[Prepared]:
        """The calls whose answers were lost, each as it was made; `call` holds all of it.

        Each message of a run was written with what its own request said of who speaks.
        """
        if not job.in_run:
            return [call]
        calls = [await self._prepared(job.first)]
        with suppress(BodyFull):  # what is behind the one that had no room never left
            for row in job.rows[1:]:
                calls.append(await self._behind(calls[-1], job, row))
        return calls

    def _found(self, job: _Job, calls: list[Prepared], hashes: Mapping[str, bytes], body: str) -> _Job:
        """The rows whose entries stand in a body: of two that read alike each has one of its own."""
        left = standing(body, read_pins(job.log.pins), calls, self._sealer.entry_key)
        found = []
        for row in job.rows:
            hash_ = hashes.get(row.id)
            if hash_ is not None and left[hash_] > 0:
                left[hash_] -= 1
                found.append(row)
        return job.of(found)

    # ---------------------------------------------------------------------------------------- journal

    async def _saved(
        self,
        settled: Settled,
        planner: Planner | None,
        job: _Job,
        held: Callable[[], Sequence[NewRow]],
    ) -> Done:
        key, pause = settled.log.key, None
        if settled.signed_out:
            user_id = job.caller_id
            pause = Pause(user_id, job.shown.credentials)
            self._users.forget(key.tenant, key.platform, user_id)
        anew = tuple(held()) if settled.anew else None
        # A shutdown lets the claim go, due at once: the next start goes on.
        wait_ms = settled.wait_ms if settled.wait_ms is not None or planner is not None else 0
        attempt = attempt_of(self._sealer, settled.log, settled.error, settled.changes)
        changes = (*settled.changes, *_not_sent(job.rows, settled.changes))
        try:
            claim = await self._store.write(
                lambda: scripts.save(
                    settled.log,
                    changes,
                    planner or _no_plan,
                    job.terms,
                    waiting=settled.waiting,
                    anew=anew,
                    wait_ms=wait_ms,
                    pause=pause,
                    attempt=attempt,
                ),
                locks=(key,) if pause is None else (),
            )
        except ClaimLost:
            _log.warning("claim_lost", log=settled.log.key.conversation_log_id)
            return Done()
        self._caller.metrics.settled(settled.log.key.platform, settled.changes)
        await self._told(settled)
        return Done(claim, wait_ms, recreated=settled.anew)

    async def _told(self, settled: Settled) -> None:
        """Tells the requests of this process what became of their rows."""
        log = settled.log
        if not settled.waiting and settled.wait_ms is None and not log.shared:
            reports = [
                RowReport(change.id, change.state, change.reason, log.version) for change in settled.changes
            ]
            self._bulletin.post(log.key, reports)
            return
        ids = sorted(self._bulletin.awaited(log.key))
        if ids:
            reports = await self._store.read(
                lambda: scripts.report_rows(log.key.tenant, log.key.platform, ids)
            )
            self._bulletin.post(log.key, reports)


def _no_plan(_log: LogRow, _waiting: Sequence[MessageRow]) -> None:
    """Plans nothing, for a claim that is let go."""


def _not_sent(rows: Sequence[MessageRow], changes: Sequence[RowChange]) -> list[RowChange]:
    """The rows of a run that has ended before their calls: they wait for the next step."""
    done = {change.id for change in changes}
    return [RowChange(row.id, RowState.PLANNED) for row in rows if row.id not in done]


def _harmless(error: ConnectorError) -> ConnectorError:
    """An error before anything was written, as one that says so."""
    made: ConnectorError
    if isinstance(error, ConnectorBroke):
        made = NotPrepared(error.detail)
    elif isinstance(error, OutcomeUnknown):
        made = Unavailable(error.detail, status=error.status, body=error.body)
    else:
        return error
    made.call = error.call
    return made
