"""Two tenants, and two CRMs, with equal ids never see or touch each other's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from messagelog.storage import JournalLookup, LogKey, RowState, UserRow, transactions
from messagelog.storage.records.journal import WaitingChange
from storage.journal import KEY, LEASE, SETTLE, Journal, became, everything, new

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from messagelog.storage import Claim

OTHERS = (KEY._replace(tenant="other"), KEY._replace(platform="other-crm"), KEY._replace(tenant="other-crm"))
NEXT = "conv/7/14/2026"


async def _furnished(journal: Journal, key: LogKey) -> Claim:
    """The same for everybody: 1 is logged, 2 failed in a log of the next day, 3 is being called, 4 waits."""
    await journal.with_logged("1", key=key)
    await journal.with_failed("2", "5", key=key._replace(client_log_id=NEXT))
    claim = await journal.claimed("3", "4", key=key)
    user = UserRow(key.tenant, key.platform, "ada", "Ada", "", None, None, b"x")
    await journal.store.write(lambda: transactions.save_user(user))
    return claim


def _of_others(database_url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of everybody but KEY's tenant and platform."""
    ours = (KEY.tenant, KEY.platform)
    return {
        table: [row for row in rows if row[:2] != ours] for table, rows in everything(database_url).items()
    }


async def _accepted(journal: Journal, _claim: Claim) -> None:
    await journal.accept("1", "2", "3", "4", "6")


async def _replanned(journal: Journal, _claim: Claim) -> None:
    assert (await journal.accept("2", key=KEY._replace(client_log_id="a third"))).claim


async def _repointed(journal: Journal, _claim: Claim) -> None:
    assert (await journal.accept("2", contact="c-2", key=KEY._replace(client_log_id=NEXT))).claim


async def _taken_over(journal: Journal, _claim: Claim) -> None:
    journal.clock.forward(LEASE + SETTLE)
    taken = await journal.as_owner("other").claim()
    assert taken is not None
    assert [row.id for row in taken.rows] == ["3"]


async def _done(journal: Journal, claim: Claim) -> None:
    following = await journal.done(claim)
    assert following is not None
    assert following.step is not None
    assert following.step.ids == ("4",)


async def _failed(journal: Journal, claim: Claim) -> None:
    waiting = WaitingChange(None, RowState.FAILED, "behind: it")
    await journal.save(claim.log, became(RowState.FAILED, "3"), waiting=waiting)


async def _made_anew(journal: Journal, claim: Claim) -> None:
    gone = replace(claim.log, third_party_log_id=None, generation=2)
    following = await journal.save(gone, became(RowState.PLANNED, "3"), recreated=[new("1"), new("2")])
    assert following is not None
    assert following.step is not None
    assert following.step.ids == ("1",)


async def _noted(journal: Journal, claim: Claim) -> None:
    await journal.note(replace(claim.log, blocks=b"x"))


async def _signed_out(journal: Journal, _claim: Claim) -> None:
    tenant, platform, *_ = KEY
    await journal.store.write(lambda: transactions.sign_out(tenant, platform, "ada", session_id="another"))


async def _refreshed(journal: Journal, _claim: Claim) -> None:
    tenant, platform, *_ = KEY
    user = await journal.store.read(lambda: transactions.find_user(tenant, platform, "ada"))
    assert user is not None
    assert await journal.store.write(lambda: transactions.claim_refresh(user, owner="me", lease_ms=LEASE))
    await journal.store.write(lambda: transactions.save_credentials(user, b"y", owner="me"))


async def _signed_in(journal: Journal, _claim: Claim) -> None:
    user = UserRow(KEY.tenant, KEY.platform, "ada", "Changed", "", None, None, None)
    await journal.store.write(lambda: transactions.save_user(user))


WRITES = (
    _accepted,
    _replanned,
    _repointed,
    _taken_over,
    _done,
    _failed,
    _made_anew,
    _noted,
    _signed_in,
    _signed_out,
    _refreshed,
)


@pytest.mark.parametrize("write", WRITES)
async def test_nothing_that_is_written_touches_the_others(
    journal: Journal, database_url: str, write: Callable[[Journal, Claim], Awaitable[None]]
) -> None:
    for key in OTHERS:
        await _furnished(journal, key)
    claim = await _furnished(journal, KEY)
    others, before = _of_others(database_url), everything(database_url)
    await write(journal, claim)
    assert _of_others(database_url) == others
    assert everything(database_url) != before, "though something was written"


async def test_what_is_read_is_ones_own(journal: Journal) -> None:
    for key in OTHERS:
        await _furnished(journal, key)
    stranger = KEY._replace(tenant="a stranger")
    read = journal.store.read
    found = await read(lambda: transactions.look_up_plain(stranger, ["1", "2", "3"]))
    assert found == JournalLookup(frozenset({"1", "2", "3"}))
    assert await read(lambda: transactions.report_rows(stranger, ["1", "2", "3"])) == []
    assert await read(lambda: transactions.find_user(stranger.tenant, stranger.platform, "ada")) is None
    assert await journal.claim(stranger) is None
    claim = await _furnished(journal, KEY)
    assert await read(lambda: transactions.find_entries(claim.log)) == [(1_000, b"hash 1", "1")]
    assert await read(lambda: transactions.find_linked_activities(claim.log)) == set(), (
        "the others' contact is not ours"
    )
    reports = await read(lambda: transactions.report_rows(KEY, ["1", "2", "3"]))
    assert len(reports) == 3


async def test_everybody_logs_the_same_ids(journal: Journal) -> None:
    for key in (KEY, *OTHERS):
        await _furnished(journal, key)
    for key in (KEY, *OTHERS):
        assert await journal.states(key) == {"1": "logged", "3": "calling", "4": "planned"}


async def test_parts_of_a_key_are_not_run_together(journal: Journal) -> None:
    await journal.with_logged("1", key=LogKey("ab", "c", "d"))
    for key in (
        LogKey("a", "bc", "d"),
        LogKey("ab", "cd", ""),
        LogKey("AB", "c", "d"),
        LogKey("ab", "c", "d "),
    ):
        found = await journal.store.read(lambda key=key: transactions.look_up_plain(key, ["1"]))  # type: ignore[misc] # the default binds the loop's value
        assert found.contact_id is None
        assert (found.unlogged == {"1"}) is (key[:2] != ("ab", "c"))
