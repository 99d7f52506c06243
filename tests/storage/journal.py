"""A journal in a test's hands: short words for the scripts, with a clock that only the test moves."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from messagelog.storage import (
    LogKey,
    LogRequestWork,
    NewRow,
    RowChange,
    RowState,
    Step,
    StoreUnavailable,
    open_store,
    transactions,
)
from messagelog.storage.records.journal import LeasePolicy, LogState
from messagelog.storage.schema import metadata
from messagelog.storage.urls import sqlite_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from messagelog.storage import AcceptResult, CheckedStore, Claim, LogRow, MessageRow, Store

KEY = LogKey("acme", "crm", "conv/7/13/2026")
ID = "5eed0001"
"""The id of the journal, as the terms have it."""
LEASE, SETTLE = 60_000, 1_000
START = 1_800_000_000_000


class Clock:
    """The database's clock, in epoch milliseconds."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now

    def forward(self, ms: int) -> None:
        self.now += ms


def plan(log: LogRow, waiting: Sequence[MessageRow]) -> Step | None:
    """All that waits of the first row's user, up to the batch of the terms."""
    if not waiting:
        return None
    first = waiting[0]
    rows = tuple(row for row in waiting if row.user_id == first.user_id)
    return Step("update" if log.third_party_log_id else "create", first.user_id, rows, first.version)


def no_plan(_log: LogRow, _waiting: Sequence[MessageRow]) -> None:
    """Nothing is to be done."""


def new(id_: str, *, at: int | None = None, version: int = 0, text: str | None = None) -> NewRow:
    """A row as a request brings it; without `at` the number in its id tells its second."""
    sent_at = int("".join(filter(str.isdigit, id_)) or 0) * 1000 if at is None else at
    return NewRow(id_, sent_at, version, f"text {id_} {version}".encode() if text is None else text.encode())


def work(
    *rows: str | NewRow,
    key: LogKey = KEY,
    contact: str = "c-1",
    user: str = "ada",
    text_settings: str = "{}",
) -> LogRequestWork:
    """What a request wants logged."""
    return LogRequestWork(
        key=key,
        conversation_id=key.display_id(key.client_log_id.partition("/")[0]),
        contact_id=contact,
        contact_type="contact",
        contact_name=f"name of {contact}",
        text_settings=text_settings,
        user_id=user,
        rows=tuple(new(row) if isinstance(row, str) else row for row in rows),
    )


def logged(log: LogRow, *ids: str, activity: str = "a-1") -> tuple[LogRow, tuple[RowChange, ...]]:
    """A claimed log and its rows after a call that did its work."""
    after = msgspec.structs.replace(
        log, third_party_log_id=activity, version=max(log.version, log.call_version), reason=None
    )
    changes = (
        RowChange(id_, RowState.LOGGED, None, activity, f"hash {id_}".encode(), erase=True) for id_ in ids
    )
    return after, tuple(changes)


def became(state: RowState, *ids: str, reason: str | None = None) -> tuple[RowChange, ...]:
    return tuple(RowChange(id_, state, reason) for id_ in ids)


@dataclass
class Journal:
    """A store, who works with it, and the steps of a claim in one word each: of `key`, or a log that is named."""

    store: Store
    clock: Clock = field(default_factory=Clock)
    policy: LeasePolicy = field(default_factory=lambda: LeasePolicy("me", LEASE, SETTLE, batch=1, journal=ID))
    key: LogKey = KEY

    def as_owner(self, owner: str) -> Journal:
        """The same journal, for another process."""
        return replace(self, policy=msgspec.structs.replace(self.policy, owner=owner))

    def in_batches(self) -> Journal:
        return replace(self, policy=msgspec.structs.replace(self.policy, batch=200))

    async def accept(self, *rows: str | NewRow, **more: Any) -> AcceptResult:
        made = work(*rows, **{"key": self.key, **more})
        return await self.store.write(
            lambda: transactions.accept_request(made, plan, self.policy), locks=made.locks
        )

    async def claimed(self, *rows: str | NewRow, **more: Any) -> Claim:
        """Accept rows of a log without a claim; return the claim with the journalled step."""
        claim = (await self.accept(*rows, **more)).claim
        assert claim is not None
        return claim

    async def claim(self, key: LogKey | None = None) -> Claim | None:
        of = key or self.key
        return await self.store.write(lambda: transactions.claim_log(of, plan, self.policy), locks=(of,))

    async def save(self, log: LogRow, changes: Sequence[RowChange] = (), **more: Any) -> Claim | None:
        planner = more.pop("planner", plan)
        return await self.store.write(
            lambda: transactions.save_outcome(log, changes, planner, self.policy, **more), locks=(log.key,)
        )

    async def note(self, log: LogRow) -> None:
        await self.store.write(lambda: transactions.record_intent(log, self.policy), locks=(log.key,))

    async def done(self, claim: Claim, activity: str = "a-1") -> Claim | None:
        """Logs the rows of a claim's step; the claim of the next step."""
        ids = claim.step.ids if claim.step else tuple(row.id for row in claim.rows)
        return await self.save(*logged(claim.log, *ids, activity=activity))

    async def with_logged(self, *rows: str | NewRow, **more: Any) -> None:
        """Accepts rows and logs them all."""
        claim = (await self.accept(*rows, **more)).claim
        while claim is not None:
            claim = await self.done(claim)

    async def with_failed(self, *rows: str | NewRow, **more: Any) -> None:
        """Accepts rows in a log of their own and lets them all fail."""
        claim = (await self.in_batches().accept(*rows, **more)).claim
        assert claim is not None
        assert claim.step is not None
        await self.save(claim.log, became(RowState.FAILED, *claim.step.ids, reason="rejected: no"))

    async def with_parked(self, *rows: str | NewRow, **more: Any) -> None:
        """Accepts rows in a log of their own and parks it."""
        claim = (await self.in_batches().accept(*rows, **more)).claim
        assert claim is not None
        assert claim.step is not None
        log = msgspec.structs.replace(claim.log, state=LogState.PARKED, reason="no_answer: lost")
        await self.save(log, became(RowState.PARKED, *claim.step.ids, reason="no_answer: lost"))

    async def log(self, key: LogKey | None = None) -> LogRow:
        return (await self._shown(key or self.key))[0]

    async def rows(self, key: LogKey | None = None) -> dict[str, MessageRow]:
        """All rows of a log by id, without their text."""
        return {row.id: row for row in (await self._shown(key or self.key))[1]}

    async def states(self, key: LogKey | None = None) -> dict[str, str]:
        return {id_: str(row.state) for id_, row in (await self.rows(key)).items()}

    async def _shown(self, key: LogKey) -> tuple[LogRow, list[MessageRow]]:
        found = await self.store.read(lambda: transactions.show_logs(key.conversation_log_id))
        (shown,) = [(log, rows) for log, rows in found if log.key == key]
        return shown


@asynccontextmanager
async def opened(url: str, clock: Callable[[], int] | None = None) -> AsyncIterator[Store]:
    store = await open_store(url, clock=clock)
    try:
        yield store
    finally:
        await store.close()


async def available(store: CheckedStore) -> None:
    """Waits until a store has found out that its database can be used."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await store.check()
            except StoreUnavailable:
                await asyncio.sleep(0.01)


def run_sql(url: str, statement: str) -> list[tuple[Any, ...]]:
    """A statement by a connection of its own, past the store: what is committed, as the database has it."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(sqlite_path(url), isolation_level=None)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()
    with psycopg.connect(url, autocommit=True) as session:
        cursor = session.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def everything(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All that the tables hold."""
    return {table: sorted(run_sql(url, f'SELECT * FROM "{table}"'), key=repr) for table in metadata.tables}  # noqa: S608 - our own names


def payloads(url: str) -> dict[str, bytes | None]:
    """The stored text of every row, by the id that is shown."""
    return dict(run_sql(url, 'SELECT "id", "payload" FROM "messageLogs"'))


def end_all_connections(url: str) -> int:
    """As a restart of a PostgreSQL server does; how many there were."""
    ended = run_sql(
        url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'messagelog' AND pid <> pg_backend_pid()",
    )
    return len(ended)
