"""Writes what must not be lost, over an outage of the database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from messagelog.storage import StoreClosed, is_transient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from messagelog.storage import Store
    from messagelog.storage.store import Lock
    from messagelog.storage.transactions import Transaction

T = TypeVar("T")

_FIRST_PAUSE_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 0.5


async def write_over_outage(
    store: Store, transaction: Callable[[], Transaction[T]], *, locks: Sequence[Lock] = (), seconds: float
) -> T:
    """Write a transaction as `store.write` does, and retry it for so many seconds while the database is away.

    It may have been committed without an answer: the transaction has to find that out itself, for example by its
    fencing token. A retry costs next to nothing, since a store that knows of the outage refuses at once.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return await store.write(transaction, locks=locks)
        except StoreClosed:
            raise
        except Exception as error:
            if loop.time() >= until or not is_transient(error):
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
