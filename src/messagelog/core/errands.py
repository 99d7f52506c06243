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
class Errand:
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


_errand: ContextVar[Errand | None] = ContextVar("messagelog_errand", default=None)


def current() -> Errand:
    """The errand of this task; a live one where nobody has said anything."""
    return _errand.get() or Errand()


def cut_off_within(seconds: float) -> bool:
    """Whether this task ends within so many seconds, whatever it waits for: its requests need no clock of their own.

    What was cut off already is not cut off again, whatever it does in the end.
    """
    errand, task = current(), asyncio.current_task()
    return errand.seconds <= seconds and task is not None and errand.task is task and not task.cancelling()


class _On:
    """All requests within are for this errand. A class, as each call enters two: a generator takes thrice as long."""

    __slots__ = ("_before", "_errand")

    def __init__(self, errand: Errand) -> None:
        self._errand = errand

    def __enter__(self) -> Errand:
        self._before = _errand.set(self._errand)
        return self._errand

    def __exit__(self, *_: object) -> None:
        _errand.reset(self._before)


def sent_for(work: Hashable, *, live_until: float) -> AbstractContextManager[Errand]:
    """All requests within are for this work."""
    return _On(Errand(live_until, work))


def one_call(seconds: float = math.inf) -> AbstractContextManager[Errand]:
    """The requests within are those of one call of a connector, which succeeds or fails as a whole.

    Whoever says `seconds` cuts this task off after them.
    """
    errand, task = current(), asyncio.current_task()
    return _On(Errand(errand.live_until, errand.work, seconds=seconds, task=task))
