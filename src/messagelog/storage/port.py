"""The port: what the core asks of a database. The transactions are in `scripts`; an adapter only runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.storage.scripts import Script

T = TypeVar("T")


class Store(Protocol):
    """A database that runs scripts. Two adapters exist; one behavioural test suite holds both to the same."""

    async def read(self, script: Callable[[], Script[T]]) -> T:
        """Runs a script that only reads."""

    async def write(self, script: Callable[[], Script[T]]) -> T:
        """Runs a script in one transaction; what it returns is on disk when this returns."""

    async def close(self) -> None:
        """Lets go of every connection."""
