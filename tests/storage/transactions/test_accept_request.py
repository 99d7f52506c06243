"""A request's messages are journalled once, and claimed when no process works on their conversation log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from messagelog.storage import LogKey, LogState, RowState
from storage.journal import (
    KEY,
    LEASE,
    SETTLE,
    START,
    Journal,
    became,
    everything,
    logged,
    new,
    payloads,
    run_sql,
)

if TYPE_CHECKING:
    from messagelog.storage import Store

OTHER = LogKey("acme", "crm", "conv/7/14/2026")


async def test_a_new_log_is_made_and_claimed_with_its_oldest_message(journal: Journal) -> None:
    claim = await journal.claimed("3", "1", "2", text_settings='{"zone":"UTC"}')
    assert claim.key == KEY
    assert not claim.reconcile
    assert claim.step is not None
    assert (claim.step.call, claim.step.user_id, claim.step.ids) == ("create", "ada", ("1",))
    assert claim.step.rows[0].payload == b"text 1 0"
    assert await journal.states() == {"1": "calling", "2": "planned", "3": "planned"}
    log = await journal.log()
    assert (log.owner, log.fence, log.due_at) == ("me", 1, START + LEASE + SETTLE)
    assert (log.call, log.call_user, log.generation, log.attempt_count) == ("create", "ada", 1, 0)
    assert (log.contact_id, log.contact_name, log.text_settings) == ("c-1", "name of c-1", '{"zone":"UTC"}')
    assert log == replace(claim.log, due_at=log.due_at, created_at=START, updated_at=START)


async def test_a_claim_is_made_on_the_databases_own_clock(store: Store) -> None:
    journal = Journal(store)
    claim = await journal.claimed("1")
    log = await journal.log()
    assert log.due_at is not None
    assert abs(log.due_at - LEASE - SETTLE - log.created_at) < 5_000
    assert log.created_at <= log.updated_at
    assert await journal.claim() is None, "its lease has only begun"
    assert await journal.done(claim) is None
    assert await journal.states() == {"1": "logged"}


async def test_a_batch_is_a_step_of_all_that_waits(journal: Journal) -> None:
    claim = await journal.in_batches().claimed("2", "10", "1")
    assert claim.step is not None
    assert claim.step.ids == ("1", "2", "10")
    assert set((await journal.states()).values()) == {"calling"}


async def test_rows_of_one_time_are_in_the_order_of_their_numbers(journal: Journal) -> None:
    claim = await journal.in_batches().claimed(*(new(id_, at=5) for id_ in ("10", "9", "b", "11", "a")))
    assert claim.step is not None
    assert claim.step.ids == ("9", "a", "b", "10", "11")


async def test_an_older_message_that_waits_goes_first(journal: Journal) -> None:
    claim = await journal.claimed("5")
    await journal.accept("7")
    await journal.save(claim.log.without_call(), became(RowState.PLANNED, "5"), wait_ms=100)
    journal.clock.forward(100)
    again = await journal.claimed("6")
    assert again.step is not None
    assert again.step.ids == ("5",)
    assert await journal.states() == {"5": "calling", "6": "planned", "7": "planned"}


async def test_the_same_request_again_joins_the_first(journal: Journal, database_url: str) -> None:
    await journal.claimed("1", "2")
    before = everything(database_url)
    again = await journal.as_owner("other").accept(new("1", text="changed"), "2")
    assert again.claim is None
    assert again.held_by is None
    assert everything(database_url) == before, "nothing was written"


async def test_a_message_twice_in_a_request_is_one_row(journal: Journal) -> None:
    await journal.claimed("1", "1", "2")
    assert await journal.states() == {"1": "calling", "2": "planned"}


async def test_new_messages_wait_behind_the_call_under_way(journal: Journal) -> None:
    claim = await journal.claimed("1")
    assert (await journal.accept("1", "2", user="bob")).claim is None
    assert await journal.states() == {"1": "calling", "2": "planned"}
    following = await journal.done(claim)
    assert following is not None
    assert following.step is not None
    assert (following.step.call, following.step.user_id, following.step.ids) == ("update", "bob", ("2",))


async def test_a_log_that_waits_for_its_time_is_not_claimed(journal: Journal) -> None:
    claim = await journal.claimed("1")
    await journal.save(claim.log.without_call(), became(RowState.PLANNED, "1"), wait_ms=5_000)
    assert (await journal.accept("2")).claim is None
    journal.clock.forward(5_000)
    due = (await journal.accept("3")).claim
    assert due is not None
    assert due.step is not None
    assert due.step.ids == ("1",)


async def test_a_failed_message_is_planned_anew_with_its_new_text(
    journal: Journal, database_url: str
) -> None:
    await journal.with_failed("1", "2")
    claim = await journal.claimed(new("1", at=9_000, text="better"), user="bob")
    assert claim.step is not None
    assert (claim.step.ids, claim.step.user_id) == (("1",), "bob")
    assert claim.step.rows[0].payload == b"better"
    row = (await journal.rows())["1"]
    assert (row.state, row.reason, row.sent_at, row.user_id) == (RowState.CALLING, None, 9_000, "bob")
    assert payloads(database_url) == {"1": b"better", "2": b"text 2 0"}
    assert (await journal.states())["2"] == "failed", "what was not sent again stays"


async def test_a_logged_message_is_left_alone(journal: Journal) -> None:
    await journal.with_logged("1")
    before = await journal.rows()
    again = await journal.accept(new("1", text="changed"), "2")
    assert again.claim is not None
    assert again.claim.step is not None
    assert again.claim.step.ids == ("2",)
    assert (await journal.rows())["1"] == before["1"]


async def test_only_known_messages_claim_nothing(journal: Journal) -> None:
    await journal.with_logged("1")
    assert (await journal.accept("1")).claim is None
    log = await journal.log()
    assert (log.owner, log.due_at, log.call, log.fence) == (None, None, None, 1)


@pytest.mark.parametrize("state", ["planned", "calling", "unknown", "logged", "parked"])
async def test_the_same_id_under_another_log_joins(journal: Journal, state: str) -> None:
    claim = await journal.claimed("1", "2")
    if state == "unknown":
        await journal.save(claim.log, became(RowState.UNKNOWN, "1"), wait_ms=1_000)
    elif state == "logged":
        await journal.done(claim)
    elif state == "parked":
        await journal.save(claim.log, became(RowState.PARKED, "1"))
    id_ = "2" if state == "planned" else "1"
    before = await journal.rows()
    accepted = await journal.accept(id_, "9", key=OTHER)
    assert accepted.claim is not None
    assert accepted.claim.step is not None
    assert accepted.claim.step.ids == ("9",)
    assert await journal.rows() == before
    assert await journal.states(OTHER) == {"9": "calling"}


async def test_a_failed_message_may_go_to_another_log(journal: Journal) -> None:
    await journal.with_failed("1", "2")
    claim = await journal.claimed("1", key=OTHER)
    assert claim.step is not None
    assert claim.step.ids == ("1",)
    assert await journal.states() == {"2": "failed"}
    assert await journal.states(OTHER) == {"1": "calling"}
    assert (await journal.accept("1")).claim is None, "it is the other log's now"


async def test_a_parked_log_keeps_what_is_new_parked(journal: Journal, database_url: str) -> None:
    await journal.with_failed("4", key=OTHER)
    await journal.with_parked("1")
    assert (await journal.accept("2", "1", "4")).claim is None
    rows = await journal.rows()
    assert {id_: (row.state, row.reason) for id_, row in rows.items()} == {
        "1": (RowState.PARKED, "no_answer: lost"),
        "2": (RowState.PARKED, "behind: one before it is parked (no_answer: lost)"),
        "4": (RowState.PARKED, "behind: one before it is parked (no_answer: lost)"),
    }
    assert payloads(database_url)["2"] == b"text 2 0", "kept for the person who decides"
    log = await journal.log()
    assert (log.due_at, log.owner, log.fence) == (None, None, 1)


async def test_a_reason_of_before_is_not_the_new_messages(journal: Journal) -> None:
    claim = await journal.claimed("1")
    log = replace(claim.log, reason="rejected: no")
    await journal.save(log, became(RowState.FAILED, "1", reason="rejected: no"))
    await journal.in_batches().accept("2")
    assert (await journal.rows())["2"].reason is None


@pytest.mark.parametrize("state", ["calling", "waiting", "logged", "parked"])
async def test_a_log_of_another_contact_is_held(journal: Journal, database_url: str, state: str) -> None:
    claim = await journal.claimed("1")
    if state == "waiting":
        await journal.save(claim.log.without_call(), became(RowState.PLANNED, "1"), wait_ms=5_000)
        journal.clock.forward(5_000)
    elif state == "logged":
        await journal.done(claim)
    elif state == "parked":
        log = replace(claim.log, state=LogState.PARKED, reason="no_answer: lost")
        await journal.save(log, became(RowState.PARKED, "1"))
    before = everything(database_url)
    held = await journal.accept("1", "2", contact="c-2")
    assert held.held_by == ("c-1", "name of c-1")
    assert held.claim is None
    assert everything(database_url) == before


async def test_a_log_that_never_reached_the_crm_may_go_to_another_contact(journal: Journal) -> None:
    await journal.with_failed("1", "2", text_settings="old")
    claim = await journal.claimed("1", contact="c-2", text_settings="new")
    assert claim.log.generation == 2, "the other contact's create has a key of its own"
    log = await journal.log()
    assert (log.contact_id, log.contact_name, log.text_settings) == ("c-2", "name of c-2", "new")
    assert (log.generation, log.fence) == (2, 2)
    assert await journal.states() == {"1": "calling", "2": "failed"}
    assert (await journal.accept("2", contact="c-1")).held_by == ("c-2", "name of c-2")


async def test_a_log_may_go_to_another_contact_with_nothing_to_do(journal: Journal) -> None:
    await journal.with_logged("1", key=OTHER)
    await journal.accept("1")
    moved = await journal.accept("1", contact="c-2")
    assert moved.claim is None
    assert moved.held_by is None
    assert ((await journal.log()).contact_id, (await journal.log()).generation) == ("c-2", 2)


async def test_a_due_call_of_before_is_found_out_about_first(journal: Journal) -> None:
    await journal.claimed("1")
    journal.clock.forward(LEASE + SETTLE)
    claim = (await journal.as_owner("other").accept("2")).claim
    assert claim is not None
    assert claim.reconcile
    assert claim.step is None
    assert [row.id for row in claim.rows] == ["1"]
    assert (claim.log.owner, claim.log.fence, claim.log.call) == ("other", 2, "create")
    assert await journal.states() == {"1": "calling", "2": "planned"}


async def test_what_a_request_brings_is_stored_as_it_is(journal: Journal, database_url: str) -> None:
    text = "\x00\xff'\"\\%s$1:now{}\N{PILE OF POO}\u0301"
    id_ = "i'd\"\\{},%s$1:now \N{PILE OF POO}"
    key = LogKey("ten'ant", 'cr"m', f"log {id_}")
    claim = await journal.claimed(new(id_, at=7_258_118_399_999, version=2**62, text=text), key=key, user=id_)
    assert claim.step is not None
    assert claim.step.ids == (id_,)
    await journal.save(*logged(claim.log, id_, activity=id_))
    row = (await journal.rows(key))[id_]
    assert (row.third_party_log_id, row.user_id, row.version) == (id_, id_, 2**62)
    assert run_sql(database_url, 'SELECT "entryHash" FROM "messageLogs"') == [(f"hash {id_}".encode(),)]
    assert claim.step.rows[0].payload == text.encode()
