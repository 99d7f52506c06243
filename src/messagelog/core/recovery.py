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
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from messagelog.core.settle import Finding, found_in_part
from messagelog.storage.rows import RowState
from messagelog.storage.sealing import SealBroken

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from messagelog.core.calls import Caller, Prepared
    from messagelog.core.job import Job
    from messagelog.core.settle import Settled
    from messagelog.core.steps import Steps
    from messagelog.storage.rows import MessageRow


class Recovery:
    """Asks the CRM about lost calls, as far as its connector can; what is known not to be done is made again."""

    def __init__(self, caller: Caller, steps: Steps) -> None:
        self._caller = caller
        self._steps = steps

    async def found_out(self, job: Job) -> Settled:
        """Finds out what became of a call whose answer nobody has."""
        if job.log.shared and job.log.call_before is None:  # noted before every call: this one never left
            return job.recovered(Finding.NOT_THERE)
        try:
            if job.log.call == "create":
                call = await self._steps.prepared(job, linked=job.able.finds)
                return await self._recovered_create(job, call)
            return await self._recovered_update(job, await self._lost(job))
        except ConnectorError as error:
            if isinstance(error, NotFound) and job.log.call == "update":
                return job.troubled(error)
            return job.undecided(error)
        except (SealBroken, LookupError):
            return job.recovered(Finding.NOBODY_KNOWS)

    async def _recovered_create(self, job: Job, call: Prepared) -> Settled:
        finding = Finding.REPEATABLE if job.able.upserts and not job.outgrown else Finding.NOBODY_KNOWS
        if job.able.finds:
            found = await self._caller.find(job.connector, call)
            if found is not None:
                return job.succeeded(call, found)
            finding = Finding.NOT_THERE
        settled = job.recovered(finding)
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
                await self._steps.note(job)
            job, calls = await self._steps.noted(job, [call])
            return await self._steps.called(job, calls[0])
        except (Unavailable, RateLimited, AuthExpired) as error:
            # The repeat was not done; of a call that was only repeatable, the first may have been.
            if finding is Finding.REPEATABLE:
                return job.undecided(error)
            return job.troubled(error)
        except OutcomeUnknown as error:
            return job.troubled(error)
        except ConnectorError as error:
            # The same goes for a refusal. If the message failed, the next one would be created under its key: a CRM
            # that has the first would answer with that activity, and the next one would be logged and be nowhere.
            if finding is Finding.REPEATABLE:
                return replace(job.recovered(Finding.NOBODY_KNOWS), error=error)
            return job.troubled(error)

    async def _recovered_update(self, job: Job, calls: list[Prepared]) -> Settled:
        if not job.able.reads_back:
            finding = Finding.REPEATABLE if job.able.amends else Finding.NOBODY_KNOWS
            return job.recovered(finding)
        if job.log.shared:
            (call,) = calls
            whole = call.log.holds(await self._caller.read(job.connector, call))
            return job.is_there(call, {}) if whole else job.recovered(Finding.NOT_THERE)
        hashes = {id_: hash_ for call in calls for id_, hash_ in call.hashes.items()}
        journal = calls[0].journal
        if journal.is_ambiguous(hashes.values()):
            # It is counted and noted before such a call leaves, and a run ends before one: this one never left.
            return job.recovered(Finding.NOT_THERE)
        found = await self._caller.counted(job.connector, job.log, calls)
        there = job.of(_standing(job.rows, hashes, journal.beyond(found)))
        if not there.rows:
            return job.recovered(Finding.NOT_THERE)
        if len(there.rows) < len(job.rows):
            calls = await self._lost(there)
        return found_in_part(
            there.is_there(calls[-1], hashes), [row for row in job.rows if row not in there.rows]
        )

    async def _lost(self, job: Job) -> list[Prepared]:
        """The updates whose answers were lost, each as it was made.

        Each message of a run was written with what its own request said of who speaks.
        """
        calls = [await self._steps.prepared(job.first)]
        if not job.in_run:
            return calls
        with suppress(BodyFull):  # what is behind the one that had no room never left
            for row in job.rows[1:]:
                calls.append(await self._steps.behind(calls[-1], job, row))
        return calls


def _standing(
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
