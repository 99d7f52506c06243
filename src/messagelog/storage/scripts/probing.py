"""Whether a database takes a commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.storage.scripts.asking import Do, Together

if TYPE_CHECKING:
    from messagelog.storage.scripts.asking import Script


def probe(id_: str, payload: bytes) -> Script[None]:
    """Write a row that is nobody's, and take it away again: nobody sees it, and the commit is a real one."""
    yield Together(
        Do("insert_probe", [{"id": id_, "payload": payload}]),
        Do("delete_probe", [{"id": id_}]),
    )
