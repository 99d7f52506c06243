"""The journal's own id, which its external ids carry: by it two journals that write to one CRM are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.storage.scripts.asking import Fetch

if TYPE_CHECKING:
    from messagelog.storage.scripts.asking import Script


class NoJournalId(Exception):
    """The database has lost its id: the table `journal` is empty."""


def journal_id() -> Script[str]:
    """The journal's id. Raises `NoJournalId`."""
    rows = yield Fetch("journal_id", {})
    if not rows:
        raise NoJournalId("the table journal is empty: restore it from a backup")
    id_: str = rows[0][0]
    return id_
