"""Shared threads: one row per log, whose snapshots replace each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from messagelog.storage import Claim, LogKey, NewRow, RowChange, RowState, UserRow, transactions
from messagelog.storage.records.journal import SignInPause, WaitingChange
from storage import journal as journals
from storage.journal import (
    LEASE,
    SETTLE,
    Clock,
    Journal,
    became,
    everything,
    logged,
    new,
    opened,
    payloads,
    plan,
    run_sql,
)
from storage.outcomes import fail, ids_of, lose, park, wait

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = journals.KEY._replace(shared=True)
NAME = KEY.client_log_id  # a shared thread's row has the id of its log


@pytest.fixture
async def journal(database_url: str, clock: Clock) -> AsyncIterator[Journal]:
    """The journal, with a view of one thread."""
    async with opened(database_url, clock) as store:
        yield Journal(store, clock, key=KEY)


def snapshot(version: int) -> NewRow:
    return new(NAME, at=1, version=version, text=f"snapshot {version}")


async def begun(journal: Journal, version: int) -> Claim:
    return await journal.claimed(snapshot(version))


async def in_state(journal: Journal, state: str) -> None:
    """Version 5 in this state; the CRM has none but where it is logged."""
    claim = await begun(journal, 5)
    assert claim.log.shared
    if state == "logged":
        await journal.done(claim)
    elif state != "calling":
        await {"failed": fail, "parked": park, "planned": wait, "unknown": lose}[state](journal, claim)
    assert await journal.states() == {NAME: state}


def sent(claim: Claim | None) -> bytes | None:
    """The text of a claim's step."""
    assert ids_of(claim) == (NAME,)
    assert claim is not None
    assert claim.step is not None
    return claim.step.rows[0].payload


@pytest.mark.parametrize("state", ["planned", "calling", "unknown", "logged", "parked"])
@pytest.mark.parametrize("version", [4, 5])
async def test_an_older_or_equal_snapshot_changes_nothing(
    journal: Journal, database_url: str, state: str, version: int
) -> None:
    await in_state(journal, state)
    before = everything(database_url)
    answer = await journal.accept(snapshot(version), user="bob")
    assert (answer.claim, answer.held_by) == (None, None)
    assert everything(database_url) == before


@pytest.mark.parametrize("version", [4, 5, 6])
async def test_any_snapshot_that_the_crm_does_not_have_replaces_one_that_failed(
    journal: Journal, version: int
) -> None:
    await in_state(journal, "failed")
    claim = await begun(journal, version)
    assert claim.log.call_version == version
    assert sent(claim) == f"snapshot {version}".encode()


async def test_a_snapshot_that_the_crm_has_does_not_replace_one_that_failed(journal: Journal) -> None:
    await journal.done(await begun(journal, 3))
    await fail(journal, await begun(journal, 5))
    before = await journal.rows()
    assert (await journal.accept(snapshot(3))).claim is None
    assert await journal.rows() == before


@pytest.mark.parametrize("state", ["planned", "calling", "unknown", "parked"])
async def test_a_newer_snapshot_waits_in_the_state_of_the_older(
    journal: Journal, database_url: str, state: str
) -> None:
    await in_state(journal, state)
    before = (await journal.rows())[NAME]
    assert (await journal.accept(snapshot(6), user="bob")).claim is None
    row = (await journal.rows())[NAME]
    user = "ada" if state == "unknown" else "bob"  # only ada's session can reconcile ada's call
    assert (row.state, row.version, row.user_id, row.reason) == (state, 6, user, before.reason)
    assert payloads(database_url) == {NAME: b"snapshot 6"}


async def test_a_newer_snapshot_than_the_logged_is_an_update(journal: Journal) -> None:
    await in_state(journal, "logged")
    assert (await journal.log()).version == 5
    claim = await begun(journal, 6)
    assert claim.step is not None
    assert (claim.step.call, claim.step.version, claim.log.call_version) == ("update", 6, 6)
    await journal.done(claim)
    assert (await journal.log()).version == 6
    assert await journal.states() == {NAME: "logged"}


async def test_of_several_that_wait_only_the_newest_is_sent(journal: Journal, database_url: str) -> None:
    claim = await begun(journal, 1)
    for version in (3, 7, 5, 2):
        await journal.accept(snapshot(version))
    following = await journal.done(claim)
    assert sent(following) == b"snapshot 7"
    assert following is not None
    assert await journal.done(following) is None
    assert (await journal.rows())[NAME].version == 7
    assert payloads(database_url) == {NAME: None}


@pytest.mark.parametrize("state", [RowState.LOGGED, RowState.FAILED])
async def test_a_newer_one_that_arrives_during_a_call_outlives_its_end(
    journal: Journal, database_url: str, state: RowState
) -> None:
    claim = await begun(journal, 1)
    await journal.accept(snapshot(2), user="bob")
    following = await (journal.done(claim) if state is RowState.LOGGED else fail(journal, claim))
    assert sent(following) == b"snapshot 2"
    assert following is not None
    assert (following.log.call_user, following.log.call_version) == ("bob", 2)
    assert following.log.call == ("update" if state is RowState.LOGGED else "create")
    row = (await journal.rows())[NAME]
    assert (row.state, row.version, row.reason) == (RowState.CALLING, 2, None)
    assert payloads(database_url) == {NAME: b"snapshot 2"}


async def test_a_newer_one_that_arrives_during_a_call_outlives_it_though_the_claim_is_let_go(
    journal: Journal, database_url: str
) -> None:
    claim = await begun(journal, 1)
    await journal.accept(snapshot(2))
    assert await journal.save(*logged(claim.log, NAME), wait_ms=0) is None
    assert await journal.states() == {NAME: "planned"}
    assert payloads(database_url) == {NAME: b"snapshot 2"}


@pytest.mark.parametrize("state", [RowState.UNKNOWN, RowState.PLANNED, RowState.PARKED])
async def test_a_newer_one_that_arrives_during_a_call_shares_an_outcome_that_is_none(
    journal: Journal, state: RowState
) -> None:
    claim = await begun(journal, 1)
    await journal.accept(snapshot(2))
    await journal.save(claim.log, became(state, NAME, reason="why"), wait_ms=1_000)
    row = (await journal.rows())[NAME]
    assert (row.state, row.version, row.reason) == (state, 2, "why")


async def test_an_equal_or_older_one_that_arrives_during_a_call_is_done_with_it(
    journal: Journal, database_url: str
) -> None:
    claim = await begun(journal, 2)
    await journal.accept(snapshot(2))
    await journal.accept(snapshot(1))
    assert await journal.done(claim) is None
    assert payloads(database_url) == {NAME: None}


async def test_a_newer_one_of_another_user_does_not_fail_with_the_older(journal: Journal) -> None:
    claim = await begun(journal, 1)
    await journal.accept(snapshot(2), user="bob")
    waiting = WaitingChange("ada", RowState.FAILED, "behind: sign in")
    following = await journal.save(claim.log, became(RowState.FAILED, NAME), waiting=waiting)
    assert sent(following) == b"snapshot 2"


async def test_a_newer_one_that_takes_over_a_lost_call_waits_until_it_is_found_out_about(
    journal: Journal,
) -> None:
    await begun(journal, 1)
    journal.clock.forward(LEASE + SETTLE)
    claim = await begun(journal, 2)
    assert claim.reconcile
    assert claim.log.call_version == 1, "what the lost call was about"
    change = RowChange(NAME, RowState.LOGGED, None, "a-1", b"hash", erase=True)
    assert sent(await journal.save(claim.log, [change])) == b"snapshot 2"


async def test_a_parked_thread_keeps_its_newest_text(journal: Journal, database_url: str) -> None:
    claim = await begun(journal, 1)
    await journal.accept(snapshot(2))
    await park(journal, claim)
    await journal.accept(snapshot(3))
    row = (await journal.rows())[NAME]
    assert (row.state, row.reason) == (RowState.PARKED, "no_answer: lost")
    assert payloads(database_url) == {NAME: b"snapshot 3"}


async def test_a_message_that_has_a_threads_id_is_not_its_snapshot(
    journal: Journal, database_url: str
) -> None:
    other = LogKey("acme", "crm", "another")
    await journal.claimed(new(NAME, text="a message"), key=other)
    before = await journal.rows(other)
    assert sent(await begun(journal, 9)) == b"snapshot 9"
    assert await journal.rows(other) == before
    kept = run_sql(database_url, 'SELECT "clientLogId", "payload" FROM "messageLogs"')
    assert dict(kept) == {"another": b"a message", NAME: b"snapshot 9"}


async def test_who_waits_is_told_the_version_that_the_crm_has(journal: Journal) -> None:
    claim = await begun(journal, 4)
    await journal.accept(snapshot(6))
    await journal.done(claim)
    (report,) = await journal.store.read(lambda: transactions.report_rows(KEY, [NAME]))
    assert (report.id, report.state, report.version) == (NAME, RowState.CALLING, 4)
    found = await journal.store.read(lambda: transactions.look_up_plain(KEY, [NAME]))
    assert (found.unlogged, found.version, found.linked) == (frozenset([NAME]), 4, True)


@pytest.mark.parametrize("other", [KEY._replace(tenant="globex"), KEY._replace(platform="other")])
async def test_threads_of_two_tenants_or_platforms_do_not_replace_each_other(
    journal: Journal, other: LogKey
) -> None:
    first = await begun(journal, 5)
    second = await journal.claimed(snapshot(2), key=other)
    assert sent(second) == b"snapshot 2"
    await journal.done(first)
    assert await journal.states() == {NAME: "logged"}
    assert (await journal.rows(other))[NAME].version == 2
    assert await journal.states(other) == {NAME: "calling"}
    assert ((await journal.log()).version, (await journal.log(other)).version) == (5, 0)


# ------------------------------------------------------------------------ a colleague's newer snapshot


async def signed_in(journal: Journal, user: str) -> bytes:
    """Sign a user in with new credentials, and return them."""
    credentials = f"sealed of {user}".encode()
    row = UserRow("acme", "crm", user, user, "", None, None, credentials, session_id="s")
    await journal.store.write(lambda: transactions.sign_in(row))
    return credentials


async def test_a_colleagues_newer_snapshot_does_not_wait_for_the_user_of_the_call(journal: Journal) -> None:
    refused = await signed_in(journal, "ada")
    await signed_in(journal, "bob")
    claim = await begun(journal, 1)
    await journal.accept(snapshot(2), user="bob")
    following = await journal.store.write(
        lambda: transactions.save_outcome(
            claim.log.without_call(),
            became(RowState.WAITING, NAME, reason="sign_in: no"),
            plan,
            journal.policy,
            waiting=WaitingChange("ada", RowState.WAITING, "sign_in: no"),
            pause=SignInPause("ada", refused),
        )
    )
    assert sent(following) == b"snapshot 2"
    assert following is not None
    assert following.log.call_user == "bob"


@pytest.mark.parametrize("when", ["during the call", "while it is unknown"])
async def test_a_lost_call_is_asked_about_when_its_user_signs_in_whoever_brought_a_newer_snapshot(
    journal: Journal, when: str
) -> None:
    refused = await signed_in(journal, "ada")
    claim: Claim | None = await begun(journal, 1)
    assert claim is not None
    if when == "during the call":
        await journal.accept(snapshot(2), user="bob")
    await lose(journal, claim, ms=0)
    if when != "during the call":
        claim = (await journal.accept(snapshot(2), user="bob")).claim
    else:
        claim = await journal.claim()
    assert claim is not None
    asked, changes = replace(claim.log, probe_count=1), became(RowState.UNKNOWN, NAME, reason="sign_in: no")
    pause = SignInPause("ada", refused)
    await journal.store.write(
        lambda: transactions.save_outcome(asked, changes, plan, journal.policy, wait_ms=1_000, pause=pause)
    )
    assert (await journal.log()).due_at is None
    await signed_in(journal, "bob")
    assert await journal.claim() is None
    await signed_in(journal, "ada")
    again = await journal.claim()
    assert again is not None
    assert (again.reconcile, [row.payload for row in again.rows]) == (True, [b"snapshot 2"])
