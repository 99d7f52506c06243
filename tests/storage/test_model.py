"""Any order of requests, claims, outcomes and lost time, against a small model of what must hold."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from messagelog.storage import (
    ClaimLost,
    LogKey,
    LogState,
    NewRow,
    RowChange,
    RowState,
    open_store,
    transactions,
)
from messagelog.storage.records.journal import LeasePolicy, WaitingChange
from storage.journal import ID, LEASE, SETTLE, Clock, Journal, became, logged, new

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from messagelog.storage import AcceptResult, Claim, LogRow, MessageRow, Store

LOGS = ("log-a", "log-b", "thread")
IDS = ("1", "2", "3", "4")
OWNERS = ("one", "two")
PENDING = {RowState.PLANNED, RowState.CALLING, RowState.UNKNOWN}


@dataclass(frozen=True)
class Accept:
    log: str
    ids: tuple[str, ...]
    version: int
    user: str
    contact: str
    owner: str


@dataclass(frozen=True)
class Take:
    log: str
    owner: str


@dataclass(frozen=True)
class Forward:
    ms: int


@dataclass(frozen=True)
class Save:
    claim: int
    outcome: str
    wait_ms: int | None
    waiting: str | None


Operation = Accept | Take | Forward | Save

OUTCOMES = ("logged", "failed", "planned", "unknown", "parked", "gone")
OPERATIONS = st.one_of(
    st.builds(
        Accept,
        st.sampled_from(LOGS),
        st.lists(st.sampled_from(IDS), min_size=1, max_size=3).map(tuple),
        st.integers(1, 4),
        st.sampled_from(("ada", "bob")),
        st.sampled_from(("c-1", "c-1", "c-2")),
        st.sampled_from(OWNERS),
    ),
    st.builds(Take, st.sampled_from(LOGS), st.sampled_from(OWNERS)),
    st.builds(Forward, st.sampled_from((1, 1_000, LEASE, LEASE + SETTLE))),
    st.builds(
        Save,
        st.integers(0, 9),
        st.sampled_from((*OUTCOMES, "logged", "logged")),
        st.sampled_from((None, None, 0, 1_000)),
        st.sampled_from((None, None, "ada", "everybody")),
    ),
)


def short(key: LogKey) -> str:
    """A log's name in the model: its id without the tenant's."""
    return key.conversation_log_id.partition("/")[2]


@dataclass
class Model:
    """What must hold: who may write to a log, what was accepted, what the CRM has, and what is under way."""

    claims: list[Claim] = field(default_factory=list)
    holders: dict[str, tuple[int, int]] = field(default_factory=dict)  # log -> fence, end of the lease
    fences: dict[str, int] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    logged: set[str] = field(default_factory=set)
    under_way: dict[str, set[str]] = field(default_factory=dict)  # log -> ids whose call has no outcome

    def gives(self, log: str, claim: Claim | None, now: int) -> None:
        """A claim is given only when there is no valid one, and with a number of its own."""
        if claim is None:
            return
        if log in self.holders:
            assert self.holders[log][1] <= now, "two valid claims for one log"
        assert claim.log.fence > self.fences.get(log, 0)
        first = claim.log.due_at is None  # when that ends only the database has written down
        assert not first or log not in self.fences
        self.holders[log] = (claim.log.fence, now + LEASE + SETTLE if first else claim.log.due_at or 0)
        self.fences[log] = claim.log.fence
        self.claims.append(claim)
        if claim.step is None:
            assert claim.reconcile
            assert {row.id for row in claim.rows} == self.under_way.get(log, set())
        else:
            assert not self.under_way.get(log), "a second step, while the outcome of one is open"
            elsewhere = {id_ for ids in self.under_way.values() for id_ in ids}
            assert not elsewhere & set(claim.step.ids), "a message in two calls"
            assert not self.logged & set(claim.step.ids) - {"thread"}, "a logged message is called again"
            self.under_way[log] = set(claim.step.ids)


class World:
    """One example: a tenant of its own in the database, and the model beside it."""

    def __init__(self, store: Store, clock: Clock, tenant: str) -> None:
        self.tenant = tenant
        self.clock = clock
        self.model = Model()
        self.journals = {
            owner: Journal(store, clock, LeasePolicy(owner, LEASE, SETTLE, batch=2, journal=ID))
            for owner in OWNERS
        }
        self.journal = self.journals["one"]

    async def play(self, operation: Operation) -> None:
        match operation:
            case Accept():
                await self._accept(operation)
            case Take(log, owner):
                claim = await self.journals[owner].claim(self._key(log))
                self.model.gives(log, claim, self.clock.now)
            case Forward(ms):
                self.clock.forward(ms)
            case Save() if self.model.claims:
                await self._save(operation, self.model.claims[operation.claim % len(self.model.claims)])
        await self._check()

    def _key(self, log: str) -> LogKey:
        return LogKey(self.tenant, "crm", f"{self.tenant}/{log}", shared=log == "thread")

    async def _accept(self, request: Accept) -> None:
        shared = request.log == "thread"
        ids = ("thread",) if shared else request.ids
        rows = [new(id_, version=request.version if shared else 0) for id_ in ids]
        accepted: AcceptResult = await self.journals[request.owner].accept(
            *rows, key=self._key(request.log), user=request.user, contact=request.contact
        )
        if accepted.held_by is None:
            self.model.accepted |= set(ids)
        self.model.gives(request.log, accepted.claim, self.clock.now)

    async def _save(self, save: Save, claim: Claim) -> None:
        log = short(claim.key)
        ids = tuple(row.id for row in (claim.step.rows if claim.step else claim.rows))
        after, changes, anew = self._outcome(save.outcome, claim, ids)
        wait_ms = 1_000 if save.outcome == "unknown" else save.wait_ms
        user = None if save.waiting == "everybody" else save.waiting
        waiting = WaitingChange(user, RowState.FAILED, "behind: it") if save.waiting else None
        if save.outcome == "parked":
            waiting = WaitingChange(None, RowState.PARKED, "behind: it")
        held = self.model.holders.get(log, (0, 0))[0] == claim.log.fence
        try:
            following = await self.journals[claim.log.owner or ""].save(
                after, changes, waiting=waiting, recreated=anew, wait_ms=wait_ms
            )
        except ClaimLost:
            assert not held, "a claim was lost that nobody had taken"
            return
        assert held, "a lost claim wrote"
        del self.model.holders[log]
        if save.outcome != "unknown":
            self.model.under_way.pop(log, None)
        if save.outcome == "logged":
            self.model.logged |= set(ids)
        if save.outcome == "gone":
            self.model.logged -= {row.id for row in anew or ()}
        self.model.gives(log, following, self.clock.now)

    def _outcome(
        self, outcome: str, claim: Claim, ids: tuple[str, ...]
    ) -> tuple[LogRow, tuple[RowChange, ...], tuple[NewRow, ...] | None]:
        """Draw the log after a call, its rows' changes, and what is to be planned again."""
        log = claim.log
        match outcome:
            case "logged":
                activity = log.third_party_log_id or f"a-{log.generation}"
                return (*logged(log, *ids, activity=activity), None)
            case "parked":
                parked = replace(log, state=LogState.PARKED, reason="no_answer: lost")
                return parked, became(RowState.PARKED, *ids), None
            case "gone":
                gone = replace(log, third_party_log_id=None, generation=log.generation + 1, version=0)
                anew = tuple(new(id_) for id_ in IDS) if log.third_party_log_id and not log.shared else ()
                return gone.without_call(), became(RowState.PLANNED, *ids), anew
            case "planned":
                return log.without_call(), became(RowState.PLANNED, *ids), None
            case _:
                state = RowState(outcome)
                return (log if outcome == "unknown" else log.without_call()), became(state, *ids), None

    async def _check(self) -> None:
        """What must hold of the database after every operation."""
        model = self.model
        seen: dict[str, MessageRow] = {}
        for log_id in LOGS:
            id_ = self._key(log_id).conversation_log_id
            for log, rows in await self.journal.store.read(lambda id_=id_: transactions.show_logs(id_)):  # type: ignore[misc] # the default binds the loop's value
                self._check_log(log, rows)
                seen.update({row.id: row for row in rows})
        assert set(seen) == model.accepted, "an accepted message is gone, or one came from nowhere"
        for id_ in model.logged - {"thread"}:
            assert seen[id_].state is RowState.LOGGED

    def _check_log(self, log: LogRow, rows: list[MessageRow]) -> None:
        states = {row.state for row in rows}
        if log.state is LogState.PARKED:
            assert log.due_at is None
            assert not states & PENDING, "somebody would have to work on a parked log"
        elif states & PENDING:
            assert log.due_at is not None, "something waits, and nobody will take it up"
        calling = {row.id for row in rows if row.state in {RowState.CALLING, RowState.UNKNOWN}}
        assert calling == self.model.under_way.get(short(log.key), set())
        assert calling <= {row.id for row in rows}
        assert (log.call is not None) or not calling


@pytest.fixture
def tenants(database_url: str) -> Iterator[Callable[[Sequence[Operation]], None]]:
    """Plays operations, each time for a tenant of its own, in one open store."""
    numbers = itertools.count(1)
    clock = Clock()
    with asyncio.Runner() as runner:
        store = runner.run(open_store(database_url, clock=clock))

        async def example(operations: Sequence[Operation]) -> None:
            world = World(store, clock, f"tenant-{next(numbers)}")
            for operation in operations:
                await world.play(operation)

        yield lambda operations: runner.run(example(operations))
        runner.run(store.close())


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations=st.lists(OPERATIONS, min_size=5, max_size=30))
def test_whatever_happens(
    tenants: Callable[[Sequence[Operation]], None], operations: list[Operation]
) -> None:
    tenants(operations)
