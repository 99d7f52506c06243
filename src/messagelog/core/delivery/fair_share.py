"""Limits how much of the backlog a process works on at once: when a CRM is back after an hour, all of it is due."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from messagelog.storage.records.journal import LogKey

_MOST: Final = 64


class BacklogLimiter:
    """Counts the conversation logs of the backlog that are worked on: so many in all, and so many of each tenant.

    Logs that a request has claimed for itself are not counted. A tenant that has its share leaves room for the others.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._counts: Counter[tuple[str, str]] = Counter()

    @property
    def room(self) -> int:
        """How many more logs may start."""
        return self._most - self._counts.total()

    def fair_order(self, keys: Iterable[LogKey]) -> list[LogKey]:
        """Return the logs in the order in which they should start: those of the tenants with the fewest come first."""
        counts = Counter(self._counts)

        def turn(key: LogKey) -> int:
            counts[key.tenant, key.platform] += 1
            return counts[key.tenant, key.platform]

        return sorted(keys, key=turn)

    def try_acquire(self, key: LogKey, share: int) -> bool:
        """Count a conversation log, if there is room for it and its tenant does not have its share yet."""
        place = (key.tenant, key.platform)
        if self.room <= 0 or self._counts[place] >= share:
            return False
        self._counts[place] += 1
        return True

    def release(self, key: LogKey) -> None:
        """Make room again."""
        place = (key.tenant, key.platform)
        self._counts[place] -= 1
        if not self._counts[place]:
            del self._counts[place]
