"""Limits requests: those of a user per minute, and the guesses of an address.

Each process counts in its memory: this protects against floods, and is not a quota. A refusal loses nothing, because
it comes before anything is accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cachetools import LRUCache

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


_MINUTE: Final = 60.0
_MOST: Final = 10_000


class TokenBuckets:
    """A bucket for each key that holds `per_minute` tokens and refills within a minute. With 0 there is no limit.

    `clock` gives seconds. Only the `most` keys that were used last are remembered; a forgotten key has a full bucket.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float], most: int = _MOST) -> None:
        self._size = float(per_minute)
        self._clock = clock
        self._buckets: LRUCache[Hashable, tuple[float, float]] = LRUCache(most)

    def take(self, key: Hashable) -> float:
        """Take a token. Return 0, or the seconds until there is one: then none was taken."""
        if not self._size:
            return 0.0
        level, now = self._level_now(key)
        if level < 1:
            self._buckets[key] = (level, now)
            return (1 - level) * _MINUTE / self._size
        self._buckets[key] = (level - 1, now)
        return 0.0

    def give_back(self, key: Hashable) -> None:
        """Put a token back."""
        if key in self._buckets:
            level, now = self._level_now(key)
            self._buckets[key] = (min(self._size, level + 1), now)

    def __len__(self) -> int:
        return len(self._buckets)

    def _level_now(self, key: Hashable) -> tuple[float, float]:
        """Return how many tokens a bucket holds now, and the time."""
        now = self._clock()
        level, at = self._buckets.get(key, (self._size, now))
        passed = max(0.0, now - at)  # a clock that was set back fills nothing
        return min(self._size, level + passed * self._size / _MINUTE), now
