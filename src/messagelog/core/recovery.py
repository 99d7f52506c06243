"""Finds out what became of a call whose answer nobody has."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from messagelog.connectors import (
    AuthExpired,
    BodyFull,
    ConnectorError,
    NotFound,
    RateLimited,
    Unavailable,
)
from messagelog.core.calls import read_pins, standing
from messagelog.core.settle import Finding, found_in_part, recovered
from messagelog.storage import scripts
from messagelog.storage.rows import RowState
from messagelog.storage.sealing import SealBroken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from messagelog.core.calls import Caller, Prepared
    from messagelog.core.job import Job
    from messagelog.core.settle import Settled
    from messagelog.core.steps import Steps
    from messagelog.storage import Sealer, Store


class Recovery:
    """Asks the CRM about lost calls, as far as its connector can; what is known not to be done is made again."""

    def __init__(self, store: Store, sealer: Sealer, caller: Caller, steps: Steps) -> None:
        self._store = store
        self._sealer = sealer
        self._caller = caller
        self._steps = steps

    async def found_out(self, job: Job) -> Settled:
        """Finds out what became of a call whose answer nobody has."""
        if job.log.shared and job.log.call_before is None:  # noted before every call: this one never left
            return recovered(job.log, job.rows, Finding.NOT_THERE)
        try:
            call = await self._steps.prepared(job, linked=job.able.finds)
            if job.log.call == "create":
                return await self._recovered_create(job, call)
            return await self._recovered_update(job, call)
        except ConnectorError as error:
            if isinstance(error, NotFound) and job.log.call == "update":
                return job.troubled(error)
            return job.undecided(error)
        except (SealBroken, LookupError):
            return recovered(job.log, job.rows, Finding.NOBODY_KNOWS)

    async def _recovered_create(self, job: Job, call: Prepared) -> Settled:
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

    async def _repeated(self, job: Job, call: Prepared, finding: Finding) -> Settled:
        try:
            if not job.log.shared:  # asking took its time: the lease is renewed before the call leaves again
                await self._store.write(lambda: scripts.note(job.log, job.terms), locks=(job.log.key,))
            job, calls = await self._steps.noted(job, [call])
            return await self._steps.called(job, calls[0])
        except (Unavailable, RateLimited, AuthExpired) as error:
            # The repeat was not done; of a call that was only repeatable, the first may have been.
            if finding is Finding.REPEATABLE:
                return job.undecided(error)
            return job.troubled(error)
        except ConnectorError as error:
            return job.troubled(error)

    async def _recovered_update(self, job: Job, call: Prepared) -> Settled:
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
            calls = await self._lost(there, await self._steps.prepared(there))
        return found_in_part(
            there.is_there(calls[-1], hashes), [row for row in job.rows if row not in there.rows]
        )

    async def _lost(self, job: Job, call: Prepared) -> list[Prepared]:
        """The calls whose answers were lost, each as it was made; `call` holds all of it.

        Each message of a run was written with what its own request said of who speaks.
        """
        if not job.in_run:
            return [call]
        calls = [await self._steps.prepared(job.first)]
        with suppress(BodyFull):  # what is behind the one that had no room never left
            for row in job.rows[1:]:
                calls.append(await self._steps.behind(calls[-1], job, row))
        return calls

    def _found(self, job: Job, calls: list[Prepared], hashes: Mapping[str, bytes], body: str) -> Job:
        """The rows whose entries stand in a body: of two that read alike each has one of its own."""
        left = standing(body, read_pins(job.log.pins), calls, self._sealer.entry_key)
        found = []
        for row in job.rows:
            hash_ = hashes.get(row.id)
            if hash_ is not None and left[hash_] > 0:
                left[hash_] -= 1
                found.append(row)
        return job.of(found)
