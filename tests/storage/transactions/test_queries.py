"""What the journal tells: to a request, to a waiter, to the sweeper, to people. Equal ids do not mix."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from messagelog.storage import JournalLookup, LogKey, LogState, RowChange, RowState, UserRow, transactions
from messagelog.storage.records.journal import SignInPause
from messagelog.storage.records.limits import LimiterChange
from storage.journal import KEY, LEASE, SETTLE, START, Journal, everything, logged, payloads, plan, run_sql
from storage.outcomes import fail, ids_of, park, wait

if TYPE_CHECKING:
    from collections.abc import Sequence

    from messagelog.storage import Store

NEIGHBOURS = [KEY._replace(tenant="globex"), KEY._replace(platform="other")]


def log_key(number: int) -> LogKey:
    return LogKey("acme", "crm", f"log-{number}")


# ------------------------------------------------------------------------------------- tenants and platforms


@pytest.mark.parametrize("other", NEIGHBOURS)
async def test_equal_ids_of_two_tenants_or_platforms_never_meet(journal: Journal, other: LogKey) -> None:
    ours = await journal.claimed("1", "2")
    theirs = await journal.claimed("1", "2", key=other, contact="c-9", user="zoe")
    assert (ids_of(theirs), theirs.log.fence) == (("1",), 1), "it is no known message there"
    rows, log = await journal.rows(other), await journal.log(other)
    await journal.done(ours, activity="a-1")
    await park(journal, await journal.claimed("7", key=log_key(7)))
    assert (await journal.rows(other), await journal.log(other)) == (rows, log)
    assert await journal.states() == {"1": "logged", "2": "calling"}
    before = await journal.rows()
    await park(journal, theirs)
    assert await journal.rows() == before
    assert await journal.states(other) == {"1": "parked", "2": "parked"}
    assert (await journal.log()).state is LogState.OPEN
    found = await journal.store.read(lambda: transactions.look_up_plain(other, ["1", "2", "3"]))
    assert found == JournalLookup(frozenset("123"), "c-9", "name of c-9", 0, LogState.PARKED)


@pytest.mark.parametrize("other", NEIGHBOURS)
async def test_nothing_is_told_of_another_tenant_or_platform(
    journal: Journal, database_url: str, other: LogKey
) -> None:
    await journal.with_logged("1")
    assert await journal.store.read(lambda: transactions.look_up_plain(other, ["1"])) == JournalLookup(
        frozenset("1")
    )
    assert await journal.store.read(lambda: transactions.report_rows(other, ["1"])) == []
    elsewhere = replace(await journal.log(), key=other)
    assert await journal.store.read(lambda: transactions.find_entries(elsewhere)) == []
    elsewhere = replace(elsewhere, key=other._replace(client_log_id="another"))
    assert await journal.store.read(lambda: transactions.find_linked_activities(elsewhere)) == frozenset()
    before = everything(database_url)
    assert await journal.claim(other) is None
    assert everything(database_url) == before


# ------------------------------------------------------------------------------------- for requests and waiters


async def test_look_up_tells_what_is_not_logged_and_whose_the_log_is(journal: Journal) -> None:
    async def found(*ids: str, key: LogKey = KEY) -> JournalLookup:
        known = await journal.store.read(
            lambda: transactions.look_up_everywhere(key, ids, "c-1", None, with_facts=False)
        )
        assert await journal.store.read(lambda: transactions.look_up_plain(key, ids)) == known
        return known

    assert await found("1") == JournalLookup(frozenset("1"))
    claim = await journal.claimed("1", "2")
    assert await found("1", "2", "9") == JournalLookup(frozenset("129"), "c-1", "name of c-1", 0)
    following = await journal.done(claim)
    assert await found("1", "2", "9") == JournalLookup(frozenset("29"), "c-1", "name of c-1", 0, linked=True)
    assert await found("1") == JournalLookup(frozenset(), "c-1", "name of c-1", 0, linked=True)
    assert await found() == JournalLookup(frozenset(), "c-1", "name of c-1", 0, linked=True)
    assert await found("1", "2", key=log_key(2)) == JournalLookup(frozenset("2")), "logged, under another log"
    assert following is not None
    await park(journal, following)
    assert (await found("1", "2")).state is LogState.PARKED


async def test_many_ids_in_one_look_up(journal: Journal) -> None:
    ids = [str(number) for number in range(150)]
    await journal.done(await journal.in_batches().claimed(*ids))
    odd = "x'\"{},\\"
    found = await journal.store.read(lambda: transactions.look_up_plain(KEY, [*ids, odd, "NULL", ""]))
    assert found.unlogged == {odd, "NULL", ""}


async def test_report_rows_tells_the_states_of_those_it_knows(journal: Journal) -> None:
    await journal.with_logged("1")
    await fail(journal, await journal.claimed("2"))
    await journal.claimed("3", key=log_key(3))
    ids = ["1", "2", "3", "unknown"]
    reports = await journal.store.read(lambda: transactions.report_rows(KEY, ids))
    assert {report.id: (report.state, report.reason, report.version) for report in reports} == {
        "1": (RowState.LOGGED, None, 0),
        "2": (RowState.FAILED, "rejected: no", 0),
        "3": (RowState.CALLING, None, 0),
    }
    assert await journal.store.read(lambda: transactions.report_rows(KEY, [])) == []


async def test_entries_are_those_of_the_activity_only(journal: Journal) -> None:
    await journal.with_logged("1", "2")
    await fail(journal, await journal.claimed("3"))
    await journal.with_logged("4", key=log_key(4))
    log = await journal.log()
    entries = await journal.store.read(lambda: transactions.find_entries(log))
    assert sorted(entries) == [(1_000, b"hash 1", "1"), (2_000, b"hash 2", "2")]
    gone = replace(log, third_party_log_id="a-2")
    assert await journal.store.read(lambda: transactions.find_entries(gone)) == []


async def test_linked_activities_are_the_contacts_others(journal: Journal) -> None:
    for number, contact in enumerate(["c-1", "c-1", "c-2"]):
        claim = await journal.claimed(str(number), key=log_key(number), contact=contact)
        await journal.done(claim, activity=f"a-{number}")
    await journal.claimed("9", key=log_key(9))
    log = await journal.log(log_key(0))
    assert await journal.store.read(lambda: transactions.find_linked_activities(log)) == {"a-1"}


# ------------------------------------------------------------------------------------- for the sweeper


async def test_due_logs_are_the_longest_due_first_and_no_more_than_asked_for(journal: Journal) -> None:
    waits = [50, 10, 40, 20, 30, 31]
    for number, ms in enumerate(waits):
        await wait(journal, await journal.claimed(str(number), key=log_key(number)), ms)
    await journal.with_logged("logged", key=log_key(10))
    await park(journal, await journal.claimed("parked", key=log_key(11)))
    assert await due(journal, 10) == []
    journal.clock.forward(30)
    assert await due(journal, 10) == [log_key(1), log_key(3), log_key(4)]
    assert await due(journal, 2) == [log_key(1), log_key(3)]
    journal.clock.forward(100)
    assert len(await due(journal, 10)) == 6
    assert await journal.claim(log_key(1)) is not None
    assert log_key(1) not in await due(journal, 10)


async def due(
    journal: Journal, each: int, tenants: int = 10, platforms: Sequence[str] = ("crm",), after: str = ""
) -> list[LogKey]:
    return await journal.store.read(
        lambda: transactions.find_due_logs(platforms, each=each, tenants=tenants, after=after)
    )


async def test_due_logs_of_a_platform_that_is_gone_hide_nothing(journal: Journal) -> None:
    for number, platform in enumerate(["gone", "gone", "crm", "other"]):
        key = LogKey(f"tenant-{number}", platform, "log")
        await wait(journal, await journal.claimed("1", key=key), number)
    journal.clock.forward(10)
    served = await due(journal, 2, 2, ["crm", "other", "new"])
    assert [key.platform for key in served] == ["crm", "other"]
    assert await due(journal, 2, 2, []) == []


async def test_due_logs_of_one_tenant_do_not_hide_those_of_another(journal: Journal) -> None:
    """However many wait, and however long: of each tenant some are found, and of many tenants those who are next."""
    for number in range(12):
        await wait(
            journal, await journal.claimed(f"a{number}", key=LogKey("acme", "crm", f"log-{number}")), 1
        )
    for tenant in ("bolt", "coda", "dune"):
        await wait(journal, await journal.claimed("1", key=LogKey(tenant, "crm", "log")), 20)
    journal.clock.forward(30)
    assert Counter(key.tenant for key in await due(journal, 3)) == {
        "acme": 3,
        "bolt": 1,
        "coda": 1,
        "dune": 1,
    }
    first = await due(journal, 1, 2)
    assert [key.tenant for key in first] == ["acme", "bolt"]
    second = await due(journal, 1, 2, after="bolt")
    assert [key.tenant for key in second] == ["coda", "dune"]
    assert [key.tenant for key in await due(journal, 1, 3, after="coda")] == ["dune", "acme", "bolt"]


async def test_due_logs_leave_out_tenants_whose_crm_is_not_to_be_called(journal: Journal) -> None:
    for tenant in ("acme", "bolt"):
        await wait(journal, await journal.claimed("1", key=LogKey(tenant, "crm", "log")), 1)
    until = journal.clock() + 60

    def held(_pace: str, _now: int) -> tuple[LimiterChange, None]:
        return LimiterChange("{}", "open", until, until, until), None

    await journal.store.write(lambda: transactions.update_limiter("acme", "crm", held))
    journal.clock.forward(30)
    assert [key.tenant for key in await due(journal, 3)] == ["bolt"]
    journal.clock.forward(30)
    assert [key.tenant for key in await due(journal, 3)] == ["acme", "bolt"]


async def test_next_due_is_in_seconds(journal: Journal) -> None:
    async def due() -> float | None:
        return await journal.store.read(transactions.find_next_due)

    assert await due() is None
    await wait(journal, await journal.claimed("1", key=log_key(1)), 9_500)
    await wait(journal, await journal.claimed("2", key=log_key(2)), 2_500)
    assert await due() == 2.5
    journal.clock.forward(2_500)
    assert await due() == 0.0
    journal.clock.forward(10_000)
    assert await due() == 0.0
    assert await journal.claim(log_key(2)) is not None
    assert await journal.claim(log_key(1)) is not None
    assert await due() == (LEASE + SETTLE) / 1000


# ------------------------------------------------------------------------------------- for people


async def test_list_logs_tells_the_last_changed_first_with_its_counts(journal: Journal) -> None:
    for number in range(4):
        journal.clock.forward(10)
        await journal.claimed(f"{number}1", f"{number}2", key=log_key(number))
    journal.clock.forward(10)
    claim = await journal.claimed("x1", "x2", "x3", key=log_key(9))
    await journal.done(claim)
    found = await journal.store.read(lambda: transactions.list_logs(3))
    assert [each.log.key for each in found] == [log_key(9), log_key(3), log_key(2)]
    assert found[0].counts == {"logged": 1, "calling": 1, "planned": 1}
    assert found[1].counts == {"calling": 1, "planned": 1}
    assert found[0].log == await journal.log(log_key(9))
    assert len(await journal.store.read(lambda: transactions.list_logs(100))) == 5


async def test_there_may_be_nothing_to_list(journal: Journal) -> None:
    assert await journal.store.read(lambda: transactions.list_logs(10)) == []
    assert await journal.store.read(lambda: transactions.show_logs("1")) == []


async def test_show_logs_finds_by_the_logs_id_and_by_a_messages(journal: Journal) -> None:
    await journal.with_logged("2", "10", "1")
    await journal.claimed("1", key=NEIGHBOURS[0])
    await journal.claimed("3", key=NEIGHBOURS[1])
    by_log = await journal.store.read(lambda: transactions.show_logs(KEY.conversation_log_id))
    assert [log.key for log, _ in by_log] == [KEY, NEIGHBOURS[1], NEIGHBOURS[0]]
    assert [row.id for row in by_log[0][1]] == ["1", "2", "10"]
    assert {row.payload for _, rows in by_log for row in rows} == {None}, "no text, sealed or not, for people"
    by_message = await journal.store.read(lambda: transactions.show_logs("1"))
    assert [(log.key, [row.id for row in rows]) for log, rows in by_message] == [
        (KEY, ["1", "2", "10"]),
        (NEIGHBOURS[0], ["1"]),
    ], "only those that hold it"


async def test_a_logs_id_is_looked_for_before_a_messages(journal: Journal) -> None:
    await journal.claimed("log-1", key=log_key(2))
    await journal.claimed("1", key=log_key(1))
    shown = await journal.store.read(lambda: transactions.show_logs("log-1"))
    assert [log.key for log, _ in shown] == [log_key(1)]


# ------------------------------------------------------------------------------------- users


async def test_a_user_is_written_over(journal: Journal) -> None:
    user = UserRow("acme", "crm", "ada", "Ada", "crm.test", "Europe/Rome", "+01:00", b"\0sealed\xff")

    async def found(tenant: str = "acme", platform: str = "crm", id_: str = "ada") -> UserRow | None:
        return await journal.store.read(lambda: transactions.find_user(tenant, platform, id_))

    assert await found() is None
    await journal.store.write(lambda: transactions.save_user(user))
    assert await found() == replace(user, created_at=START, updated_at=START)
    journal.clock.forward(5)
    changed = UserRow("acme", "crm", "ada", "Ada L.", "", None, None, None)
    await journal.store.write(lambda: transactions.save_user(changed))
    assert await found() == replace(changed, created_at=START, updated_at=START + 5)
    assert await found(tenant="globex") is None
    assert await found(platform="other") is None
    assert await found(id_="Ada") is None
    for other in (replace(user, tenant="globex"), replace(user, platform="other"), replace(user, id="Ada")):
        await journal.store.write(partial(transactions.save_user, other))
    assert await found() == replace(changed, created_at=START, updated_at=START + 5)


async def test_the_databases_own_clock_is_in_milliseconds(store: Store, database_url: str) -> None:
    """Both databases tell the time alike, to some seconds."""
    journal = Journal(store)
    claim = await journal.claimed("1")
    journal_time = (await journal.log()).created_at
    ((row_time,),) = run_sql(database_url, 'SELECT "createdAt" FROM "messageLogs"')
    assert 0 <= row_time - journal_time < 5_000
    assert 1_700_000_000_000 < journal_time < 4_000_000_000_000
    await journal.save(*logged(claim.log, "1"), wait_ms=60_000)
    due = await store.read(transactions.find_next_due)
    assert due is not None
    assert 50 < due <= 60
    assert payloads(database_url) == {"1": None}


async def test_every_list_of_logs_tells_all_of_a_log(journal: Journal) -> None:
    claim = await journal.claimed("1")
    told = replace(
        claim.log, rejection_count=2, earlier='["a-0"]', body_size=7, attempt_count=3, probe_count=4
    )
    await journal.save(told, wait_ms=1_000)
    read = journal.store.read
    ((listed, _),) = await read(lambda: transactions.find_logs_of_contact("acme", "crm", "c-1"))
    (summary,) = await read(lambda: transactions.list_logs(5))
    assert listed == summary.log == await journal.log()
    assert (listed.rejection_count, listed.created_at, listed.updated_at) == (2, START, START)


async def test_what_stands_behind_a_lost_answer_that_waits_for_a_sign_in_says_so(journal: Journal) -> None:
    claim = await journal.claimed("1")
    await journal.accept("2", user="bob")
    asked = replace(claim.log, reason="no_answer: lost", probe_count=1)
    changes = [RowChange("1", RowState.UNKNOWN, "sign_in: no")]
    pause = SignInPause("ada", None)
    await journal.store.write(
        lambda: transactions.save_outcome(asked, changes, plan, journal.policy, wait_ms=1_000, pause=pause)
    )
    reports = await journal.store.read(lambda: transactions.report_rows(KEY, ["1", "2"]))
    assert {report.id: report.reason for report in reports} == {"1": "sign_in: no", "2": "no_answer: lost"}
