"""The journal's own id, which its external ids carry: it tells apart two journals that write to one CRM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from messagelog.errors import MessagelogError
from messagelog.storage.transactions.audit import record_audit
from messagelog.storage.transactions.commands import Batch, Execute, Query

if TYPE_CHECKING:
    from messagelog.storage.records.audit import AuditEntry
    from messagelog.storage.transactions.commands import Transaction

COPIED: Final = "copied: the journal that this one is a copy of goes on with it"


class NoJournalId(MessagelogError):
    """The database has lost its id: the table `journal` is empty."""


def read_journal_id() -> Transaction[str]:
    """Return the journal's id. Raises `NoJournalId`."""
    rows = yield Query("journal_id", {})
    if not rows:
        raise NoJournalId("the table journal is empty: restore it from a backup")
    id_: str = rows[0][0]
    return id_


def part_from_original(id_: str, entry: AuditEntry) -> Transaction[None]:
    """Give a copied journal this id, give up everything that is the original's, and record it.

    What the original has in the CRM counts as logged, and nothing is added to its activities. What it has not logged
    yet has failed here.
    """
    yield Batch(
        Execute("forget_journal_id", [{}]),
        Execute("keep_journal_id", [{"journal": id_}]),
        Execute("let_go_of_rows", [{"reason": COPIED}]),
        Execute("let_go_of_logs", [{"journal": id_, "blocks": b""}]),
    )
    yield from record_audit([entry])
