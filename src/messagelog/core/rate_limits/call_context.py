"""What the requests of a task are for: whether somebody waits for them, and for which conversation log.

A session is shared by all that is done for its user at the same time, so this goes along with the task.
"""

from __future__ import annotations

import asyncio
import math
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable
    from contextlib import AbstractContextManager


@dataclass(slots=True)
class CallContext:
    """What requests are sent for. `work` tells one piece of work from another; None where it has no name.

    Somebody waits for it until `live_until`, by the event loop's clock. `asked` says that this call of the connector
    has sent a request of `session.http`, `wrote` that one of them was a write. Then it has to go on: to be held back
    would leave half of it done. `task` is cut off after `seconds`; a task that it starts may outlive it.
    """

    live_until: float = math.inf
    work: Hashable = None
    wrote: bool = False
    seconds: float = math.inf
    task: asyncio.Task[Any] | None = None
    asked: bool = False

    @property
    def may_have_written(self) -> bool:
        """Whether the call may have changed something at the CRM; of a client of the connector's own nobody knows."""
        return self.wrote or not self.asked


_context: ContextVar[CallContext | None] = ContextVar("messagelog_errand", default=None)


def current() -> CallContext:
    """The errand of this task; a live one where nobody has said anything."""
    return _context.get() or CallContext()


def has_deadline_within(seconds: float) -> bool:
    """Whether this task ends within so many seconds, whatever it waits for: its requests need no clock of their own.

    What was cut off already is not cut off again, whatever it does in the end.
    """
    context, task = current(), asyncio.current_task()
    return context.seconds <= seconds and task is not None and context.task is task and not task.cancelling()


class _ContextScope:
    """All requests within are for this errand. A class, as each call enters two: a generator takes thrice as long."""

    __slots__ = ("_before", "_context")

    def __init__(self, context: CallContext) -> None:
        self._context = context

    def __enter__(self) -> CallContext:
        self._before = _context.set(self._context)
        return self._context

    def __exit__(self, *_: object) -> None:
        _context.reset(self._before)


def for_work(work: Hashable, *, live_until: float) -> AbstractContextManager[CallContext]:
    """All requests within are for this work."""
    return _ContextScope(CallContext(live_until, work))


def single_call(seconds: float = math.inf) -> AbstractContextManager[CallContext]:
    """The requests within are those of one call of a connector, which succeeds or fails as a whole.

    Whoever says `seconds` cuts this task off after them.
    """
    context, task = current(), asyncio.current_task()
    return _ContextScope(CallContext(context.live_until, context.work, seconds=seconds, task=task))
