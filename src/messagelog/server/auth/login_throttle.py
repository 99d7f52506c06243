"""Slows down whoever guesses passwords.

Failures are counted in memory, until an hour has passed without one: a restart forgets them, and each process counts
for itself. With the cost of a hash, and with passwords of twelve characters, that is enough to make guessing hopeless;
it is no quota.
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
    """What failures are counted by, and how many are nobody's business: people do mistype."""

    by: tuple[str, str, str]
    free: int


class LoginThrottle:
    """Says how long the next attempt has to wait. `clock` gives seconds; an `address` is a customer's (`address_of`).

    An address waits for a name after 5 failures, for any name after 20. A name waits after 50, wherever they come
    from. A wait begins with a second and doubles, up to five minutes. Of many names and addresses the oldest are
    forgotten.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: TTLCache[tuple[str, str, str], _Failures] = TTLCache(
            _MOST_KEPT, _FORGOTTEN, timer=clock
        )

    def begin(self, name: str, address: str) -> int:
        """Counts an attempt as failed until it is `forgiven`, so that many at once are counted too.

        How many seconds it has to wait instead: 0 when it may go on; one that has to wait is not counted.
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
        """The attempt was a good one: who knows the password may have mistyped it before."""
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
