"""Claiming a conversation log, and journalling the outcome of its call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from messagelog.storage import ClaimLost, LogKey, LogState, RowChange, RowState, transactions
from messagelog.storage.records.journal import LeasePolicy, WaitingChange
from storage.journal import (
    ID,
    LEASE,
    SETTLE,
    START,
    Journal,
    became,
    everything,
    logged,
    new,
    no_plan,
    payloads,
    run_sql,
)
from storage.outcomes import fail, ids_of, lose, park

if TYPE_CHECKING:
    from messagelog.storage import Store

OTHER = LogKey("acme", "crm", "conv/7/14/2026")

# ------------------------------------------------------------------------------------- claim


async def test_a_log_that_nobody_knows_is_not_claimed(journal: Journal) -> None:
    assert await journal.claim() is None


async def test_a_busy_log_is_not_claimed_until_its_lease_ends(journal: Journal, database_url: str) -> None:
    await journal.claimed("1")
    before = everything(database_url)
    journal.clock.forward(LEASE + SETTLE - 1)
    assert await journal.as_owner("other").claim() is None
    assert everything(database_url) == before
    journal.clock.forward(1)
    assert await journal.as_owner("other").claim() is not None


async def test_a_log_with_nothing_to_do_is_not_claimed(journal: Journal, database_url: str) -> None:
    await journal.with_logged("1")
    before = everything(database_url)
    journal.clock.forward(10 * LEASE)
    assert await journal.claim() is None
    assert everything(database_url) == before


async def test_an_expired_lease_with_a_call_under_way_is_recovered_with_its_rows(journal: Journal) -> None:
    claim = await journal.in_batches().claimed("2", "1")
    await journal.accept("3")
    journal.clock.forward(LEASE + SETTLE)
    taken = await journal.as_owner("other").claim()
    assert taken is not None
    assert (taken.reconcile, taken.step) == (True, None)
    assert [(row.id, row.state, row.payload) for row in taken.rows] == [
        ("1", RowState.CALLING, b"text 1 0"),
        ("2", RowState.CALLING, b"text 2 0"),
    ]
    assert (taken.log.owner, taken.log.fence) == ("other", claim.log.fence + 1)
    assert (taken.log.call, taken.log.call_user) == ("create", "ada")
    assert (await journal.log()).due_at == journal.clock.now + LEASE
    assert await journal.states() == {"1": "calling", "2": "calling", "3": "planned"}


async def test_an_unknown_outcome_that_is_due_is_recovered(journal: Journal) -> None:
    await lose(journal, await journal.claimed("1"), 700)
    assert await journal.claim() is None
    journal.clock.forward(700)
    taken = await journal.claim()
    assert taken is not None
    assert taken.reconcile
    assert [(row.id, row.state, row.reason) for row in taken.rows] == [
        ("1", RowState.UNKNOWN, "no_answer: lost")
    ]


async def test_the_fence_grows_with_every_step_and_every_claim(journal: Journal) -> None:
    claim = await journal.claimed("1", "2")
    following = await journal.done(claim)
    assert following is not None
    fences = [claim.log.fence, following.log.fence]
    for _ in range(3):
        journal.clock.forward(LEASE + SETTLE)
        taken = await journal.claim()
        assert taken is not None
        fences.append(taken.log.fence)
    assert fences == [1, 2, 3, 4, 5]
    assert (await journal.log()).fence == 5


async def test_a_parked_log_is_never_claimed(journal: Journal, database_url: str) -> None:
    await park(journal, await journal.claimed("1"))
    before = everything(database_url)
    journal.clock.forward(1000 * LEASE)
    assert await journal.claim() is None
    assert await journal.store.read(lambda: transactions.find_due_logs(["crm"], each=10, tenants=10)) == []
    assert everything(database_url) == before


async def test_a_parked_log_is_not_taken_up_again_whatever_the_wait(journal: Journal) -> None:
    claim = await journal.claimed("1")
    log = replace(claim.log, state=LogState.PARKED, reason="no_answer: lost")
    await journal.save(log, became(RowState.PARKED, "1"), wait_ms=10)
    assert (await journal.log()).due_at is None
    assert await journal.store.read(transactions.find_next_due) is None


async def test_a_log_that_is_due_is_not_claimed_once_it_is_parked(
    journal: Journal, database_url: str
) -> None:
    await lose(journal, await journal.claimed("1"))
    run_sql(database_url, """UPDATE "conversationLogs" SET "state" = 'parked'""")
    journal.clock.forward(LEASE)
    assert await journal.claim() is None


async def test_a_due_log_whose_row_went_elsewhere_is_let_go(journal: Journal) -> None:
    claim = await journal.claimed("1")
    await journal.save(claim.log.without_call(), became(RowState.FAILED, "1"), wait_ms=10)
    journal.clock.forward(10)
    await journal.claimed("1", key=OTHER)
    assert await journal.claim() is None
    await journal.done(await journal.claimed("2"))
    log = await journal.log()
    assert (log.due_at, log.owner) == (None, None)


async def test_wait_ms_lets_the_claim_go_until_then(journal: Journal) -> None:
    claim = await journal.claimed("1")
    log = replace(claim.log.without_call(), attempt_count=1, reason="rate_limited: wait")
    changes = became(RowState.PLANNED, "1", reason="rate_limited: wait")
    assert await journal.save(log, changes, wait_ms=2_500) is None
    saved = await journal.log()
    assert (saved.owner, saved.due_at, saved.attempt_count, saved.reason) == (
        None,
        START + 2_500,
        1,
        "rate_limited: wait",
    )
    assert await journal.store.read(transactions.find_next_due) == 2.5
    assert (await journal.accept("2")).claim is None, "no request shortens the wait"
    journal.clock.forward(2_499)
    assert await journal.claim() is None
    journal.clock.forward(1)
    again = await journal.as_owner("other").claim()
    assert again is not None
    assert (ids_of(again), again.log.attempt_count, again.reconcile) == (("1",), 1, False)


async def test_a_claim_and_its_end_on_the_databases_own_clock(store: Store) -> None:
    short = Journal(store, policy=LeasePolicy("me", lease_ms=0, settle_ms=0, batch=1, journal=ID))
    mine = await short.claimed("1")
    theirs = await short.as_owner("other").claim()
    assert theirs is not None
    assert theirs.reconcile
    with pytest.raises(ClaimLost):
        await short.done(mine)
    assert await short.as_owner("other").done(theirs) is None
    assert await short.states() == {"1": "logged"}


# ------------------------------------------------------------------------------------- save


async def test_confirming_and_the_next_step_are_one_transaction(journal: Journal) -> None:
    claim = await journal.claimed("1")
    await journal.accept("2", user="bob")
    following = await journal.done(claim)
    assert following is not None
    assert following.step is not None
    assert (following.step.call, following.step.user_id, following.step.ids) == ("update", "bob", ("2",))
    assert following.step.rows[0].payload == b"text 2 0"
    assert await journal.states() == {"1": "logged", "2": "calling"}
    log = await journal.log()
    assert (log.third_party_log_id, log.call, log.call_user) == ("a-1", "update", "bob")
    assert (log.owner, log.due_at) == ("me", START + LEASE + SETTLE)


async def test_when_nothing_waits_the_log_is_let_go(journal: Journal) -> None:
    claim = await journal.claimed("1")
    assert await journal.done(claim) is None
    log = await journal.log()
    assert (log.owner, log.due_at, log.call, log.call_user, log.call_version) == (None, None, None, None, 0)
    assert await journal.store.read(transactions.find_next_due) is None
    assert (await journal.claimed("2")).log.fence == claim.log.fence + 1


async def test_what_is_logged_loses_its_text_and_what_failed_keeps_it(
    journal: Journal, database_url: str
) -> None:
    claim = await journal.claimed("1", "2")
    following = await journal.done(claim)
    assert following is not None
    await fail(journal, following)
    rows = await journal.rows()
    assert payloads(database_url) == {"1": None, "2": b"text 2 0"}
    assert (rows["1"].entry_hash, rows["1"].third_party_log_id) == (b"hash 1", "a-1")
    assert (rows["2"].entry_hash, rows["2"].third_party_log_id) == (None, None)
    assert (rows["1"].reason, rows["2"].reason) == (None, "rejected: no")


async def test_what_failed_does_not_hold_up_those_behind(journal: Journal) -> None:
    assert ids_of(await fail(journal, await journal.claimed("1", "2"))) == ("2",)


async def test_without_a_plan_the_claim_is_let_go_with_what_waits(journal: Journal) -> None:
    claim = await journal.claimed("1", "2")
    assert await journal.save(*logged(claim.log, "1"), planner=no_plan) is None
    assert await journal.states() == {"1": "logged", "2": "planned"}
    assert (await journal.log()).owner is None


async def test_all_of_a_log_is_saved(journal: Journal) -> None:
    claim = await journal.claimed("1")
    full = replace(
        claim.log,
        contact_id="c-9",
        contact_name="N",
        contact_type="T",
        text_settings="P",
        reason="R",
        third_party_log_id="a-9",
        generation=3,
        created_by="bob",
        version=2**62,
        blocks=bytes(range(256)),
        call="update",
        call_user="eve",
        call_version=7,
        call_before='{"x":2}',
        attempt_count=4,
        probe_count=5,
    )
    await journal.save(full, (), wait_ms=9)
    assert await journal.log() == replace(
        full, owner=None, due_at=START + 9, created_at=START, updated_at=START
    )


async def test_only_planned_rows_are_a_steps(journal: Journal) -> None:
    journal = journal.in_batches()
    claim = await journal.claimed("1", "2", "3", "4", "5")
    changes = [
        RowChange("1", RowState.LOGGED, None, "a-1"),
        RowChange("2", RowState.FAILED, "no"),
        RowChange("3", RowState.PARKED, "who knows"),
        RowChange("4", RowState.UNKNOWN, "lost"),
        RowChange("5", RowState.PLANNED),
    ]
    assert ids_of(await journal.save(claim.log, changes)) == ("5",)


async def test_a_reason_that_no_database_takes_is_made_readable(journal: Journal) -> None:
    claim = await journal.claimed("1")
    reason = "rejected: half an emoji \ud83d and a \0"
    await journal.save(replace(claim.log, reason=reason), became(RowState.FAILED, "1", reason=reason))
    storable = "rejected: half an emoji ? and a \ufffd"
    assert (await journal.rows())["1"].reason == storable
    assert (await journal.log()).reason == storable


# ------------------------------------------------------------------------------------- the rows behind


async def test_the_rows_of_a_user_that_wait_fail_with_hers(journal: Journal, database_url: str) -> None:
    claim = await journal.claimed("1", "2")
    await journal.accept("3", user="bob")
    waiting = WaitingChange("ada", RowState.FAILED, "behind: sign in")
    changes = became(RowState.FAILED, "1", reason="sign_in: no")
    following = await journal.save(claim.log, changes, waiting=waiting)
    assert ids_of(following) == ("3",)
    rows = await journal.rows()
    assert [rows[id_].reason for id_ in "123"] == ["sign_in: no", "behind: sign in", None]
    assert await journal.states() == {"1": "failed", "2": "failed", "3": "calling"}
    assert payloads(database_url)["2"] == b"text 2 0"


async def test_the_rows_of_everybody_that_wait_are_parked(journal: Journal) -> None:
    claim = await journal.claimed("1", "2")
    await journal.accept("3", user="bob")
    await journal.claimed("8", "9", key=OTHER)
    assert await park(journal, claim) is None
    assert set((await journal.states()).values()) == {"parked"}
    assert await journal.states(OTHER) == {"8": "calling", "9": "planned"}
    log = await journal.log()
    assert (log.state, log.owner, log.due_at) == (LogState.PARKED, None, None)


async def test_only_rows_of_the_gone_activity_are_planned_anew(journal: Journal, database_url: str) -> None:
    await journal.with_logged("1", "2")
    await journal.with_logged("3", key=OTHER)
    await fail(journal, await journal.claimed("4"))
    run_sql(database_url, """UPDATE "messageLogs" SET "thirdPartyLogId" = 'a-0' WHERE "id" = '2'""")
    claim = await journal.claimed("5", user="bob")
    elsewhere = await journal.rows(OTHER)
    gone = replace(claim.log, third_party_log_id=None, generation=2)
    anew = [new(id_, text=f"anew {id_}") for id_ in "654321"]
    following = await journal.save(gone, became(RowState.PLANNED, "5"), recreated=anew)
    assert ids_of(following) == ("1",)
    assert following is not None
    assert following.step is not None
    assert (following.step.call, following.step.user_id) == ("create", "bob"), "in the session of this call"
    assert following.step.rows[0].payload == b"anew 1"
    assert await journal.states() == {
        "1": "calling",
        "2": "logged",
        "4": "failed",
        "5": "planned",
    }
    row = (await journal.rows())["1"]
    assert (row.third_party_log_id, row.entry_hash, row.reason) == (None, None, None)
    assert await journal.rows(OTHER) == elsewhere
    assert payloads(database_url)["5"] == b"text 5 0"
    assert payloads(database_url)["4"] == b"text 4 0"


async def test_rows_of_the_gone_activity_that_no_request_holds_fail_and_can_be_sent_again(
    journal: Journal,
) -> None:
    await journal.with_logged("1", "2")
    await journal.with_logged("3", key=OTHER)
    claim = await journal.claimed("4")
    gone = replace(claim.log, third_party_log_id=None, generation=2)
    following = await journal.save(gone, became(RowState.PLANNED, "4"), recreated=[new("2")])
    assert ids_of(following) == ("2",)
    assert await journal.states() == {"1": "failed", "2": "calling", "4": "planned"}
    assert await journal.states(OTHER) == {"3": "logged"}
    assert (await journal.rows())["1"].reason == "deleted: the activity that held it was deleted in the CRM"
    await journal.accept("1", "2", "4")
    assert (await journal.states())["1"] == "planned"


async def test_what_is_planned_anew_waits_when_the_claim_is_let_go(journal: Journal) -> None:
    await journal.with_logged("1")
    claim = await journal.claimed("2")
    gone = replace(claim.log.without_call(), third_party_log_id=None, generation=2)
    assert await journal.save(gone, became(RowState.PLANNED, "2"), recreated=[new("1")], wait_ms=0) is None
    assert await journal.states() == {"1": "planned", "2": "planned"}
    assert ids_of(await journal.claim()) == ("1",)


# ------------------------------------------------------------------------------------- note


async def test_a_note_is_there_for_who_recovers_the_call(journal: Journal) -> None:
    claim = await journal.claimed("1")
    journal.clock.forward(40_000)
    await journal.note(replace(claim.log, call_before="digest", blocks=b"sent", text_settings="{1}"))
    log = await journal.log()
    assert (log.call_before, log.blocks, log.text_settings) == ("digest", b"sent", "{1}")
    assert (log.fence, log.owner) == (1, "me"), "the claim still stands"
    assert log.due_at == journal.clock.now + LEASE + SETTLE, "the lease begins anew"
    journal.clock.forward(LEASE + SETTLE)
    taken = await journal.as_owner("other").claim()
    assert taken is not None
    assert (taken.log.call_before, taken.log.blocks, taken.log.call) == ("digest", b"sent", "create")


async def test_the_next_step_does_not_see_the_note_of_the_one_before(journal: Journal) -> None:
    claim = await journal.claimed("1", "2")
    noted = replace(claim.log, call_before="digest")
    await journal.note(noted)
    following = await journal.save(*logged(noted, "1"))
    assert following is not None
    assert following.log.call_before is None
    assert (await journal.log()).call_before is None
