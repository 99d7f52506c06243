"""Carries out one step of a claimed conversation log, and journals what came of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from messagelog.core.attempts import attempt_of
from messagelog.core.backoff import Retry
from messagelog.core.job import Job, Shown
from messagelog.core.outages import write_over_outage
from messagelog.core.recovery import Recovery
from messagelog.core.settle import Settled, trouble_of
from messagelog.storage import ClaimLost, StoreUnavailable, scripts
from messagelog.storage.rows import Pause, RowChange, RowReport, RowState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from messagelog.connectors import Connector
    from messagelog.core.bulletin import Bulletin
    from messagelog.core.calls import Caller
    from messagelog.core.settle import Abilities
    from messagelog.core.steps import Steps
    from messagelog.core.users import UserDirectory
    from messagelog.storage import Claim, NewRow, Sealer, Store
    from messagelog.storage.rows import LogRow, MessageRow, Planner, Terms

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
        retry = partial(self._retry, claim)
        job = Job(connector, able, claim.log, rows, terms, may_recreate, self._luck(), Shown(), retry)
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
            # What the call came to is known here alone: it is written as long as the claim may hold.
            claim = await write_over_outage(
                self._store,
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
                seconds=job.terms.lease_ms / 1000,
            )
        except ClaimLost:
            _log.warning("claim_lost", log=settled.log.key.conversation_log_id)
            return Done()
        self._caller.metrics.settled(settled.log.key.platform, settled.changes)
        _log_trouble(settled)
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
        if not ids:
            return
        with suppress(StoreUnavailable):  # they ask for themselves as well
            reports = await self._store.read(lambda: scripts.report_rows(log.key, ids))
            self._bulletin.post(log.key, reports)


def _log_trouble(settled: Settled) -> None:
    """Write a line for each message that fails, parks or waits for a sign-in. A reason's detail is not in it.

    The detail may be a connector's own words, and those may quote a message.
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
    for change in settled.changes:
        if change.state in _IN_TROUBLE:
            reason = trouble_of(change.reason)
            _log.warning("message_not_logged", **where, message=change.id, state=change.state, reason=reason)
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
