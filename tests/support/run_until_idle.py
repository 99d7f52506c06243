"""Lets time pass until nothing is due any more: leases end, searches settle, retries come, patience is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from messagelog.storage import transactions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from messagelog.core import Runtime
    from messagelog.storage import Store

_MOST_LOOKS = 60
_LONGEST_MS = 60_000


async def work_off(runtime: Runtime) -> None:
    """Takes up what is due until nothing is, as a running server does.

    A timer may ring at the same time: a sweep leaves alone what it has taken up, and it may have found nothing due yet.
    """
    await runtime.idle()
    while await runtime.sweep() or runtime._dispatcher._working:
        await runtime.idle()


async def run_until_idle(
    runtime: Runtime, store: Store, clock: Any, sweep: Callable[[], Awaitable[Any]]
) -> None:
    """Moves `clock.now` (ms) on from one due time to the next, with a `sweep` at each."""
    held = 1
    for _ in range(_MOST_LOOKS):
        await runtime.idle()
        left = await store.read(transactions.find_next_due)
        if left is None:
            return
        # What stays due belongs to a tenant that its CRM has asked for patience.
        held = 1 if left else min(2 * held, _LONGEST_MS)
        clock.now += int(left * 1000) + held
        await sweep()
    raise AssertionError("it never settles")
