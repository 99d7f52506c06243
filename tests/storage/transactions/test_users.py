"""Sessions that end, concurrent refreshes with one winner, and states that are valid once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from messagelog.storage import UserRow, transactions
from storage.journal import START, run_sql

if TYPE_CHECKING:
    from storage.journal import Journal

ADA = UserRow("acme", "crm", "ada", "Ada", "", None, None, b"first", "session-1")
LEASE = 15_000


async def signed_in(journal: Journal, user: UserRow = ADA) -> UserRow:
    return await journal.store.write(lambda: transactions.sign_in(user))


async def found(journal: Journal) -> UserRow:
    row = await journal.store.read(lambda: transactions.find_user("acme", "crm", "ada"))
    assert row is not None
    return row


async def claim(journal: Journal, user: UserRow, owner: str = "me") -> bool:
    return await journal.store.write(lambda: transactions.claim_refresh(user, owner=owner, lease_ms=LEASE))


async def saved(
    journal: Journal, user: UserRow, credentials: bytes | None, owner: str = "me"
) -> UserRow | None:
    return await journal.store.write(lambda: transactions.save_credentials(user, credentials, owner=owner))


async def sign_out(journal: Journal, session_id: str = "session-2") -> UserRow | None:
    return await journal.store.write(
        lambda: transactions.sign_out("acme", "crm", "ada", session_id=session_id)
    )


async def test_a_first_sign_in_begins_a_session(journal: Journal) -> None:
    row = await signed_in(journal)
    assert (row.credentials, row.session_id) == (b"first", "session-1")
    assert row == await found(journal)


async def test_another_sign_in_keeps_the_session_and_takes_the_new_credentials(journal: Journal) -> None:
    await signed_in(journal)
    row = await signed_in(journal, replace(ADA, credentials=b"second", session_id="session-9"))
    assert (row.credentials, row.session_id) == (b"second", "session-1")


async def test_sign_ins_at_once_share_one_session(journal: Journal) -> None:
    users = [replace(ADA, session_id=f"session-{number}") for number in range(8)]
    rows = await asyncio.gather(*(signed_in(journal, user) for user in users))
    assert len({row.session_id for row in rows}) == 1


async def test_a_sign_out_drops_the_credentials_and_begins_a_session_that_no_token_names(
    journal: Journal,
) -> None:
    await signed_in(journal)
    before = await sign_out(journal)
    assert before is not None
    assert (before.credentials, before.session_id) == (b"first", "session-1")
    row = await found(journal)
    assert (row.credentials, row.session_id) == (None, "session-2")
    assert (await signed_in(journal, replace(ADA, session_id="session-3"))).session_id == "session-2"


async def test_nobody_signs_out(journal: Journal, database_url: str) -> None:
    assert await sign_out(journal) is None
    assert run_sql(database_url, 'SELECT COUNT(*) FROM "users"') == [(0,)]


async def test_of_many_claims_of_a_refresh_one_wins(journal: Journal) -> None:
    user = await signed_in(journal)
    won = await asyncio.gather(*(claim(journal, user, f"owner-{number}") for number in range(12)))
    assert sum(won) == 1


async def test_a_claim_holds_until_its_lease_ends(journal: Journal) -> None:
    user = await signed_in(journal)
    assert await claim(journal, user)
    journal.clock.forward(LEASE - 1)
    assert not await claim(journal, user, "other")
    journal.clock.forward(1)
    assert await claim(journal, user, "other")


async def test_only_the_credentials_that_are_there_can_be_claimed(journal: Journal) -> None:
    user = await signed_in(journal)
    assert not await claim(journal, replace(user, credentials=b"of before"))
    assert not await claim(journal, replace(user, id="nobody"))
    await sign_out(journal)
    assert not await claim(journal, user)


async def test_what_a_refresh_came_to_is_saved_and_the_claim_let_go(journal: Journal) -> None:
    user = await signed_in(journal)
    assert await claim(journal, user)
    row = await saved(journal, user, b"second")
    assert row is not None
    assert (row.credentials, row.session_id) == (b"second", "session-1")
    assert await claim(journal, row, "other")


async def test_a_refresh_whose_claim_was_taken_saves_nothing(journal: Journal) -> None:
    user = await signed_in(journal)
    assert await claim(journal, user)
    journal.clock.forward(LEASE)
    assert await claim(journal, user, "other")
    for credentials in (b"late", None):
        row = await saved(journal, user, credentials)
        assert row is not None
        assert row.credentials == b"first"
    row = await saved(journal, user, b"second", "other")
    assert row is not None
    assert row.credentials == b"second"


async def test_a_refresh_never_writes_over_a_sign_in_or_a_sign_out(journal: Journal) -> None:
    user = await signed_in(journal)
    assert await claim(journal, user)
    await signed_in(journal, replace(ADA, credentials=b"signed in anew"))
    row = await saved(journal, user, b"second")
    assert row is not None
    assert row.credentials == b"signed in anew"
    assert await claim(journal, row)
    await sign_out(journal)
    row = await saved(journal, row, b"third")
    assert row is not None
    assert row.credentials is None


async def test_a_claim_that_is_let_go_can_be_taken_at_once(journal: Journal) -> None:
    user = await signed_in(journal)
    assert await claim(journal, user)
    await journal.store.write(lambda: transactions.release_refresh(user, owner="another"))
    assert not await claim(journal, user, "other"), "it was not that one's to let go"
    await journal.store.write(lambda: transactions.release_refresh(user, owner="me"))
    assert await claim(journal, user, "other")


async def test_a_state_is_good_for_once(journal: Journal) -> None:
    async def use() -> bool:
        return await journal.store.write(lambda: transactions.use_state("state", START + 600_000))

    assert sum(await asyncio.gather(*(use() for _ in range(6)))) == 1
    assert not await use()


async def test_states_that_are_too_old_are_forgotten(journal: Journal, database_url: str) -> None:
    assert await journal.store.write(lambda: transactions.use_state("old", START + 1))
    journal.clock.forward(2)
    assert await journal.store.write(lambda: transactions.use_state("new", START + 600_000))
    assert run_sql(database_url, 'SELECT "id" FROM "oauthStates"') == [("new",)]
