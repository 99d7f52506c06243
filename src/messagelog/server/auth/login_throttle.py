"""Slows down the guessing of passwords.

Failures are counted in memory, until an hour has passed without one: a restart forgets them, and each process counts
by itself. With the cost of a hash, and passwords of at least twelve characters, this makes guessing hopeless. It is
not a quota.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cachetools import TTLCache

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_WAIT: Final = 300.0
_FORGOTTEN: Final = 3_600.0
_MOST_KEPT: Final = 10_000
_LONGEST_NAME: Final = 64


@dataclass(slots=True)
class _Failures:
    count: int = 0
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class _Rule:
    """The key that failures are counted by, and how many are free: people do mistype."""

    by: tuple[str, str, str]
    free: int


class LoginThrottle:
    """Says how long the next attempt has to wait. `clock` gives seconds; an `address` is that of `address_of`.

    An address waits for a name after 5 failures, and for any name after 20. A name waits after 50, from all addresses
    together. The first wait is a second; each further one is twice as long, up to five minutes. Beyond 10,000 names and
    addresses the oldest are forgotten.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: TTLCache[tuple[str, str, str], _Failures] = TTLCache(
            _MOST_KEPT, _FORGOTTEN, timer=clock
        )

    def begin(self, name: str, address: str) -> int:
        """Count an attempt as failed until `forgive` takes it back, so that attempts at the same time are counted too.

        Return 0, or the seconds that it has to wait: then it may not go on, and is not counted.
        """
        now, rules = self._clock(), _rules(name, address)
        known = [self._failures.get(rule.by) for rule in rules]
        wait = max((each.until - now for each in known if each is not None), default=0.0)
        if wait > 0:
            return math.ceil(wait)
        for rule in rules:
            failures = self._failures.get(rule.by) or _Failures()
            failures.count += 1
            if (over := failures.count - rule.free) >= 0:
                failures.until = now + min(2.0 ** min(over, 30), _LONGEST_WAIT)
            self._failures[rule.by] = failures  # its hour begins again
        return 0

    def forgive(self, name: str, address: str) -> None:
        """Take back a count: the attempt was good, and the earlier failures of the pair were typing errors."""
        pair, by_address, by_name = _rules(name, address)
        self._failures.pop(pair.by, None)
        for rule in (by_address, by_name):
            if (failures := self._failures.get(rule.by)) is not None:
                failures.count, failures.until = failures.count - 1, 0.0


def _rules(name: str, address: str) -> tuple[_Rule, _Rule, _Rule]:
    name = name[:_LONGEST_NAME].lower()
    return (
        _Rule(("both", name, address), free=5),
        _Rule(("address", "", address), free=20),
        _Rule(("name", name, ""), free=50),
    )
