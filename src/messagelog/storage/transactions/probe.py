"""A probe: does the database take a commit?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.storage.transactions.commands import Batch, Execute

if TYPE_CHECKING:
    from messagelog.storage.transactions.commands import Transaction


def probe(id_: str, payload: bytes) -> Transaction[None]:
    """Write a row and delete it again: no other transaction sees it, and the commit is a real one."""
    yield Batch(
        Execute("insert_probe", [{"id": id_, "payload": payload}]),
        Execute("delete_probe", [{"id": id_}]),
    )
