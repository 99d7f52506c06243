"""Contacts that were found are kept for a while; a contact that is asked for several times is made once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from messagelog.connectors import (
    ConnectorError,
    Contact,
    Credentials,
    CrmHttp,
    NewContact,
    OutcomeUnknown,
    Rejected,
    Session,
    Unavailable,
)
from messagelog.core.contacts.service import ContactService
from messagelog.storage import Sealer, open_store
from messagelog.storage.encryption.sealer import DataKeys
from storage.journal import Clock
from support.live_server import SECRET
from support.memory_crm import Crm, Plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from messagelog.storage import Store

MAYA = "+14155550142"
NINA = NewContact(name="Nina New", phone_number="+14155550188")
MINUTE = 60_000


class Counting(Plain):
    """Counts the questions about contacts; `trouble` may be raised before the work or after it."""

    settle_seconds = 5.0

    def __init__(self, crm: Crm) -> None:
        super().__init__(crm)
        self.asked: list[str] = []
        self.made = 0
        self.before: Exception | None = None
        self.after: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.begun = asyncio.Event()
        self.slow: asyncio.Event | None = None
        self.searching = asyncio.Event()

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        self.asked.append(phone_number)
        if isinstance(self.before, Unavailable):
            raise self.before
        found = await super().find_contact(session, phone_number)
        self.searching.set()
        if self.slow is not None:
            await self.slow.wait()
        return found

    async def create_contact(self, session: Session, contact: NewContact) -> Contact:
        if self.before is not None:
            raise self.before
        self.begun.set()
        if self.gate is not None:
            await self.gate.wait()
        self.made += 1
        found = await super().create_contact(session, contact)
        if self.after is not None:
            raise self.after
        return found


class Bench:
    """A book of contacts on a database, with a CRM behind it and a clock that only the test moves."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.clock = clock
        self.connector = Counting(Crm())
        self.book = self.another(store)

    def another(self, store: Store, *, age: float = 300.0) -> ContactService:
        """A book of another process."""
        return ContactService(store, Sealer(SECRET), age=age, lease=45.0)

    async def find(self, number: str = MAYA, *, tenant: str = "acme", **more: Any) -> list[str]:
        found = await self.book.find(self.connector, session(tenant), number, seconds=5.0, **more)
        return [contact.id for contact in found]

    async def make(
        self, new: NewContact = NINA, *, book: ContactService | None = None, seconds: float = 5.0
    ) -> str:
        made = await (book or self.book).make(self.connector, session(), new, seconds=seconds)
        return made.id


def session(tenant: str = "acme") -> Session:
    http: Any = CrmHttp.__new__(CrmHttp)  # never spoken through: the CRM is in memory
    return Session(http, Credentials(), "", "ada", "Ada", tenant)


@pytest.fixture
async def timed(database_url: str) -> AsyncIterator[tuple[Store, Clock]]:
    clock = Clock()
    store = await open_store(database_url, clock=clock)
    yield store, clock
    await store.close()


@pytest.fixture
def bench(timed: tuple[Store, Clock]) -> Bench:
    return Bench(*timed)


# ------------------------------------------------------------------------------------------------- find


async def test_what_was_found_is_not_asked_again_until_it_is_old(bench: Bench) -> None:
    assert await bench.find() == ["c-1"]
    bench.clock.forward(5 * MINUTE - 1)
    assert await bench.find("+1 415 555 0142") == ["c-1"], "the same number"
    assert bench.connector.asked == [MAYA]
    bench.clock.forward(1)
    bench.connector.crm.contacts.clear()
    assert await bench.find() == [], "what is old is not shown"
    assert bench.connector.asked == [MAYA, MAYA]


async def test_what_was_kept_under_another_secret_key_is_asked_anew(
    bench: Bench, timed: tuple[Store, Clock]
) -> None:
    await bench.find()
    bench.book = ContactService(
        timed[0], Sealer("another secret key, 0123456789abcdef"), age=300.0, lease=45.0
    )
    assert await bench.find() == ["c-1"]
    assert await bench.find() == ["c-1"]
    assert bench.connector.asked == [MAYA, MAYA]


async def test_who_was_made_under_another_secret_key_may_be_there(
    bench: Bench, timed: tuple[Store, Clock]
) -> None:
    await bench.make()
    changed = Sealer(SECRET)
    other = Sealer("another secret key, 0123456789abcdef").with_keys(
        DataKeys(changed.entry_key, changed.account_key)
    )
    book = ContactService(timed[0], other, age=300.0, lease=45.0)
    with pytest.raises(OutcomeUnknown):
        await bench.make(book=book)
    assert bench.connector.made == 1


async def test_all_processes_share_what_was_found(bench: Bench, timed: tuple[Store, Clock]) -> None:
    await bench.find()
    other = bench.another(timed[0])
    (found,) = await other.find(bench.connector, session(), MAYA, seconds=5.0)
    assert found == bench.connector.crm.contacts[0]
    assert bench.connector.asked == [MAYA]


async def test_tenants_do_not_share_what_was_found(bench: Bench) -> None:
    await bench.find()
    await bench.find(tenant="globex")
    assert bench.connector.asked == [MAYA, MAYA]


async def test_a_refresh_asks_the_crm_and_drops_what_is_gone(bench: Bench) -> None:
    await bench.find()
    bench.connector.crm.contacts.clear()
    assert await bench.find(fresh=True) == []
    assert await bench.find() == []
    assert len(bench.connector.asked) == 3, "that no contact has the number is not kept"


async def test_a_crm_that_fails_leaves_what_was_found_as_it_is(bench: Bench) -> None:
    await bench.find()
    bench.connector.before = Unavailable("HTTP 503")
    with pytest.raises(Unavailable):
        await bench.find(fresh=True)
    assert await bench.find() == ["c-1"]


async def test_nothing_is_kept_without_an_age(bench: Bench, timed: tuple[Store, Clock]) -> None:
    bench.book = bench.another(timed[0], age=0)
    assert [await bench.find(), await bench.find()] == [["c-1"], ["c-1"]]
    assert bench.connector.asked == [MAYA, MAYA]


async def test_a_caller_without_a_number_is_asked_for_each_time(bench: Bench) -> None:
    assert [await bench.find("anonymous"), await bench.find("anonymous")] == [[], []]
    assert bench.connector.asked == ["anonymous", "anonymous"]


async def test_each_spelling_is_asked_for_and_each_contact_is_given_once(bench: Bench) -> None:
    bench.connector.crm.contacts += [
        Contact(id="c-3", name="Mai", phone_number="(415) 555-0142"),
        Contact(id="c-1", name="Maya Patel", phone_number="(415) 555-0142"),
    ]
    assert await bench.find(formats=["(***) ***-****"]) == ["c-1", "c-3"]
    assert bench.connector.asked == [MAYA, "(415) 555-0142"]


async def test_the_clients_word_for_a_new_contact_is_nobody(bench: Bench) -> None:
    bench.connector.crm.contacts.append(Contact(id="createNewContact", name="New", phone_number=MAYA))
    assert await bench.find() == ["c-1"]


# ------------------------------------------------------------------------------------------------- make


async def test_a_double_click_makes_one_contact(bench: Bench, database_url: str) -> None:
    """In three processes, as far as the database can tell: each has its own connections."""
    others = [await open_store(database_url, clock=bench.clock) for _ in range(2)]
    books = [bench.book, *map(bench.another, others)]
    ids = await asyncio.gather(*(bench.make(book=books[n % 3]) for n in range(9)))
    assert bench.connector.made == 1
    assert set(ids) == {"c-3"}
    for store in others:
        await store.close()


@pytest.mark.parametrize(
    "again",
    [
        NINA,
        NewContact(name="  nina   NEW ", phone_number="+1 415 555 0188"),
        NewContact(name="Nina New", phone_number="+14155550188", additional_submission={"topic": "x"}),
    ],
)
async def test_the_same_form_a_moment_later_is_the_same_contact(bench: Bench, again: NewContact) -> None:
    assert await bench.make() == await bench.make(again) == "c-3"
    assert bench.connector.made == 1


@pytest.mark.parametrize(
    "other",
    [
        NewContact(name="Nora New", phone_number="+14155550188"),
        NewContact(name="Nina New", phone_number="+14155550189"),
        NewContact(name="Nina New", phone_number="+14155550188", type="lead"),
    ],
)
async def test_another_form_is_another_contact(bench: Bench, other: NewContact) -> None:
    assert await bench.make() != await bench.make(other)
    assert bench.connector.made == 2


async def test_who_has_the_number_is_asked_anew_once_a_contact_was_made(bench: Bench) -> None:
    bench.connector.crm.contacts.append(Contact(id="c-9", name="Mum", phone_number=NINA.phone_number))
    assert await bench.find(NINA.phone_number) == ["c-9"]
    made = await bench.make()
    assert await bench.find(NINA.phone_number) == ["c-9", made]


async def test_a_search_that_began_before_a_contact_was_made_is_not_kept(bench: Bench) -> None:
    """It would hide the new contact for minutes, and the client would remember that for days."""
    bench.connector.crm.contacts.append(Contact(id="c-9", name="Mum", phone_number=NINA.phone_number))
    bench.connector.slow = asyncio.Event()
    searching = asyncio.create_task(bench.find(NINA.phone_number))
    await bench.connector.searching.wait()
    bench.clock.forward(1)
    made = await bench.make()
    bench.connector.slow.set()
    assert await searching == ["c-9"], "what the CRM said before"
    assert await bench.find(NINA.phone_number) == ["c-9", made]


async def test_a_refused_contact_is_begun_anew(bench: Bench) -> None:
    bench.connector.before = Rejected("HTTP 422")
    with pytest.raises(Rejected):
        await bench.make()
    bench.connector.before = None
    assert await bench.make() == "c-3"
    assert bench.connector.asked == [], "nothing was made before, so nothing is looked for"


@pytest.mark.parametrize("lost", [OutcomeUnknown("HTTP 500"), ValueError("a mistake in the connector")])
async def test_a_contact_whose_answer_was_lost_is_found_and_not_made_again(
    bench: Bench, lost: Exception
) -> None:
    bench.connector.after = lost
    with pytest.raises(OutcomeUnknown):
        await bench.make()
    bench.connector.after = None
    with pytest.raises(OutcomeUnknown):
        await bench.make(seconds=0.1)
    bench.clock.forward(5_000)
    assert await bench.make() == "c-3", "its search is up to date now"
    assert bench.connector.made == 1


async def test_a_contact_that_is_not_there_after_a_lost_answer_is_made(bench: Bench) -> None:
    bench.connector.before = OutcomeUnknown("no answer")
    with pytest.raises(OutcomeUnknown):
        await bench.make()
    bench.connector.before = None
    bench.clock.forward(5_000)
    bench.connector.crm.contacts.append(Contact(id="c-9", name="Mum", phone_number=NINA.phone_number))
    assert await bench.make() == "c-4", "another contact has this number"
    assert bench.connector.made == 1


async def test_a_search_that_fails_is_repeated_by_the_next_one(bench: Bench) -> None:
    bench.connector.after = OutcomeUnknown("no answer")
    with pytest.raises(OutcomeUnknown):
        await bench.make()
    bench.clock.forward(5_000)
    bench.connector.before = Unavailable("HTTP 503")
    with pytest.raises(Unavailable):
        await bench.make()
    bench.connector.before = bench.connector.after = None
    assert await bench.make() == "c-3"
    assert bench.connector.made == 1


async def test_a_process_that_died_while_it_made_one_is_taken_up_after_its_lease(bench: Bench) -> None:
    bench.connector.gate = asyncio.Event()
    dying = asyncio.create_task(bench.make())
    await bench.connector.begun.wait()
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    bench.connector.gate.set()
    with pytest.raises(OutcomeUnknown):
        await bench.make(seconds=0.1)
    bench.clock.forward(45_000)
    assert await bench.make() == "c-3"
    assert bench.connector.asked == [NINA.phone_number], "it may have been made"


async def test_who_waits_too_long_is_told_that_it_is_not_clear(bench: Bench) -> None:
    bench.connector.gate = asyncio.Event()
    first = asyncio.create_task(bench.make())
    await bench.connector.begun.wait()
    with pytest.raises(OutcomeUnknown):
        await bench.make(seconds=0.1)
    bench.connector.gate.set()
    assert await first == "c-3"


class Nothing(Counting):
    """Forgets to return the contact."""

    async def create_contact(self, session: Session, contact: NewContact) -> Contact:
        await super().create_contact(session, contact)
        return cast("Contact", None)


async def test_a_connector_that_returns_nothing_has_made_one_all_the_same(bench: Bench) -> None:
    bench.connector = Nothing(bench.connector.crm)
    with pytest.raises(ConnectorError):
        await bench.make()
    bench.clock.forward(5_000)
    assert await bench.make() == "c-3"
    assert bench.connector.made == 1


def test_what_is_kept_tells_nobody_who_it_is(bench: Bench) -> None:
    key = bench.book._key("acme", "memory", NINA)
    assert key[:2] == ("acme", "memory")
    assert "Nina" not in key.key
    assert "4155550188" not in key.key
    assert bench.book._key("acme", "memory", NINA) == key
