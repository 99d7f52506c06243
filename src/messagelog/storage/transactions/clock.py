"""Times that a wrong clock has left behind: they lie further away than any wait of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from messagelog.storage.transactions.commands import Execute, Query
from messagelog.storage.transactions.mapping import key_from, key_params

if TYPE_CHECKING:
    from collections.abc import Sequence

    from messagelog.storage.records.journal import LogKey
    from messagelog.storage.transactions.commands import Transaction

SLACK_MS: Final = 60_000
"""By how much (ms) a clock may be set right before times count as wrong."""

LONGEST_DELAY_MS: Final = 25 * 3_600_000
"""The longest (ms) that any work is put off, but for leases: until a day's budget of a CRM is free, and a little."""

_MOST: Final = 500


def is_held(until: int, now: int, longest_ms: int) -> bool:
    """Return whether something is held now, until a time that is no further away than it can be held."""
    return now < until <= now + longest_ms + SLACK_MS


def find_misdated_logs(longest_ms: int) -> Transaction[list[LogKey]]:
    """Return some of the conversation logs that are due further away than the longest wait."""
    rows = yield Query("misdated_logs", {"longest_ms": longest_ms + SLACK_MS, "limit": _MOST})
    return sorted(map(key_from, rows))


def redate_logs(keys: Sequence[LogKey], *, longest_ms: int, lease_ms: int) -> Transaction[None]:
    """Make logs due: at once, or at the end of a lease if a process may be working on them."""
    params = {"longest_ms": longest_ms + SLACK_MS, "lease_ms": lease_ms}
    yield Execute("redate_log", [{**key_params(key), **params} for key in keys])
