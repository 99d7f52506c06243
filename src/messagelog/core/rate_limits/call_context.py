"""What the requests of a task are for: whether a request waits for them, and which conversation log they belong to.

A session is shared by all work for its user at the same time, so this belongs to the task.
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
    """What requests are sent for. `work` tells pieces of work apart; None if it has no name.

    It is live until `live_until`, by the event loop's clock. `asked` says that this call of the connector has sent a
    request with `session.http`, and `wrote` that one of them was a write. Then the call must go on: holding it back
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
        """Whether the call may have changed the CRM. Requests of a connector's own client are not known."""
        return self.wrote or not self.asked


_context: ContextVar[CallContext | None] = ContextVar("messagelog_errand", default=None)


def current() -> CallContext:
    """Return the context of this task; a live one if none was set."""
    return _context.get() or CallContext()


def has_deadline_within(seconds: float) -> bool:
    """Return whether this task ends within so many seconds, so that its requests need no timeout of their own.

    A task that was cut off once already is not cut off again.
    """
    context, task = current(), asyncio.current_task()
    return context.seconds <= seconds and task is not None and context.task is task and not task.cancelling()


class _ContextScope:
    """All requests within have this context. A class, since each call enters two: a generator is three times slower."""

    __slots__ = ("_before", "_context")

    def __init__(self, context: CallContext) -> None:
        self._context = context

    def __enter__(self) -> CallContext:
        self._before = _context.set(self._context)
        return self._context

    def __exit__(self, *_: object) -> None:
        _context.reset(self._before)


def for_work(work: Hashable, *, live_until: float) -> AbstractContextManager[CallContext]:
    """Set what the requests within are for."""
    return _ContextScope(CallContext(live_until, work))


def single_call(seconds: float = math.inf) -> AbstractContextManager[CallContext]:
    """Set that the requests within belong to one call of a connector, which succeeds or fails as a whole.

    A caller that gives `seconds` cuts this task off after them.
    """
    context, task = current(), asyncio.current_task()
    return _ContextScope(CallContext(context.live_until, context.work, seconds=seconds, task=task))
