"""A clock that was wrong: what it has dated far ahead holds nothing up once it is right again."""

from __future__ import annotations

import pytest

from messagelog.storage import LogKey, UserRow, transactions
from messagelog.storage.records.contacts import NewContactKey, NewContactState
from messagelog.storage.records.limits import LimiterChange
from storage.journal import LEASE, Journal
from storage.outcomes import wait

YEAR = 365 * 86_400_000
HOUR = 3_600_000
LONGEST = transactions.LONGEST_DELAY_MS + LEASE
NINA = NewContactKey("acme", "crm", "nina")
ADA = UserRow("acme", "crm", "ada", "Ada", "", None, None, b"first", "session-1")


def log_key(number: int) -> LogKey:
    return LogKey("acme", "crm", f"log-{number}")


class Ahead:
    """The clock is ahead for a while."""

    def __init__(self, journal: Journal, ms: int = YEAR) -> None:
        self._journal, self._ms = journal, ms

    def __enter__(self) -> None:
        self._journal.clock.forward(self._ms)

    def __exit__(self, *_: object) -> None:
        self._journal.clock.forward(-self._ms)


async def misdated(journal: Journal) -> list[LogKey]:
    return await journal.store.read(lambda: transactions.find_misdated_logs(LONGEST))


async def redated(journal: Journal) -> None:
    keys = await misdated(journal)
    await journal.store.write(lambda: transactions.redate_logs(keys, longest_ms=LONGEST, lease_ms=LEASE))


async def due(journal: Journal) -> list[str]:
    keys = await journal.store.read(lambda: transactions.find_due_logs(["crm"], each=10, tenants=10))
    return [key.conversation_log_id for key in keys]


async def test_what_waits_until_far_away_is_due(journal: Journal) -> None:
    with Ahead(journal):
        await wait(journal, await journal.claimed("1", key=log_key(1)), 2_000)
    await wait(journal, await journal.claimed("2", key=log_key(2)), 4 * HOUR)
    assert await misdated(journal) == [log_key(1)]
    await redated(journal)
    assert await misdated(journal) == []
    assert await due(journal) == [log_key(1).conversation_log_id], "and what waits for hours still does"
    assert await journal.claim(log_key(1)) is not None


async def test_what_somebody_may_be_working_on_is_due_when_a_lease_is_over(journal: Journal) -> None:
    """Its holder has the time of a call left, by a clock of its own."""
    with Ahead(journal):
        await journal.claimed("1", key=log_key(1))
    await redated(journal)
    assert await due(journal) == []
    journal.clock.forward(LEASE)
    assert await due(journal) == [log_key(1).conversation_log_id]
    claim = await journal.claim(log_key(1))
    assert claim is not None
    assert claim.reconcile


@pytest.mark.parametrize("ms", [1, LEASE, 24 * HOUR])
async def test_no_wait_of_ours_is_taken_for_a_mistake(journal: Journal, ms: int) -> None:
    await wait(journal, await journal.claimed("1", key=log_key(1)), ms)
    await journal.claimed("2", key=log_key(2))
    assert await misdated(journal) == []
    with Ahead(journal, -1_000):  # set right by a second
        assert await misdated(journal) == []


async def test_what_was_worked_on_since_it_was_read_stays(journal: Journal) -> None:
    with Ahead(journal):
        await wait(journal, await journal.claimed("1", key=log_key(1)), 2_000)
    keys = await misdated(journal)
    await redated(journal)
    assert await journal.claim(log_key(1)) is not None
    before = (await journal.log(log_key(1))).due_at
    await journal.store.write(lambda: transactions.redate_logs(keys, longest_ms=LONGEST, lease_ms=LEASE))
    assert (await journal.log(log_key(1))).due_at == before


async def test_a_tenant_whose_crm_is_left_alone_until_far_away_is_not(journal: Journal) -> None:
    await wait(journal, await journal.claimed("1", key=log_key(1)), 1)
    until = journal.clock() + YEAR

    def held(_pace: str, _now: int) -> tuple[LimiterChange, None]:
        return LimiterChange("{}", "open", until, until, until), None

    await journal.store.write(lambda: transactions.update_limiter("acme", "crm", held))
    journal.clock.forward(2)
    assert await due(journal) == [log_key(1).conversation_log_id]


async def test_the_claim_of_a_refresh_ends(journal: Journal) -> None:
    async def claimed(owner: str) -> bool:
        return await journal.store.write(lambda: transactions.claim_refresh(ADA, owner=owner, lease_ms=LEASE))

    await journal.store.write(lambda: transactions.sign_in(ADA))
    with Ahead(journal):
        assert await claimed("who died")
    assert await claimed("me")
    with Ahead(journal, -1_000):
        assert not await claimed("another"), "a clock that is set right by a second takes it from nobody"


async def test_a_contact_that_was_being_made_may_be_made(journal: Journal) -> None:
    with Ahead(journal):
        first = await journal.store.write(lambda: transactions.claim_new_contact(NINA, "who died", LEASE))
        assert first.mine
    second = await journal.store.write(lambda: transactions.claim_new_contact(NINA, "me", LEASE))
    assert second.mine
    assert second.ask_first
    await journal.store.write(
        lambda: transactions.save_new_contact(NINA, "me", NewContactState.MADE, 60_000, b"nina")
    )
    with Ahead(journal, -1_000):
        third = await journal.store.write(lambda: transactions.claim_new_contact(NINA, "another", LEASE))
        assert third.contact == b"nina"


async def test_contacts_that_were_found_in_the_future_are_asked_for_and_replaced(journal: Journal) -> None:
    place = ("acme", "crm", "+14155550142")

    async def keep(what: bytes, asked_at: int) -> None:
        await journal.store.write(
            lambda: transactions.keep_contacts(*place, what, asked_at=asked_at, age_ms=HOUR)
        )

    with Ahead(journal):
        await keep(b"then", journal.clock())
    kept = await journal.store.read(lambda: transactions.find_contacts(*place))
    assert kept.age_ms < 0
    await keep(b"now", kept.now)
    kept = await journal.store.read(lambda: transactions.find_contacts(*place))
    assert (kept.contacts, kept.age_ms) == (b"now", 0)
    with Ahead(journal):
        await keep(b"then", journal.clock())
    await journal.store.write(lambda: transactions.drop_contacts(*place, asked_at=journal.clock()))
    assert (await journal.store.read(lambda: transactions.find_contacts(*place))).contacts is None


async def test_an_operators_session_of_the_future_has_ended(journal: Journal) -> None:
    async def begin(session: str) -> None:
        await journal.store.write(lambda: transactions.begin_session("grace", "a hash", session))

    async def found(session: str) -> object:
        return await journal.store.read(lambda: transactions.find_session(session))

    await journal.store.write(lambda: transactions.add_operator("grace", "a hash", "text"))
    with Ahead(journal):
        await begin("then")
        assert await found("then")
    assert await found("then") is None
    await begin("now")
    with Ahead(journal, -1_000):
        assert await found("now")
