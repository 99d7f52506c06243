"""Carries out one step of a claimed conversation log, and journals what came of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from msgspec.structs import replace

from messagelog.core.attempts import attempt_of
from messagelog.core.backoff import Retry
from messagelog.core.faults import fault_of, told_of
from messagelog.core.job import Course, Job
from messagelog.core.outages import write_over_outage
from messagelog.core.recovery import Recovery
from messagelog.core.settle import Settled, Trouble, trouble_of
from messagelog.storage import ClaimLost, StoreUnavailable, is_passing, scripts
from messagelog.storage.rows import Pause, RowChange, RowReport, RowState, is_change, message_id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from messagelog.connectors import Connector
    from messagelog.core.bulletin import Bulletin
    from messagelog.core.calls import Caller
    from messagelog.core.settle import Abilities
    from messagelog.core.steps import Steps
    from messagelog.core.users import UserDirectory
    from messagelog.storage import Claim, NewRow, Sealer, Store
    from messagelog.storage.rows import Attempt, LogKey, LogRow, MessageRow, Planner, Terms

_SHORTEST_PROBE_MS: Final = 1000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
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
        caller: Caller,
        bulletin: Bulletin,
        luck: Callable[[], float],
        steps: Steps,
    ) -> None:
        self._luck = luck
        self._store = store
        self._sealer = sealer
        self._users = users
        self._caller = caller
        self._bulletin = bulletin
        self._steps = steps
        self._recovery = Recovery(caller, steps)
        self._saving: set[LogKey] = set()

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
        luck, retry, colleague = self._luck(), partial(self._retry, claim), claim.colleague
        job = Job(connector, able, claim.log, rows, terms, may_recreate, luck, Course(), retry, colleague)
        try:
            if not claim.recover:
                settled = await self._steps.made(job)
            elif rows:
                settled = await self._recovery.found_out(job)
            else:  # they were taken away: nothing is left to find out
                settled = Settled(claim.log, ())
        except ClaimLost:
            _log.warning("claim_lost", log=claim.key.conversation_log_id)
            return Done()
        return await self._saved(settled, planner(), job, held)

    def _retry(self, claim: Claim) -> Retry:
        """How a failure of this claim is taken now."""
        seconds = self._users.pacer.next_probe(claim.key.tenant, claim.key.platform)
        return Retry(claim.early, None if seconds is None else max(_SHORTEST_PROBE_MS, int(seconds * 1000)))

    async def _saved(
        self,
        settled: Settled,
        planner: Planner | None,
        job: Job,
        held: Callable[[], Sequence[NewRow]],
    ) -> Done:
        key = settled.log.key
        # A shutdown lets the claim go, due at once: the next start goes on.
        wait_ms = settled.wait_ms if settled.wait_ms is not None or planner is not None else 0
        settled = replace(settled, wait_ms=wait_ms)
        anew = self._anew(held, job) if settled.anew else None
        try:
            try:
                claim = await self._save(settled, planner, job, anew)
            except ClaimLost:
                raise
            except Exception as error:
                if is_passing(error):
                    raise
                _log.error("outcome_not_saved", log=key.conversation_log_id, error=told_of(error))
                settled = job.salvaged(settled, fault_of(error))
                claim = await self._save(settled, None, job, None)
        except ClaimLost:
            _log.warning("claim_lost", log=key.conversation_log_id)
            return Done()
        await self._told(settled, job)
        return Done(claim, settled.wait_ms, recreated=settled.anew)

    async def _save(
        self, settled: Settled, planner: Planner | None, job: Job, anew: Sequence[NewRow] | None
    ) -> Claim | None:
        """Writes what a step came to; the claim of the next one."""
        key, pause = settled.log.key, None
        if settled.signed_out:
            pause = Pause(job.course.user_id, job.course.credentials)
            self._users.forget(key.tenant, key.platform, pause.user_id)
        changes = (*settled.changes, *_not_sent(job.rows, settled.changes))
        attempt = self._attempt(settled)
        self._saving.add(key)
        try:
            # What the call came to is known here alone: it is written as long as the claim may hold.
            return await write_over_outage(
                self._store,
                lambda: scripts.save(
                    settled.log,
                    changes,
                    planner or _no_plan,
                    job.terms,
                    waiting=settled.waiting,
                    anew=anew,
                    wait_ms=settled.wait_ms,
                    pause=pause,
                    attempt=attempt,
                    entry=settled.entry,
                ),
                locks=(key,) if pause is None else (),
                seconds=job.terms.lease_ms / 1000,
            )
        finally:
            self._saving.discard(key)

    def is_saving(self, key: LogKey) -> bool:
        """Whether the calls of this log are over and what they came to is being written."""
        return key in self._saving

    def _anew(self, held: Callable[[], Sequence[NewRow]], job: Job) -> tuple[NewRow, ...]:
        """What a deleted activity is made anew from: nothing, where the requests at hand cannot be read."""
        try:
            return tuple(held())
        except Exception as error:  # noqa: BLE001 - what was logged there is told of as deleted
            _log.error("outcome_curtailed", log=job.log.key.conversation_log_id, error=told_of(error))
            return ()

    def _attempt(self, settled: Settled) -> Attempt | None:
        """What is kept of a call that came to nothing, if it can be kept: the outcome matters more."""
        try:
            return attempt_of(self._sealer, settled.log, settled.error, settled.changes)
        except Exception as error:  # noqa: BLE001 - whatever it is, the call came to the same
            _log.error("outcome_curtailed", log=settled.log.key.conversation_log_id, error=told_of(error))
            return None

    async def _told(self, settled: Settled, job: Job) -> None:
        """Counts what became of rows, and tells the requests of this process. The next step is not lost for it."""
        try:
            self._caller.metrics.settled(settled.log.key.platform, settled.changes)
            _log_trouble(settled, job.rows)
            await self._tell(settled)
        except Exception as error:  # noqa: BLE001 - they ask by themselves
            _log.error("outcome_untold", log=settled.log.key.conversation_log_id, error=told_of(error))

    async def _tell(self, settled: Settled) -> None:
        log = settled.log
        if not settled.waiting and settled.wait_ms is None and not log.shared:
            reports = [
                RowReport(change.id, change.state, change.reason, log.version) for change in settled.changes
            ]
            self._bulletin.post(log.key, reports)
            return
        ids = sorted(self._bulletin.awaited(log.key))
        if not ids:
            return
        with suppress(StoreUnavailable):  # they ask for themselves as well
            reports = await self._store.read(lambda: scripts.report_rows(log.key, ids))
            self._bulletin.post(log.key, reports)


def _log_trouble(settled: Settled, before: Sequence[MessageRow]) -> None:
    """Write a line for each message that fails, parks or waits for a sign-in. A reason's detail is not in it.

    The detail may be a connector's own words, and those may quote a message. `before` are the rows as they were: one
    that waited for a sign-in, and does so still, has its line.
    """
    log, error = settled.log, settled.error
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
        if row.state is RowState.UNKNOWN and trouble_of(row.reason) is Trouble.SIGN_IN
    }
    for change in settled.changes:
        reason = trouble_of(change.reason)
        # What may have been written waits for a sign-in too: the user's session is asked about it first.
        waits = change.state is RowState.UNKNOWN and reason is Trouble.SIGN_IN
        if waits and change.id in have_waited:
            continue
        if waits or change.state in _IN_TROUBLE:
            state = RowState.WAITING if waits else change.state
            told = {**where, "message": message_id_of(change.id), "state": state, "reason": reason}
            if is_change(change.id):
                _log.warning("change_not_logged", **told)
            else:
                _log.warning("message_not_logged", **told)
    behind = settled.waiting
    if behind is not None:
        _log.warning("messages_behind", **where, state=behind.state, reason=trouble_of(behind.reason))


_IN_TROUBLE: Final = frozenset({RowState.FAILED, RowState.PARKED, RowState.WAITING})


def _no_plan(_log: LogRow, _waiting: Sequence[MessageRow]) -> None:
    """Plans nothing, for a claim that is let go."""


def _not_sent(rows: Sequence[MessageRow], changes: Sequence[RowChange]) -> list[RowChange]:
    """The rows of a run that has ended before their calls: they wait for the next step."""
    done = {change.id for change in changes}
    return [RowChange(row.id, RowState.PLANNED) for row in rows if row.id not in done]
