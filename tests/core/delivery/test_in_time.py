"""A request is answered in its time, even when the database does not answer, and nothing is claimed that is not so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import pytest

from support.limited_crm import RateLimitedConnector, RateLimitedCrm, server_process
from support.virtual_clock import VirtualTimeLoop, run_in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from messagelog.storage import Store
    from messagelog.storage.store import Lock
    from messagelog.storage.transactions import Transaction

T = TypeVar("T")


@dataclass
class Stuck:
    """A store that answers no more: to what it is `asked`, or to the reads that follow a write."""

    store: Store
    asked: str
    written: bool = False

    async def read(self, transaction: Callable[[], Transaction[T]]) -> T:
        if self.asked == "a read" or self.written:
            await asyncio.sleep(1_000)
        return await self.store.read(transaction)

    async def write(self, transaction: Callable[[], Transaction[T]], *, locks: Sequence[Lock] = ()) -> T:
        if self.asked == "a write":
            await asyncio.sleep(1_000)
        value = await self.store.write(transaction, locks=locks)
        self.written = True
        return value

    async def close(self) -> None:
        await self.store.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("asked", ["a read", "a write", "a read after a write"])
def test_a_database_that_does_not_answer_delays_no_answer(database_url: str, asked: str) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        crm = RateLimitedCrm(loop.time, latency=(15.0, 15.0))
        async with server_process(loop, database_url, crm, RateLimitedConnector()) as one:
            await one.sign_in("acme/ada")
            async with server_process(loop, database_url, crm, RateLimitedConnector()) as two:
                first = asyncio.create_task(one.send("acme/ada", 1, conversation="c"))
                await asyncio.sleep(
                    1
                )  # it works on the conversation: the second one has to ask what becomes of it
                store, two.runtime.context.store = (
                    two.runtime.context.store,
                    Stuck(two.runtime.context.store, asked),
                )
                began = loop.time()
                answer = await two.send("acme/ada", 2, conversation="c")
                assert loop.time() - began <= 12.0
                two.runtime.context.store = store
                kept = asked == "a read after a write"
                assert (answer.successful, bool(answer.log_ids)) == (kept, kept)
                assert ("not certain" in answer.return_message.message) is not kept
                assert (await first).successful

    run_in_virtual_time(main)
