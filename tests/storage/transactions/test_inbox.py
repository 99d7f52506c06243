"""What is in trouble is found by pages and filters, and a decision changes what was seen and nothing else."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import psycopg
import pytest
from msgspec.structs import replace

from messagelog.storage import ClaimLost, LogKey, RowChange, RowState, transactions
from messagelog.storage.records.audit import AuditEntry
from messagelog.storage.records.inbox import Decision, InboxFilter, InboxPlace, LogMove, StaleDecision
from messagelog.storage.records.journal import Attempt
from messagelog.storage.transactions.inbox import KEPT_ATTEMPTS
from storage.journal import KEY, Journal, became, opened, payloads, run_sql

if TYPE_CHECKING:
    from messagelog.storage.records.inbox import DecisionContext

EVERYTHING = InboxFilter()
ENTRY = AuditEntry("grace", "retry", "act", KEY.tenant, KEY.platform, KEY.conversation_log_id)


def log_key(number: int, tenant: str = "acme", platform: str = "crm") -> LogKey:
    return LogKey(tenant, platform, f"log-{number}")


async def pages(journal: Journal, wanted: InboxFilter, limit: int) -> list[InboxPlace]:
    """All places, turned page by page."""
    found: list[InboxPlace] = []
    after: InboxPlace | None = None
    while page := await journal.store.read(partial(transactions.list_inbox, wanted, after, limit)):
        found += page
        after = page[-1]
    return found


async def trouble(journal: Journal) -> None:
    """Seven logs: failed, parked and waiting ones of two tenants and two platforms, and one without trouble."""
    for number, tenant, platform in (
        (1, "acme", "crm"),
        (2, "acme", "crm"),
        (3, "otto", "crm"),
        (4, "acme", "erp"),
    ):
        await journal.with_failed(f"{number}1", f"{number}2", key=log_key(number, tenant, platform))
        journal.clock.forward(10)
    await journal.with_parked("51", key=log_key(5))
    claim = await journal.claimed("61", key=log_key(6))
    journal.clock.forward(10)
    waits = became(RowState.PLANNED, "61", reason="rate_limited: slowly")
    await journal.save(claim.log.without_call(), waits, wait_ms=60_000)
    await journal.with_logged("71", key=log_key(7))


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_each_log_in_trouble_is_listed_once_the_last_changed_first(
    journal: Journal, limit: int
) -> None:
    await trouble(journal)
    found = await pages(journal, EVERYTHING, limit)
    assert [place.key.conversation_log_id for place in found] == [
        "log-6",
        "log-5",
        "log-4",
        "log-3",
        "log-2",
        "log-1",
    ]
    assert found[0].reason == "rate_limited: slowly"


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (InboxFilter(tenant="acme"), "65421"),
        (InboxFilter(tenant="otto"), "3"),
        (InboxFilter(tenant="nobody"), ""),
        (InboxFilter(platform="erp"), "4"),
        (InboxFilter(tenant="acme", platform="crm"), "6521"),
        (InboxFilter(state="failed"), "4321"),
        (InboxFilter(state="parked"), "5"),
        (InboxFilter(state="waiting"), "6"),
        (InboxFilter(cause="rejected"), "4321"),
        (InboxFilter(tenant="acme", state="parked", cause="no_answer"), "5"),
        (InboxFilter(state="parked", cause="rejected"), ""),
    ],
)
@pytest.mark.parametrize("limit", [1, 50])
async def test_the_list_can_be_narrowed(
    journal: Journal, wanted: InboxFilter, numbers: str, limit: int
) -> None:
    await trouble(journal)
    found = await pages(journal, wanted, limit)
    assert "".join(place.key.conversation_log_id[-1] for place in found) == numbers


async def test_rows_of_one_moment_are_told_apart_by_their_ids(journal: Journal) -> None:
    for number in range(5):
        for tenant in ("acme", "otto"):
            await journal.with_failed(f"{number}", key=log_key(number, tenant))
    for limit in (1, 3, 50):
        assert len({place.key for place in await pages(journal, EVERYTHING, limit)}) == 10
        assert len(await pages(journal, InboxFilter(tenant="otto"), limit)) == 5


async def test_causes_are_counted(journal: Journal) -> None:
    await trouble(journal)
    causes = await journal.store.read(lambda: transactions.count_causes(None, 0))
    counted = [
        (each.tenant, each.platform, each.state, each.cause, each.messages, each.logs) for each in causes
    ]
    assert counted == [
        ("acme", "crm", "failed", "rejected", 4, 2),
        ("acme", "crm", "parked", "no_answer", 1, 1),
        ("acme", "crm", "waiting", "rate_limited", 1, 1),
        ("acme", "erp", "failed", "rejected", 2, 1),
        ("otto", "crm", "failed", "rejected", 2, 1),
    ]
    (otto,) = await journal.store.read(lambda: transactions.count_causes("otto", 0))
    assert otto.first_at == otto.last_at
    assert await journal.store.read(lambda: transactions.count_causes("otto", otto.last_at + 1)) == []


async def test_a_log_is_shown_with_its_counts(journal: Journal) -> None:
    await trouble(journal)
    keys = [log_key(1), log_key(9), log_key(3, "otto")]
    first, gone, third = await journal.store.read(lambda: transactions.find_inbox_logs(keys))
    assert gone is None
    assert first is not None
    assert third is not None
    log, (count,), attempts = first
    assert (log.key, count.state, count.rows, count.without_text, attempts) == (log_key(1), "failed", 2, 0, 0)
    assert third[0].key.tenant == "otto"


# ------------------------------------------------------------------------------------------- attempts


async def test_failed_calls_are_kept_with_their_outcome_the_newest_only(journal: Journal) -> None:
    claim = await journal.claimed("1")
    for number in range(KEPT_ATTEMPTS + 3):
        tried = Attempt("create", "RateLimited", 429, "rate_limited", f"sealed {number}".encode())
        waits = became(RowState.PLANNED, "1", reason="rate_limited: slowly")
        await journal.save(claim.log.without_call(), waits, wait_ms=1_000, attempt=tried)
        journal.clock.forward(1_000)
        again = await journal.claim()
        assert again is not None
        claim = again
    await journal.done(claim)
    attempts = await journal.store.read(lambda: transactions.list_attempts(KEY))
    assert len(attempts) == KEPT_ATTEMPTS
    assert attempts[0].body == b"sealed 22"
    assert [each.fence for each in attempts] == list(range(23, 3, -1))
    assert attempts[0].at - attempts[1].at == 1_000
    assert await journal.store.read(lambda: transactions.list_attempts(log_key(1))) == []


async def test_what_a_lost_claim_tried_is_not_kept(journal: Journal) -> None:
    claim = await journal.claimed("1")
    stale = replace(claim.log, fence=claim.log.fence - 1)
    with pytest.raises(ClaimLost):
        await journal.save(stale, attempt=Attempt("create", "Rejected"))
    assert await journal.store.read(lambda: transactions.list_attempts(KEY)) == []


# ------------------------------------------------------------------------------------------ decisions


def plan_all(seen: DecisionContext) -> Decision:
    changes = tuple(RowChange(row.id, RowState.PLANNED) for row in seen.rows)
    return Decision(replace(seen.log, due_at=seen.now), changes)


async def decided(journal: Journal, *ids: str) -> Decision | None:
    locks = (KEY, *(KEY.row(id_) for id_ in sorted(ids)))
    return await journal.store.write(
        lambda: transactions.apply_decision(KEY, ids, plan_all, ENTRY), locks=locks
    )


async def test_a_decision_is_carried_out_and_taken_up(journal: Journal) -> None:
    await journal.with_failed("1", "2")
    assert await decided(journal, "1", "2") is not None
    assert await journal.states() == {"1": "planned", "2": "planned"}
    (record,) = await journal.store.read(lambda: transactions.read_audit(0, 10))
    assert (record.operator, record.act, record.subject) == ("grace", "retry", KEY.conversation_log_id)
    assert (await journal.rows())["1"].reason is None
    claim = await journal.claim()
    assert claim is not None
    assert claim.step is not None
    assert claim.step.ids == ("1",)


async def test_a_decision_about_nothing(journal: Journal) -> None:
    assert await decided(journal, "1") is None


async def test_a_decision_does_not_touch_what_was_not_seen(journal: Journal) -> None:
    await journal.with_failed("1", "2")
    with pytest.raises(StaleDecision):
        await decided(journal, "1")
    assert await journal.states() == {"1": "failed", "2": "failed"}


async def test_a_refused_decision_changes_nothing(journal: Journal) -> None:
    await journal.with_failed("1")
    decision = Decision(changes=(RowChange("1", RowState.LOGGED, erase=True),), refused="No.")
    await journal.store.write(
        lambda: transactions.apply_decision(KEY, {"1"}, lambda _seen: decision, ENTRY), locks=(KEY,)
    )
    assert await journal.states() == {"1": "failed"}
    assert await journal.store.read(lambda: transactions.read_audit(0, 10)) == []


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_row_that_another_log_takes_meanwhile_is_left_to_it(
    journal: Journal, database_url: str
) -> None:
    """Another transaction has locked the row when the decision is made, and moves it to another log."""
    await journal.with_failed("1")
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("""SELECT 1 FROM "messageLogs" WHERE "id" = '1' FOR UPDATE""")
        deciding = asyncio.create_task(decided(journal, "1"))
        await waits_for_a_lock(database_url)
        await other.execute("""UPDATE "messageLogs" SET "clientLogId" = 'log-9', "state" = 'planned'""")
        await other.commit()
        await deciding
    rows = await journal.store.read(lambda: transactions.find_unlogged_rows(log_key(9)))
    assert [(row.id, row.state) for row in rows] == [("1", RowState.PLANNED)]
    assert await journal.rows() == {}


# -------------------------------------------------------------------------- a group's log is moved

OF_ONE = KEY._replace(group_contact_id="c-1")
OF_OTHER = KEY._replace(group_contact_id="c-2")
MOVE = LogMove(OF_OTHER, lambda id_, sealed: sealed + f" for {id_}".encode())


def to_other(seen: DecisionContext) -> Decision:
    if seen.taken:
        return Decision(refused="It is taken.")
    return Decision(replace(seen.log, key=OF_OTHER, contact_id="c-2", conversation_id="conv-c-2"))


async def moved(journal: Journal, *ids: str) -> Decision | None:
    locks = (OF_ONE, OF_OTHER, *(key.row(id_) for key in (OF_ONE, OF_OTHER) for id_ in sorted(ids)))
    entry = AuditEntry("grace", "link", "act", KEY.tenant, KEY.platform, OF_ONE.conversation_log_id)
    transaction = partial(transactions.apply_decision, OF_ONE, set(ids), to_other, entry, MOVE)
    return await journal.store.write(transaction, locks=locks)


async def test_a_log_is_moved_with_its_rows_and_attempts(journal: Journal, database_url: str) -> None:
    claim = await journal.claimed("1", key=OF_ONE)
    await journal.save(
        claim.log, became(RowState.FAILED, "1", reason="rejected: no"), attempt=Attempt("create", "Rejected")
    )
    await moved(journal, "1")
    assert await journal.states(OF_OTHER) == {"1": "failed"}
    assert payloads(database_url) == {"1-c-2": b"text 1 0 for 1"}
    log = await journal.log(OF_OTHER)
    assert (log.contact_id, log.conversation_id, log.key) == ("c-2", "conv-c-2", OF_OTHER)
    assert len(await journal.store.read(lambda: transactions.list_attempts(OF_OTHER))) == 1
    assert await journal.store.read(lambda: transactions.find_log_keys(OF_ONE.conversation_log_id)) == []
    stored = run_sql(database_url, 'SELECT "id" FROM "journal"')
    assert [(log.journal,)] == stored, "its keys are this journal's from now on"


async def test_of_two_that_take_one_contact_one_is_first(journal: Journal, database_url: str) -> None:
    """A request for the other contact at the same moment, in another process."""
    async with opened(database_url, journal.clock) as store:
        other = Journal(store, journal.clock, policy=replace(journal.policy, owner="other"))
        for number in range(8):
            run_sql(database_url, 'DELETE FROM "messageLogs"')
            run_sql(database_url, 'DELETE FROM "conversationLogs"')
            await journal.with_failed("1", "2", key=OF_ONE)
            ids = ("1", "2") if number % 2 else ("2", "1")
            decision, accepted = await asyncio.gather(
                moved(journal, "1", "2"), other.accept(*ids, key=OF_OTHER, contact="c-2")
            )
            assert decision is not None
            left = await journal.store.read(lambda: transactions.find_log_keys(OF_ONE.conversation_log_id))
            assert bool(left) == (decision.refused is not None), "moved, or refused"
            assert accepted.held_by is None
            assert len(await journal.states(OF_OTHER)) == 2, "all of it is there, once"


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_row_that_another_log_takes_is_not_moved(journal: Journal, database_url: str) -> None:
    await journal.with_failed("1", "2", key=OF_ONE)
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("""SELECT 1 FROM "messageLogs" WHERE "messageId" = '1' FOR UPDATE""")
        moving = asyncio.create_task(moved(journal, "1", "2"))
        await waits_for_a_lock(database_url)
        await other.execute(
            """UPDATE "messageLogs" SET "clientLogId" = 'log-9', "state" = 'planned' WHERE "messageId" = '1'"""
        )
        await other.commit()
        await moving
    assert await journal.states(OF_OTHER) == {"2": "failed"}
    assert run_sql(
        database_url, """SELECT "clientLogId", "groupContactId" FROM "messageLogs" WHERE "id" = '1-c-1'"""
    ) == [("log-9", "c-1")]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_log_that_is_dropped_while_a_request_waits_for_it_is_made_again(
    journal: Journal, database_url: str
) -> None:
    await journal.with_logged("1")
    async with (
        opened(database_url) as other_store,
        await psycopg.AsyncConnection.connect(database_url) as other,
    ):
        await other.execute("""SELECT 1 FROM "conversationLogs" FOR UPDATE""")
        accepting = asyncio.create_task(Journal(other_store).accept("2"))
        await waits_for_a_lock(database_url)
        await other.execute("""DELETE FROM "messageLogs" """)
        await other.execute("""DELETE FROM "conversationLogs" """)
        await other.commit()
        claim = (await accepting).claim
    assert claim is not None
    assert claim.log.third_party_log_id is None
    assert await journal.states() == {"2": "calling"}


async def waits_for_a_lock(url: str) -> None:
    """Wait until a transaction waits for a lock in this database."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as watching:
        for _ in range(500):
            row = await (await watching.execute(query)).fetchone()
            if row is not None and row[0]:
                return
            await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")
