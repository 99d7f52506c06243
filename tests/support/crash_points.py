"""A process that dies at a chosen point: whatever it was about to write, call or answer does not happen any more.
Or one that lives on, and meets an error of its own there.

Points are named after what comes next: `accept:insert_row` is before that statement, `accept:commit` before the
commit and `accept:done` just after it, `crm:create:before` before the CRM does its work and `crm:create:after` when
it has done it but not answered; `ours:…` are those of `slipping`. A point is reached each time that it is passed, and
every passing has its number.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from messagelog.connectors import ConnectorError
    from messagelog.storage import Store
    from messagelog.storage.store import Lock
    from messagelog.storage.transactions import Transaction
    from support.memory_crm import Call, Crm

T = TypeVar("T")


class Crashed(BaseException):
    """The process is dead. Not an `Exception`: nothing in the program may catch it and go on."""


@dataclass(frozen=True)
class Mishap:
    """What happens at a point (from 1): the process dies, or an `error` is raised there."""

    at: int
    error: type[Exception] | None = None


class Fuse:
    """Counts the points that are passed. At that of its mishap the process dies, or meets an error."""

    def __init__(self, mishap: Mishap | int | None = None) -> None:
        self._mishap = Mishap(mishap) if isinstance(mishap, int) else mishap
        self._loop = asyncio.get_running_loop()
        self.passed: list[str] = []
        self.met_at: str | None = None
        self.dead = False
        self.died = asyncio.Event()

    def point(self, name: str) -> None:
        """Passes a point, dies there, or raises an error. The dead pass nothing."""
        if self.dead:
            raise Crashed
        self.passed.append(name)
        mishap = self._mishap
        if mishap is None or len(self.passed) != mishap.at:
            return
        self.met_at = name
        if mishap.error is not None:
            raise mishap.error(name)
        self.dead = True
        self._loop.call_soon_threadsafe(self.died.set)
        raise Crashed(name)


@dataclass(frozen=True)
class Fault:
    """What a write ends with: when nothing was done yet, or with the work done."""

    error: ConnectorError
    done: bool = False


class CrashingStore:
    """A store whose process may die before each statement, before a commit and after it."""

    def __init__(self, store: Store, fuse: Fuse) -> None:
        self._store = store
        self._fuse = fuse

    async def read(self, transaction: Callable[[], Transaction[T]]) -> T:
        if self._fuse.dead:
            raise Crashed
        return await self._store.read(transaction)

    async def write(self, transaction: Callable[[], Transaction[T]], *, locks: Sequence[Lock] = ()) -> T:
        name = ""

        def crashing() -> Transaction[T]:
            nonlocal name
            if (
                self._fuse.dead
            ):  # it was waiting when its process died; to fail would fail its neighbours with it
                return cast("T", None)
            inner = transaction()
            name = str(getattr(inner, "__name__", "script"))
            answer: Any = None
            while True:
                try:
                    ask = inner.send(answer)
                except StopIteration as end:
                    self._fuse.point(f"{name}:commit")
                    value: T = end.value
                    return value
                self._fuse.point(f"{name}:{ask.name}")
                answer = yield ask

        result = await self._store.write(crashing, locks=locks)
        self._fuse.point(f"{name}:done")
        return result

    async def close(self) -> None:
        """The store is shared by all incarnations, so it stays open."""


def inject_faults(crm: Crm, fuse: Fuse, faults: list[Fault | None]) -> None:
    """Lets the process die around the CRM's work, and fails the next writes with these faults, which are used up.

    None stands for a write that does not fail.
    """

    def before(call: Call) -> ConnectorError | None:
        fuse.point(f"crm:{call.kind}:before")
        return fault(call, done=False)

    def after(call: Call) -> ConnectorError | None:
        fuse.point(f"crm:{call.kind}:after")
        return fault(call, done=True)

    def fault(call: Call, *, done: bool) -> ConnectorError | None:
        if not faults or call.kind not in {"create", "update"}:
            return None
        fault = faults[0]
        if fault is not None and fault.done is not done:
            return None
        if fault is None and not done:  # it is used up when its work is done
            return None
        del faults[0]
        return None if fault is None else fault.error

    crm.before, crm.after = before, after
