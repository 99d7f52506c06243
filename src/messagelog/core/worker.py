"""Carries out one step of a claimed conversation log: call the connector, journal what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from messagelog.connectors import ConnectorError, NotFound, OutcomeUnknown, Rejected, Unavailable
from messagelog.core.calls import NOTHING_COUNTED, ambiguous, blocks_noted, counted, read_pins
from messagelog.core.settle import Abilities, Finding, Settled, recovered, succeeded, troubled, undecided
from messagelog.storage import ClaimLost, scripts
from messagelog.storage.rows import RowReport
from messagelog.storage.sealing import SealBroken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from messagelog.connectors import Connector
    from messagelog.core.bulletin import Bulletin
    from messagelog.core.calls import Caller, Prepared
    from messagelog.core.users import UserDirectory
    from messagelog.storage import Claim, NewRow, Sealer, Store
    from messagelog.storage.rows import LogRow, MessageRow, Planner, Terms

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Run:
    """What a step led to: the claim of the next one, or the time (ms) after which to go on, or neither."""

    claim: Claim | None = None
    wait_ms: int | None = None
    recreated: bool = False


class Worker:
    """Does the steps of claims. It keeps nothing between them: the journal is the truth."""

    def __init__(
        self, store: Store, sealer: Sealer, users: UserDirectory, caller: Caller, bulletin: Bulletin
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._users = users
        self._caller = caller
        self._bulletin = bulletin

    async def run(
        self,
        connector: Connector,
        claim: Claim,
        *,
        planner: Planner | None,
        terms: Terms,
        held: Callable[[], Sequence[NewRow]],
        may_recreate: bool,
    ) -> Run:
        """Does one step, or finds out about a call of before. Without a planner the claim is let go afterwards.

        `held` gives all rows that the waiting requests hold of this conversation log: what a deleted activity is
        made anew from.
        """
        able = Abilities.of(connector)
        rows = claim.rows if claim.recover else claim.step.rows if claim.step else ()
        try:
            if claim.recover and not rows:
                settled = Settled(claim.log, ())  # its rows were taken away: nothing is left to find out
            elif claim.recover:
                settled = await self._recovered(connector, claim.log, rows, able, may_recreate=may_recreate)
            else:
                settled = await self._stepped(
                    connector, claim.log, rows, able, terms, may_recreate=may_recreate
                )
        except ClaimLost:
            _log.warning("claim_lost", log=claim.key.conversation_log_id)
            return Run()
        return await self._saved(settled, planner, terms, held)

    # ------------------------------------------------------------------------------------------ steps

    async def _stepped(
        self,
        connector: Connector,
        log: LogRow,
        rows: Sequence[MessageRow],
        able: Abilities,
        terms: Terms,
        *,
        may_recreate: bool,
    ) -> Settled:
        """Makes the journalled call."""
        try:
            call = await self._prepared(connector, log, rows)
            log = await self._noted(connector, log, call, terms)
            if log.call_before is not None and not log.shared:
                call = await self._prepared(connector, log, rows)
        except ConnectorError as error:
            # Nothing has been written yet, whatever reading came to: it is known not to be done.
            return troubled(log, rows, _harmless(error), able, may_recreate=may_recreate)
        except (SealBroken, LookupError) as error:
            return troubled(log, rows, _unreadable(error), able, may_recreate=may_recreate)
        try:
            if log.call == "create":
                third_party_log_id = await self._caller.create(connector, call)
            else:
                await self._caller.update(connector, call)
                third_party_log_id = log.third_party_log_id or ""
        except ConnectorError as error:
            return troubled(log, rows, error, able, may_recreate=may_recreate)
        return succeeded(log, rows, third_party_log_id, call.hashes, log.call_version)

    async def _prepared(
        self, connector: Connector, log: LogRow, rows: Sequence[MessageRow], *, linked: bool = False
    ) -> Prepared:
        user_id = log.call_user or rows[0].user_id
        session = await self._users.session(connector, log.key.tenant, user_id)
        return await self._caller.prepare(connector, session, log, rows, linked=linked)

    async def _noted(self, connector: Connector, log: LogRow, call: Prepared, terms: Terms) -> LogRow:
        """Journals, before the call leaves, what only then can be known and a lost answer would make necessary.

        For a shared thread: the blocks that may stand in the activity from now on. For an update whose text stands
        there already (two equal messages in one minute): how often it does.
        """
        noted = log
        if log.shared:
            noted = replace(log, blocks=blocks_noted(call), call_before=NOTHING_COUNTED)
        elif log.call == "update" and connector.can("read_message_log") and ambiguous(call):
            body = await self._caller.read(connector, call)
            noted = replace(log, call_before=counted(body, read_pins(log.pins), call, self._sealer.entry_key))
        if noted is not log:
            await self._store.write(lambda: scripts.note(noted, terms))
        return noted

    # --------------------------------------------------------------------------------------- recovery

    async def _recovered(
        self,
        connector: Connector,
        log: LogRow,
        rows: Sequence[MessageRow],
        able: Abilities,
        *,
        may_recreate: bool,
    ) -> Settled:
        """Finds out what became of a call whose answer nobody has."""
        if log.shared and log.call_before is None:  # what is noted before every call was not: it never left
            return recovered(log, rows, Finding.NOT_THERE)
        try:
            call = await self._prepared(connector, log, rows, linked=able.finds)
            if log.call == "create":
                return await self._recovered_create(connector, log, rows, able, call)
            return await self._recovered_update(connector, log, rows, able, call)
        except ConnectorError as error:
            if isinstance(error, NotFound) and log.call == "update":
                return troubled(log, rows, error, able, may_recreate=may_recreate)
            return undecided(log, rows, error)
        except (SealBroken, LookupError):
            return recovered(log, rows, Finding.NOBODY_KNOWS)

    async def _recovered_create(
        self, connector: Connector, log: LogRow, rows: Sequence[MessageRow], able: Abilities, call: Prepared
    ) -> Settled:
        if able.finds:
            found = await self._caller.find(connector, call)
            if found is None:
                return recovered(log, rows, Finding.NOT_THERE)
            return succeeded(log, rows, found, call.hashes, log.call_version)
        return recovered(log, rows, Finding.REPEATABLE if able.upserts else Finding.NOBODY_KNOWS)

    async def _recovered_update(
        self, connector: Connector, log: LogRow, rows: Sequence[MessageRow], able: Abilities, call: Prepared
    ) -> Settled:
        if able.reads_back:
            body = await self._caller.read(connector, call)
            if call.log.holds(body):
                version = rows[0].version if log.shared else 0
                return succeeded(log, rows, log.third_party_log_id or "", call.hashes, version)
            return recovered(log, rows, Finding.NOT_THERE)
        return recovered(log, rows, Finding.REPEATABLE if able.amends else Finding.NOBODY_KNOWS)

    # ---------------------------------------------------------------------------------------- journal

    async def _saved(
        self,
        settled: Settled,
        planner: Planner | None,
        terms: Terms,
        held: Callable[[], Sequence[NewRow]],
    ) -> Run:
        anew = tuple(held()) if settled.anew else ()
        # A shutdown lets the claim go, due at once: the next start goes on.
        wait_ms = settled.wait_ms if settled.wait_ms is not None or planner is not None else 0
        try:
            claim = await self._store.write(
                lambda: scripts.save(
                    settled.log,
                    settled.changes,
                    planner or _no_plan,
                    terms,
                    waiting=settled.waiting,
                    anew=anew,
                    wait_ms=wait_ms,
                )
            )
        except ClaimLost:
            _log.warning("claim_lost", log=settled.log.key.conversation_log_id)
            return Run()
        await self._told(settled)
        return Run(claim, wait_ms, recreated=settled.anew)

    async def _told(self, settled: Settled) -> None:
        """Tells the requests of this process what became of their rows."""
        log = settled.log
        if not settled.waiting and not log.shared:
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


def _harmless(error: ConnectorError) -> ConnectorError:
    """An error before anything was written, as one that says so."""
    if isinstance(error, OutcomeUnknown):
        return Unavailable(error.detail, status=error.status)
    return error


def _unreadable(error: Exception) -> ConnectorError:
    return Rejected(f"the stored text cannot be read: {error}")
