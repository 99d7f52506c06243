"""An event loop whose time passes only when nothing is left to do: a day of waiting takes a moment.

A store writes in a thread of its own. While it does, time stands still.
"""

from __future__ import annotations

import asyncio
import selectors
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from messagelog.storage import Store
    from messagelog.storage.store import Lock
    from messagelog.storage.transactions import Transaction

T = TypeVar("T")

START_MS = 1_800_000_000_000


class _Selector(selectors.DefaultSelector):
    """A selector that never waits, unless something outside of the loop is at work."""

    busy = 0
    passed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if self.busy or timeout is None:
            return super().select(timeout)
        ready = super().select(0)
        if not ready and timeout > 0:
            self.passed += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop with a time of its own."""

    def __init__(self) -> None:
        self.waiting = _Selector()
        super().__init__(self.waiting)

    def time(self) -> float:
        return 1_000.0 + self.waiting.passed

    def clock(self) -> int:
        """The same time as a database's clock, in epoch milliseconds."""
        return START_MS + round(self.waiting.passed * 1000)

    @contextmanager
    def frozen_time(self) -> Iterator[None]:
        """Something outside is at work: time waits for it."""
        self.waiting.busy += 1
        try:
            yield
        finally:
            self.waiting.busy -= 1


class VirtualClock:
    """The loop's time as a database's clock that a test may put forward: then it has passed for the loop as well."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def __call__(self) -> int:
        return self._loop.clock()

    @property
    def now(self) -> int:
        """Epoch milliseconds."""
        return self._loop.clock()

    @now.setter
    def now(self, ms: int) -> None:
        self._loop.waiting.passed += (ms - self._loop.clock()) / 1000


class FrozenTimeStore:
    """A store, during whose work time stands still."""

    def __init__(self, store: Store, loop: VirtualTimeLoop) -> None:
        self._store = store
        self._loop = loop

    async def read(self, transaction: Callable[[], Transaction[T]]) -> T:
        with self._loop.frozen_time():
            return await self._store.read(transaction)

    async def write(self, transaction: Callable[[], Transaction[T]], *, locks: Sequence[Lock] = ()) -> T:
        with self._loop.frozen_time():
            return await self._store.write(transaction, locks=locks)

    async def close(self) -> None:
        with self._loop.frozen_time():
            await self._store.close()


def run_in_virtual_time(main: Callable[[VirtualTimeLoop], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine in virtual time."""
    loop = VirtualTimeLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
