"""What the requests of a task are for: whether somebody waits for them, and for which conversation log.

A session is shared by all that is done for its user at the same time, so this goes along with the task.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator


@dataclass(slots=True)
class Errand:
    """What requests are sent for. `work` tells one piece of work from another; None where it has no name.

    Somebody waits for it until `live_until`, by the event loop's clock. `wrote` says that this call of the connector
    has sent a write already. Then it has to go on: to be held back would leave half of it done.
    """

    live_until: float = math.inf
    work: Hashable = None
    wrote: bool = False


_errand: ContextVar[Errand | None] = ContextVar("messagelog_errand", default=None)


def current() -> Errand:
    """The errand of this task; a live one where nobody has said anything."""
    return _errand.get() or Errand()


@contextmanager
def sent_for(work: Hashable, *, live_until: float) -> Iterator[None]:
    """All requests within are for this work."""
    token = _errand.set(Errand(live_until, work))
    try:
        yield
    finally:
        _errand.reset(token)


@contextmanager
def one_call() -> Iterator[None]:
    """The requests within are those of one call of a connector, which succeeds or fails as a whole."""
    token = _errand.set(replace(current(), wrote=False))
    try:
        yield
    finally:
        _errand.reset(token)
