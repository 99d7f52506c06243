"""Finds out what became of a call whose answer nobody has."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from messagelog.compose import LogFormat, read_pins
from messagelog.connectors import (
    AuthExpired,
    BodyFull,
    ConnectorError,
    NotFound,
    RateLimited,
    Rejected,
    Unavailable,
)
from messagelog.core import backoff
from messagelog.core.errors import NothingToChange
from messagelog.core.faults import fault_of
from messagelog.core.payload import TextErased
from messagelog.core.settle import Finding, Trouble, found_in_part, given_up, trouble_of
from messagelog.core.users import SignInNeeded
from messagelog.storage import ClaimLost
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

_REFUSALS: Final = frozenset({Trouble.SIGN_IN, Trouble.REJECTED})


class Recovery:
    """Asks the CRM about lost calls, as far as its connector can; what is known not to be done is made again."""

    def __init__(self, caller: Caller, steps: Steps) -> None:
        self._caller = caller
        self._steps = steps

    async def found_out(self, job: Job) -> Settled:
        """Finds out what became of a call whose answer nobody has. Raises `ClaimLost`, and nothing else.

        Work that was interrupted more often than the table has waits is not begun again: it may be what ends it. A
        call that was refused for its user's credentials may be asked about by a colleague who has brought something
        to the same log, so that the colleague's messages do not wait for a sign-in that may never come.
        """
        if job.log.tries > len(backoff.STEPS):
            return given_up(job.log, job.rows)
        settled = await self._asked(job)
        needs_sign_in = isinstance(settled.error, SignInNeeded)
        if needs_sign_in and job.colleague is not None and trouble_of(job.log.reason) is Trouble.SIGN_IN:
            return await self._asked(job.asked_by(job.colleague))
        return settled

    async def _asked(self, job: Job) -> Settled:
        try:
            return await self._found_out(job)
        except ClaimLost:
            raise
        except ConnectorError as error:
            # To a colleague the activity may be hidden, and not gone.
            if isinstance(error, NotFound) and job.log.call != "create" and job.asker is None:
                return job.troubled(error)
            return job.undecided(error)
        except (SealBroken, TextErased):
            return job.recovered(Finding.NOBODY_KNOWS)
        except NothingToChange:
            return job.dropped()
        except Exception as error:  # noqa: BLE001 - whatever it is, its row says where
            return job.undecided(fault_of(error))

    async def _found_out(self, job: Job) -> Settled:
        if (done_in := job.done_in) is not None:
            return self._steps.settled(job, await self._steps.prepared(job), done_in)
        if self._never_left(job):
            return job.recovered(Finding.NOT_THERE)
        if job.log.call == "create":
            call = await self._steps.prepared(job, linked=job.able.finds)
            return await self._recovered_create(job, call)
        return await self._recovered_update(job, await self._lost(job))

    def _never_left(self, job: Job) -> bool:
        """Whether something is not journalled that always is before such a call leaves."""
        if job.log.shared:
            return job.log.call_before is None
        return not self._caller.may_have_left(job.log, job.rows[0])

    async def _recovered_create(self, job: Job, call: Prepared) -> Settled:
        finding = Finding.REPEATABLE if job.able.upserts and not job.outgrown else Finding.NOBODY_KNOWS
        if job.able.finds:
            found = await self._caller.find(job.connector, call)
            if found is not None:
                return self._steps.settled(job, call, found)
            finding = Finding.NOT_THERE
        elif finding is Finding.NOBODY_KNOWS and trouble_of(job.log.reason) in _REFUSALS:
            # Where nothing can be asked, a refusal says that nothing was done.
            finding = Finding.NOT_THERE
        # Repeated here and now, with the very rows of the lost call: a CRM that knows its key answers with the
        # activity as it was made then, and a message that joined in between would count as logged and be nowhere.
        return await self._repeated_if_planned(job, job.recovered(finding), call, finding)

    async def _repeated_if_planned(
        self, job: Job, settled: Settled, call: Prepared, finding: Finding
    ) -> Settled:
        """Repeats a call that is to be planned again, as whoever was asked about it; else what it has become."""
        if any(change.state is not RowState.PLANNED for change in settled.changes):
            return settled
        job = job.made_by_asker()
        log = replace(job.log, tries=settled.log.tries, refusals=settled.log.refusals, asks=0)
        return await self._repeated(job.about(log), call, finding, refusals=job.log.refusals)

    async def _repeated(self, job: Job, call: Prepared, finding: Finding, *, refusals: int) -> Settled:
        """Makes a call once more. `refusals` are those before the question: they stay while it is open."""
        try:
            if not job.log.shared:  # asking took its time: the lease is renewed before the call leaves again
                await self._steps.note(job)
            job, calls = await self._steps.noted(job, [call])
            return await self._steps.called(job, calls[0])
        except (Unavailable, RateLimited, AuthExpired) as error:
            # The repeat was not done; of a call that was only repeatable, the first may have been.
            if finding is Finding.REPEATABLE:
                return job.about(replace(job.log, refusals=refusals)).undecided(error)
            return job.troubled(error)
        except ConnectorError as error:
            refused = trouble_of(job.log.reason) is Trouble.REJECTED
            if refused and finding is Finding.REPEATABLE and isinstance(error, Rejected):
                error.wrote = False  # the repeat was the question, and this is its answer
                return job.troubled(error)
            settled = job.troubled(error)
            if finding is Finding.REPEATABLE and any(
                change.state is RowState.FAILED for change in settled.changes
            ):
                # A refusal does not say whether the first was done. If the message failed, the next one would be
                # created under its key: a CRM that has the first would answer with that activity, and the next one
                # would be logged and be nowhere.
                return replace(job.recovered(Finding.NOBODY_KNOWS), error=error)
            return settled

    async def _recovered_update(  # noqa: PLR0911 - a case for each way of finding out
        self, job: Job, calls: list[Prepared]
    ) -> Settled:
        if read_pins(job.log.pins).format is LogFormat.CUSTOM:  # nobody knows such a text but the connector
            return job.recovered(Finding.NOBODY_KNOWS)
        if not job.able.reads_back:
            finding = Finding.REPEATABLE if job.able.amends else Finding.NOBODY_KNOWS
            await self._steps.decide(job)
            return job.recovered(finding)
        if job.log.shared:
            return await self._recovered_thread(job, calls[0])
        hashes = {id_: hash_ for call in calls for id_, hash_ in call.hashes.items()}
        journal = calls[0].journal
        if journal.is_ambiguous(hashes.values()):
            # It is counted and noted before such a call leaves, and a run ends before one: this one never left.
            return job.recovered(Finding.NOT_THERE)
        found = await self._caller.counted(job.connector, job.log, calls)
        if job.log.call == "change":
            is_there = calls[0].change is not None and calls[0].change.find_given(journal.beyond(found))
            return (
                job.succeeded(calls[0], calls[0].activity) if is_there else job.recovered(Finding.NOT_THERE)
            )
        there = job.of(_standing(job.rows, hashes, journal.beyond(found)))
        if not there.rows:
            return job.recovered(Finding.NOT_THERE)
        if len(there.rows) < len(job.rows):
            calls = await self._lost(there)
        return found_in_part(
            there.is_there(calls[-1], hashes), [row for row in job.rows if row not in there.rows]
        )

    async def _recovered_thread(self, job: Job, call: Prepared) -> Settled:
        if call.log.holds(await self._caller.read(job.connector, call)):
            return job.is_there(call, {})
        settled = job.recovered(Finding.NOT_THERE)
        if job.asker is None:
            return settled
        # The colleague's snapshot has taken the place of the one that was sent: it need not wait for its user.
        return await self._repeated_if_planned(job, settled, call, Finding.NOT_THERE)

    async def _lost(self, job: Job) -> list[Prepared]:
        """The updates whose answers were lost, each as it was made.

        Each message of a run was written with what its own request said of who speaks.
        """
        calls = [await self._steps.prepared(job.first)]
        if not job.in_run:
            return calls
        with suppress(BodyFull):  # what is behind the one that had no room never left
            for row in job.rows[1:]:
                if not self._caller.may_have_left(job.log, row):  # the run ends before it
                    break
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
