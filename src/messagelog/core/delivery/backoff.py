"""How long a conversation log waits before the next try. Pure: the caller brings the jitter, a number from 0 up to 1.

Every wait is drawn from the whole of its step ("full jitter"), so that calls that failed together are not
retried together.
"""

from __future__ import annotations

from typing import Final

import msgspec

STEPS: Final = (2, 10, 30, 120, 600, 1800, 3600, 7200, *(14_400,) * 35)
"""The longest wait before each try, in seconds: a short failure is over within the time of an answer, a long outage
costs few calls. The whole table lasts three days on average, and six at the longest.
"""

_SHORTEST_MS: Final = 100
_LONGEST_ASKED_FOR: Final = 3600.0


class Retry(msgspec.Struct, frozen=True):
    """How the failure of a call that did nothing is taken, if it is not simply one of its log's tries.

    `early`: the call was made before its time, for a request that waits. `probe_ms`: the CRM is away, and is tried
    again after so many milliseconds. Neither says anything about the log itself, so neither counts.
    """

    early: bool = False
    probe_ms: int | None = None

    @property
    def counts(self) -> bool:
        """True if it is one of the log's tries."""
        return not self.early and self.probe_ms is None


COUNTED: Final = Retry()


def after(tries: int, jitter: float, *, retry_after: float | None = None) -> int | None:
    """Return the milliseconds until the next try, after so many in vain; None if that was the last one.

    `retry_after` is the wait that the CRM asks for, in seconds. It is respected up to an hour, and the step is added
    to it: a CRM that always says "at once" is called less often nevertheless.
    """
    if tries > len(STEPS):
        return None
    return _draw_ms(STEPS[max(0, tries - 1)], jitter, retry_after)


def for_ever(tries: int, jitter: float, *, retry_after: float | None = None) -> int:
    """Return the same for reconciling, which never ends: after the table, at its longest step."""
    return _draw_ms(STEPS[min(max(0, tries - 1), len(STEPS) - 1)], jitter, retry_after)


def _draw_ms(step: float, jitter: float, retry_after: float | None) -> int:
    asked_ms = 0
    if retry_after is not None and retry_after > 0:  # a CRM may also send what is no number
        asked_ms = int(min(retry_after, _LONGEST_ASKED_FOR) * 1000)
    return asked_ms + max(_SHORTEST_MS, int(step * 1000 * jitter))
