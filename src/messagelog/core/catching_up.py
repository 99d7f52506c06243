"""What is taken up without anybody waiting for it: so many logs at a time, and no tenant in front of the others."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.storage.rows import LogKey

_MOST: Final = 256


class CatchUp:
    """A queue of conversation logs for each tenant and platform, served in turn.

    `begin` starts the work on a log, or says that there is nothing to start; `ended` has to be called when work ends.
    `room` says how many logs of a tenant may be worked on at a time. What there is no room for at all is dropped: it
    is due still, and the sweep finds it later.
    """

    def __init__(self, *, begin: Callable[[LogKey], bool], room: Callable[[str, str], int]) -> None:
        self._begin = begin
        self._room = room
        self._queues: OrderedDict[tuple[str, str], deque[LogKey]] = OrderedDict()
        self._queued: set[LogKey] = set()
        self._running: defaultdict[tuple[str, str], set[LogKey]] = defaultdict(set)
        self._count = 0

    def offer(self, key: LogKey) -> None:
        """Takes up a log as soon as there is room; one that is offered twice is taken up once."""
        place = (key.tenant, key.platform)
        if key not in self._queued and key not in self._running.get(place, ()):
            self._queued.add(key)
            self._queues.setdefault(place, deque()).append(key)
            self._go()

    def ended(self, key: LogKey) -> None:
        """The work on a log is over, whoever began it."""
        place = (key.tenant, key.platform)
        running = self._running.get(place)
        if running is not None and key in running:
            running.remove(key)
            self._count -= 1
            if not running:
                del self._running[place]
            self._go()

    def clear(self) -> None:
        """Forgets all that has not begun."""
        self._queues.clear()
        self._queued.clear()

    def _go(self) -> None:
        idle = 0
        while idle < len(self._queues) and self._count < _MOST:
            place, queue = self._queues.popitem(last=False)
            room = self._room(*place)
            if room == 0:
                self._queued.difference_update(queue)
                continue
            if len(self._running.get(place, ())) < room:
                key = queue.popleft()
                self._queued.remove(key)
                if self._begin(key):
                    self._running[place].add(key)
                    self._count += 1
                idle = 0
            else:
                idle += 1
            if queue:
                self._queues[place] = queue
