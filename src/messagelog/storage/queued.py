"""Work that waits to be done together with other work, and the future that its result goes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from messagelog.storage.store import Lock


@dataclass(frozen=True, slots=True, eq=False)
class QueuedWork:
    """A function to be called, the future of its result, and what it locks."""

    work: Callable[..., Any]
    done: asyncio.Future[Any]
    locks: Sequence[Lock] = ()

    @property
    def given_up(self) -> bool:
        """Whether it has failed before it began: it has waited too long."""
        return self.done.done() and not self.done.cancelled()

    def resolve(self, value: Any) -> None:
        """Set the result, unless the wait for it has ended."""
        if not self.done.done():
            self.done.set_result(value)

    def reject(self, error: BaseException) -> None:
        """Set an error, unless the wait for the result has ended."""
        if self.done.done():
            return
        if isinstance(error, StopIteration):  # a future takes any error but this
            error = RuntimeError("a transaction ended before it began")
        self.done.set_exception(error)
