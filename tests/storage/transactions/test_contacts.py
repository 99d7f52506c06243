"""Contacts that were found have an age; of several who make the same contact, one does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from messagelog.storage import open_store, transactions
from messagelog.storage.records.contacts import FoundContacts, NewContactClaim, NewContactKey, NewContactState
from storage.journal import Clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from messagelog.storage import Store

MAYA = ("acme", "crm", "+14155550142")
NINA = NewContactKey("acme", "crm", "nina")
MINE = NewContactClaim(mine=True)
ASK_FIRST = NewContactClaim(mine=True, ask_first=True)
SOMEBODY_ELSES = NewContactClaim()
LEASE, HOLD = 45_000, 60_000
DAY = 86_400_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def timed(database_url: str, clock: Clock) -> AsyncIterator[Store]:
    """The journal, with a clock that only the test moves."""
    store = await open_store(database_url, clock=clock)
    yield store
    await store.close()


async def keep(
    store: Store, contacts: bytes, who: tuple[str, str, str] = MAYA, *, asked_at: int | None = None
) -> None:
    asked = (await found(store, who)).now if asked_at is None else asked_at
    await store.write(lambda: transactions.keep_contacts(*who, contacts, asked_at=asked, age_ms=300_000))


async def found(store: Store, who: tuple[str, str, str] = MAYA) -> FoundContacts:
    return await store.read(lambda: transactions.find_contacts(*who))


async def kept(store: Store, who: tuple[str, str, str] = MAYA) -> bytes | None:
    return (await found(store, who)).contacts


async def claimed(store: Store, owner: str, key: NewContactKey = NINA) -> NewContactClaim:
    return await store.write(lambda: transactions.claim_new_contact(key, owner, LEASE))


async def settle(store: Store, owner: str, state: NewContactState, contact: bytes | None = None) -> None:
    await store.write(lambda: transactions.save_new_contact(NINA, owner, state, HOLD, contact))


# ------------------------------------------------------------------------------------------------ found


async def test_what_was_found_has_its_age(timed: Store, clock: Clock) -> None:
    assert await found(timed) == FoundContacts(None, 0, clock.now)
    await keep(timed, b"one")
    clock.forward(1234)
    assert await found(timed) == FoundContacts(b"one", 1234, clock.now)
    await keep(timed, b"two")
    assert await found(timed) == FoundContacts(b"two", 0, clock.now)


async def test_tenants_and_platforms_keep_their_own(store: Store) -> None:
    await keep(store, b"one")
    assert await kept(store, ("globex", "crm", "+14155550142")) is None
    assert await kept(store, ("acme", "other", "+14155550142")) is None
    await store.write(lambda: transactions.forget_contacts("globex", "crm", "+14155550142"))
    assert await kept(store) == b"one"


async def test_what_nobody_has_is_dropped_unless_it_was_found_since(timed: Store, clock: Clock) -> None:
    asked_at = clock.now
    clock.forward(1)
    await keep(timed, b"one")
    await timed.write(lambda: transactions.drop_contacts(*MAYA, asked_at=asked_at))
    assert await kept(timed) == b"one"
    await timed.write(lambda: transactions.drop_contacts(*MAYA, asked_at=clock.now))
    assert await kept(timed) is None


async def test_what_was_asked_for_before_it_was_forgotten_is_not_kept(timed: Store, clock: Clock) -> None:
    await keep(timed, b"one")
    asked_at = clock.now
    clock.forward(1)
    await timed.write(lambda: transactions.forget_contacts(*MAYA))
    assert await kept(timed) is None
    await keep(timed, b"of before", asked_at=asked_at)
    assert await kept(timed) is None
    await timed.write(lambda: transactions.drop_contacts(*MAYA, asked_at=asked_at))
    await keep(timed, b"of before", asked_at=asked_at)
    assert await kept(timed) is None
    await keep(timed, b"of now")
    assert await kept(timed) == b"of now"


async def test_what_is_too_old_is_dropped_whoever_keeps_something(timed: Store, clock: Clock) -> None:
    await keep(timed, b"one")
    clock.forward(300_001)
    await keep(timed, b"two", ("globex", "crm", "+1"))
    assert await kept(timed) is None


# --------------------------------------------------------------------------------------------- in making


async def test_one_of_several_at_once_makes_the_contact(store: Store) -> None:
    claims = await asyncio.gather(*(claimed(store, f"owner {n}") for n in range(20)))
    assert claims.count(MINE) == 1
    assert claims.count(SOMEBODY_ELSES) == 19


async def test_who_comes_later_is_given_what_was_made_a_moment_ago(timed: Store, clock: Clock) -> None:
    assert await claimed(timed, "first") == MINE
    assert await claimed(timed, "second") == SOMEBODY_ELSES
    await settle(timed, "first", NewContactState.MADE, b"sealed")
    assert await claimed(timed, "second") == NewContactClaim(contact=b"sealed")
    clock.forward(HOLD)
    assert await claimed(timed, "third") == ASK_FIRST, "it may still be there"


async def test_a_contact_that_was_not_made_is_begun_anew(store: Store) -> None:
    await claimed(store, "first")
    await store.write(lambda: transactions.drop_new_contact(NINA, "first"))
    assert await claimed(store, "second") == MINE


async def test_an_unknown_outcome_is_waited_for_and_then_asked_about(timed: Store, clock: Clock) -> None:
    await claimed(timed, "first")
    await settle(timed, "first", NewContactState.UNKNOWN)
    assert await claimed(timed, "second") == SOMEBODY_ELSES
    clock.forward(HOLD)
    assert await claimed(timed, "second") == ASK_FIRST


async def test_who_did_not_end_in_time_has_no_say_any_more(timed: Store, clock: Clock) -> None:
    await claimed(timed, "first")
    clock.forward(LEASE)
    assert await claimed(timed, "second") == ASK_FIRST
    await settle(timed, "first", NewContactState.MADE, b"late")
    await timed.write(lambda: transactions.drop_new_contact(NINA, "first"))
    assert await claimed(timed, "third") == SOMEBODY_ELSES
    await settle(timed, "second", NewContactState.MADE, b"sealed")
    assert await claimed(timed, "third") == NewContactClaim(contact=b"sealed")


async def test_what_was_made_long_ago_is_forgotten(timed: Store, clock: Clock) -> None:
    await claimed(timed, "first")
    await settle(timed, "first", NewContactState.MADE, b"sealed")
    clock.forward(HOLD + DAY + 1)
    assert await claimed(timed, "second") == MINE


@pytest.mark.parametrize("other", [NINA._replace(tenant="globex"), NINA._replace(platform="x")])
async def test_tenants_and_platforms_make_their_own(store: Store, other: NewContactKey) -> None:
    await claimed(store, "first")
    assert await claimed(store, "second", other) == MINE
