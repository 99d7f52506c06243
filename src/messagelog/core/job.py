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
from messagelog.core.settle import Abilities, Finding, Settled, recovered, succeeded, troubled, undecided
from messagelog.storage.rows import LogRow, MessageRow, Terms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from messagelog.connectors import ConnectorError
    from messagelog.core.calls import Prepared


@dataclass(slots=True)
class Shown:
    """The credentials (sealed) that a step has shown to the CRM last."""

    credentials: bytes | None = None


class Job(msgspec.Struct, frozen=True):
    """One step of a claim: the connector and its abilities, the log as it is claimed, the rows that it brings.

    `retry` says how a failure is taken at the moment.
    """

    connector: Connector
    able: Abilities
    log: LogRow
    rows: Sequence[MessageRow]
    terms: Terms
    may_recreate: bool
    luck: float
    shown: Shown
    retry: Callable[[], Retry]

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
    def first(self) -> Job:
        """The first call: of a run that of its oldest row."""
        return self.of(self.rows[:1]) if self.in_run else self

    def of(self, rows: Sequence[MessageRow]) -> Job:
        """The same call, for these rows only."""
        return replace(self, rows=rows)

    def about(self, log: LogRow) -> Job:
        """The same call, with other values of its log."""
        return replace(self, log=log)

    def succeeded(self, call: Prepared, third_party_log_id: str) -> Settled:
        """The CRM has what a call brought."""
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

    def undecided(self, error: ConnectorError) -> Settled:
        """The question what became of a call ended with an error."""
        settled = undecided(self.log, self.rows, error, luck=self.luck, retry=self.retry())
        return replace(settled, error=error)

    def recovered(self, finding: Finding) -> Settled:
        """The call is not known to have been done, by what was found out."""
        return recovered(self.log, self.rows, finding, self.retry())
