"""Transactions that come at once, and one that holds up the others."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from messagelog.storage import LogKey, transactions
from messagelog.storage.records.journal import LeasePolicy
from messagelog.storage.transactions import Execute, Query
from messagelog.storage.transactions.mapping import new_log, new_log_params
from storage.journal import ID, KEY, LEASE, SETTLE, plan, work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from messagelog.storage import AcceptResult, Store
    from messagelog.storage.transactions import Transaction

SQLITE_ONLY = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
POSTGRES_ONLY = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
TERMS = LeasePolicy("me", LEASE, SETTLE, batch=200, journal=ID)


def log_key(number: int) -> LogKey:
    return LogKey("acme", "crm", f"log-{number}")


def accepting(*ids: str, key: LogKey = KEY) -> Callable[[], Transaction[AcceptResult]]:
    made = work(*ids, key=key)
    return lambda: transactions.accept_request(made, plan, TERMS)


def blocking(reached: threading.Event, gate: threading.Event) -> Callable[[], Transaction[None]]:
    """A transaction that has written a log and then stands still until the gate opens."""

    def transaction() -> Transaction[None]:
        yield Execute("insert_log", [new_log_params(new_log(work(key=log_key(0)), ID))])
        yield Query("next_due", {})
        reached.set()
        assert gate.wait(20)

    return transaction


@asynccontextmanager
async def held_up(store: Store) -> AsyncIterator[asyncio.Task[None]]:
    """While this lasts SQLite's writer is in the middle of a transaction, so that jobs queue up behind it."""
    reached, gate = threading.Event(), threading.Event()
    task = asyncio.create_task(store.write(blocking(reached, gate)))
    try:
        await asyncio.to_thread(reached.wait, 20)
        yield task
    finally:
        gate.set()
    await task
