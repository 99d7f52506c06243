"""One step of a claim as the worker has it at hand, and what its calls came to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from messagelog.connectors import Connector
from messagelog.core.backoff import Retry
from messagelog.core.calls import written_size
from messagelog.core.settle import (
    Abilities,
    Finding,
    Settled,
    changed,
    dropped,
    earlier_activities,
    kept,
    recovered,
    salvaged,
    succeeded,
    troubled,
    unconfirmed,
    undecided,
)
from messagelog.storage.rows import LogRow, MessageRow, RowState, Terms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from messagelog.connectors import ConnectorError
    from messagelog.core.calls import Prepared
    from messagelog.core.faults import ServerFault


@dataclass(slots=True)
class Course:
    """How far a step has come: whose credentials (sealed) it has shown to the CRM last, and the log as it was noted."""

    user_id: str = ""
    credentials: bytes | None = None
    noted: LogRow | None = None


class Job(msgspec.Struct, frozen=True):
    """One step of a claim: the connector and its abilities, the log as it is claimed, the rows that it brings.

    `colleague` is another user who has brought something to the log. `asker` is the user in whose session the CRM is
    asked, where that is not the one who made the call. `retry` says how a failure is taken at the moment.
    """

    connector: Connector
    able: Abilities
    log: LogRow
    rows: Sequence[MessageRow]
    terms: Terms
    may_recreate: bool
    luck: float
    course: Course
    retry: Callable[[], Retry]
    colleague: str | None = None
    asker: str | None = None

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
        """The user in whose session the CRM is called."""
        return self.asker or self.log.call_user or self.rows[0].user_id

    @property
    def done_in(self) -> str | None:
        """The activity that has what the call brought, where that is known and only was not settled.

        A thread that goes on in another activity has rows with the id of the one that is full.
        """
        ids = {row.third_party_log_id if row.state is RowState.UNKNOWN else None for row in self.rows}
        (id_,) = ids if len(ids) == 1 else (None,)
        return None if id_ is None or id_ in earlier_activities(self.log) else id_

    @property
    def first(self) -> Job:
        """The first call: of a run that of its oldest row."""
        return self.of(self.rows[:1]) if self.in_run else self

    def of(self, rows: Sequence[MessageRow]) -> Job:
        """The same call, for these rows only."""
        return replace(self, rows=rows)

    def about(self, log: LogRow) -> Job:
        """The same call, with other values of its log."""
        return replace(self, log=log)

    def asked_by(self, user_id: str) -> Job:
        """The same call, asked about in another user's session."""
        return replace(self, asker=user_id, colleague=None)

    def made_by_asker(self) -> Job:
        """The same call, repeated by the user who asks about it."""
        return self if self.asker is None else self.about(replace(self.log, call_user=self.asker))

    def succeeded(self, call: Prepared, third_party_log_id: str) -> Settled:
        """The CRM has what a call brought.

        Where a create with the same key was refused before, the CRM may have done that one, and have answered with
        its activity: an update then adds what is missing there.
        """
        if self.log.call == "change":
            return self._changed(call, third_party_log_id)
        settled = succeeded(
            self.log,
            self.rows,
            third_party_log_id,
            call.hashes,
            self.log.call_version,
            written_size(self.log, call),
            has_more=self.log.call == "create" and call.log.has_more,
        )
        asked_by_repeating = self.able.upserts and not self.able.finds and self.able.amends
        if self.log.call == "create" and asked_by_repeating and self.log.refusals:
            return unconfirmed(settled, self.log)
        return settled

    def _changed(self, call: Prepared, activity: str) -> Settled:
        """The CRM has a change, in the form that it was last given."""
        is_line = call.change is not None and call.change.is_line
        given = None if call.change is None else call.change.given
        hash_ = None if given is None else given.hash
        return changed(
            self.log,
            self.rows[0],
            activity,
            entry_hash=None if is_line else hash_,
            line_hash=hash_ if is_line else None,
            body_size=self.log.body_size if call.journal.size is None else written_size(self.log, call),
        )

    def dropped(self) -> Settled:
        """A change that has no place in the CRM."""
        return dropped(self.log, self.rows)

    def is_there(self, call: Prepared, hashes: Mapping[str, bytes]) -> Settled:
        """The activity was read, and holds what an update brought; `call` is the last one."""
        log_id, version = self.log.third_party_log_id or "", self.rows[0].version if self.log.shared else 0
        return succeeded(self.log, self.rows, log_id, hashes, version, written_size(self.log, call))

    def troubled(self, error: ConnectorError) -> Settled:
        """A call ended with an error."""
        settled = troubled(
            self.log,
            self.rows,
            error,
            self.able,
            may_recreate=self.may_recreate,
            luck=self.luck,
            retry=self.retry(),
        )
        return replace(settled, error=error)

    def kept(self, id_: str, fault: ServerFault) -> Settled:
        """The CRM has it in this activity, and we failed to settle that."""
        return replace(kept(self.log, self.rows, id_, fault, luck=self.luck), error=fault)

    def salvaged(self, settled: Settled, fault: ServerFault) -> Settled:
        """What is left of an outcome that could not be written down."""
        log = self.course.noted or self.log
        return salvaged(log, self.rows, settled, fault, self.able, self.luck)

    def recovered(self, finding: Finding) -> Settled:
        """It was found out about a call that it is not known to have been done."""
        return recovered(self.log, self.rows, finding, self.able, self.retry())

    def undecided(self, error: ConnectorError) -> Settled:
        """The question what became of a call ended with an error."""
        settled = undecided(self.log, self.rows, error, self.able, luck=self.luck, retry=self.retry())
        return replace(settled, error=error)
