"""What a text takes from look-ups, the session and the settings is journalled before its call leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from messagelog.connectors import Contact, Rejected, Session, Unavailable
from messagelog.core import Times
from messagelog.core.delivery.payload import Payload, open_payload
from messagelog.core.users.settings import Locale
from messagelog.storage.transactions import Query
from messagelog.storage.transactions.mapping import key_params, row_from
from support.memory_crm import Appending, Batches, Call, Crm, Finding, Plain, ReadingBack, Upserting
from support.requests import JORDAN, MAYA, OMAR, body, message, thread
from support.runtime_fixture import RuntimeFixture, runtime_fixture
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from messagelog.storage import LogRow, MessageRow
    from messagelog.storage.transactions import Transaction

FAST = Times(answer=0.3, call=5, lease=60)

MAYAS, OMARS, STRANGERS = "+14155550142", "+14155550177", "+14155550188"
NAMELESS = tuple({"phoneNumber": number} for number in (OMARS, STRANGERS, MAYAS))


class Clock:
    """The database's clock, in a test's hands."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


def group(
    *messages: dict[str, Any], among: tuple[dict[str, Any], ...] = NAMELESS, **more: Any
) -> dict[str, Any]:
    return body(*messages, correspondents=among, **more)


def said_by(number: str, id_: int = 1, **more: Any) -> dict[str, Any]:
    return message(id_, **{"from": {"phoneNumber": number}, **more})


def heading(here: RuntimeFixture) -> list[str]:
    return [line.strip() for line in here.crm.only.body.split("\n\n")[0].split("\n")]


def speakers(here: RuntimeFixture) -> list[str]:
    return [block.split("\n")[0].partition("] ")[2] for block in here.crm.only.body.split("\n\n")[1:]]


# --------------------------------------------------------------------------------------------- groups


@pytest.mark.parametrize("connector", [Plain, Batches, Upserting, ReadingBack])
async def test_a_groups_contact_is_found_by_its_number(database_url: str, connector: type[Plain]) -> None:
    async with runtime_fixture(database_url, connector) as here:
        await here.send(group(*(said_by(number, n) for n, number in enumerate((OMARS, MAYAS, STRANGERS), 1))))
        assert heading(here)[0] == f"Conversation with Maya Patel ({MAYAS})"
        assert f"Also taking part: {OMARS}, {STRANGERS}" in heading(here)
        assert speakers(here) == [OMARS, "Maya Patel", STRANGERS]


async def test_a_name_alone_never_makes_somebody_the_contact(database_url: str) -> None:
    among = ({"phoneNumber": STRANGERS, "name": "Maya Patel"}, {"phoneNumber": MAYAS, "name": "Flowers & Co"})
    async with runtime_fixture(database_url) as here:
        await here.send(group(said_by(STRANGERS), said_by(MAYAS, 2), among=among))
        assert heading(here)[0] == f"Conversation with Maya Patel ({MAYAS})"
        assert f"Also taking part: Maya Patel ({STRANGERS})" in heading(here)
        assert speakers(here) == [STRANGERS, "Maya Patel"]


async def test_two_contacts_of_one_number_are_each_found_by_it(database_url: str) -> None:
    crm = Crm()
    crm.contacts.append(Contact(id="c-3", name="Ravi Patel", phone_number=MAYAS))
    async with runtime_fixture(database_url, crm=crm) as here:
        await here.send(group(said_by(MAYAS), contact="c-3", name="Ravi Patel"))
        assert heading(here)[0] == f"Conversation with Ravi Patel ({MAYAS})"
        assert speakers(here) == ["Ravi Patel"]


@pytest.mark.parametrize("written", ["4155550142", "(415) 555-0142", "1 415 555 0142", "+1 (415) 555-0142"])
@pytest.mark.parametrize("ours", [JORDAN, {"name": "Jordan Lee"}])
async def test_a_number_without_country_code_is_one_of_the_accounts_country(
    database_url: str, written: str, ours: dict[str, str]
) -> None:
    # Where our own number does not tell the country, the operator has.
    locale = Locale(country="US" if "phoneNumber" not in ours else "")
    async with runtime_fixture(database_url, locale=locale) as here:
        request = group(
            said_by(written), said_by(MAYAS, 2), among=(OMAR, {"phoneNumber": written}), self=ours
        )
        await here.send(request)
        assert heading(here)[0] == f"Conversation with Maya Patel ({written})"
        assert f"Also taking part: Omar Reyes ({OMARS})" in heading(here)
        assert speakers(here) == ["Maya Patel", "Maya Patel"]


async def test_one_correspondent_is_the_contact_however_the_number_is_written(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(body(*(said_by(each, n) for n, each in enumerate(("4155550142", MAYAS, OMARS), 1))))
        assert speakers(here) == ["Maya Patel", "Maya Patel", OMARS]


class Spelling(Plain):
    """A CRM that knows numbers in one spelling only."""

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        return await super().find_contact(session, MAYAS if phone_number == "(415) 555-0142" else "")


async def test_a_groups_numbers_are_asked_for_as_the_users_crm_spells_them(database_url: str) -> None:
    async with runtime_fixture(database_url, Spelling) as here:
        request = group(said_by(MAYAS))
        request["overridingFormat"] = ["(***) ***-****"]
        await here.send(request)
        assert heading(here)[0] == f"Conversation with Maya Patel ({MAYAS})"


class Deaf(ReadingBack):
    """A CRM that cannot be searched for contacts while `error` is set."""

    error: Exception | None = None
    asked = 0

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return await super().find_contact(session, phone_number)


@pytest.mark.parametrize("error", [Rejected("HTTP 400"), Unavailable("no connection"), ValueError("broken")])
async def test_a_look_up_that_fails_does_not_keep_a_message_out(database_url: str, error: Exception) -> None:
    made: list[Deaf] = []

    def deaf(crm: Crm) -> Deaf:
        made.append(Deaf(crm))
        made[0].error = error
        return made[0]

    async with runtime_fixture(database_url, deaf) as here:
        assert (await here.send(group(said_by(MAYAS)))).successful
        assert heading(here)[0] == "Conversation with Maya Patel"
        assert speakers(here) == [MAYAS]


async def test_a_look_up_that_failed_is_made_again_when_the_message_was_not_sent(database_url: str) -> None:
    clock, crm = Clock(), Crm()
    made: list[Deaf] = []

    def deaf(crm: Crm) -> Deaf:
        made.append(Deaf(crm))
        return made[0]

    async with runtime_fixture(database_url, deaf, crm=crm, settings=FAST, clock=clock) as here:
        made[0].error = Unavailable("no connection")
        crm.before = lambda _call: Unavailable("no connection")
        await here.send(group(said_by(MAYAS)))
        await here.runtime.idle()
        made[0].error = crm.before = None
        clock.forward(600)
        await here.runtime.sweep()
        await here.runtime.idle()
        assert heading(here)[0] == f"Conversation with Maya Patel ({MAYAS})"
        assert speakers(here) == ["Maya Patel"]


# ---------------------------------------------------------------------------- the session and the settings


async def test_our_side_is_the_signed_in_user(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        ours: dict[str, Any] = {"from": {"phoneNumber": "+14155550101"}}
        sent = message(1, direction="Outbound", to=[MAYA], **ours)
        await here.send(body(sent, self={"phoneNumber": "+14155550101"}))
        assert "Agent: Ada" in heading(here)
        assert speakers(here) == ["Ada"]


async def test_a_thread_names_the_user_only_where_nobody_else_is_known(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        request = thread("hello")
        for entity in request["logInfo"]["entities"]:
            entity["direction"] = "Outbound"
        request["logInfo"]["owner"] = {"extensionId": "9"}
        await here.send(request)
        assert speakers(here) == ["Ada"]


# ------------------------------------------------------------------------------------------- lost answers


async def _crashed_during(here: RuntimeFixture, kind: str, request: dict[str, Any]) -> None:
    """Sends a request, and crashes when the CRM has done a call of this kind but not answered."""
    gate = asyncio.Event()
    here.crm.before = lambda call: setattr(here.crm, "gate", gate if call.kind == kind else None)
    waiting = asyncio.create_task(here.send(request))
    await until(lambda: here.crm.gate is not None)
    await asyncio.sleep(0.02)
    tasks = list(here.runtime._dispatcher._working.values())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (await waiting).successful
    here.crm.before = here.crm.gate = None


Change = "Callable[[Crm], None]"


def _renamed(crm: Crm) -> None:
    crm.contacts[:] = [Contact(id="c-1", name="Maya Singh", phone_number="+14155550100")]


def _moved(crm: Crm) -> None:
    crm.contacts[:] = [Contact(id="c-1", name="Maya Patel", phone_number=STRANGERS)]


def _gone(crm: Crm) -> None:
    crm.contacts.clear()


@pytest.mark.parametrize("change", [_renamed, _moved, _gone])
@pytest.mark.parametrize("kind", ["create", "update"])
@pytest.mark.parametrize("connector", [Upserting, Finding, ReadingBack])
async def test_recovery_says_what_was_said_whatever_the_crm_says_now(
    database_url: str, connector: type[Plain], kind: str, change: Callable[[Crm], None]
) -> None:
    """The very same words: so it is known that the message is there, and it is not written once more."""
    clock, crm = Clock(), Crm()
    requests = [group(said_by(MAYAS, 1)), group(said_by(MAYAS, 1), said_by(MAYAS, 2))]
    async with runtime_fixture(database_url, connector, crm=crm, settings=FAST, clock=clock) as here:
        if kind == "update":
            await here.send(requests[0])
        await _crashed_during(here, kind, requests[kind == "update"])
    change(crm)
    other = Locale(language="ja", zone="Asia/Tokyo", country="DE")
    async with runtime_fixture(
        database_url, connector, crm=crm, settings=FAST, clock=clock, locale=other
    ) as again:
        clock.forward(61)
        await again.runtime.sweep()
        await again.runtime.idle()
        assert set((await again.states()).values()) == {"logged"}
        assert set(speakers(again)) == {"Maya Patel"}
        assert [crm.only.body.count(f"text {n}") for n in range(1, 2 + (kind == "update"))] == [1] * (
            1 + (kind == "update")
        )


async def test_an_uncertain_word_stays_where_the_message_may_be_in_the_crm(database_url: str) -> None:
    """A CRM that can be amended and not be read: the update is repeated, in the words that may be there."""
    clock, crm = Clock(), Crm()

    class Amending(Plain):
        deaf = False

        async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
            if Amending.deaf:
                raise Unavailable("no connection")
            return await super().find_contact(session, phone_number)

    async with runtime_fixture(database_url, Amending, crm=crm, settings=FAST, clock=clock) as here:
        await here.send(group(said_by(OMARS, 1)))
    async with runtime_fixture(database_url, Amending, crm=crm, settings=FAST, clock=clock) as here:
        Amending.deaf = True
        await _crashed_during(here, "update", group(said_by(OMARS, 1), said_by(MAYAS, 2)))
        assert speakers(here) == [OMARS, MAYAS]
    Amending.deaf = False
    async with runtime_fixture(database_url, Amending, crm=crm, settings=FAST, clock=clock) as again:
        for _ in range(3):
            clock.forward(61)
            await again.runtime.sweep()
            await again.runtime.idle()
        assert set((await again.states()).values()) == {"logged"}
        assert speakers(again) == [OMARS, MAYAS]


@pytest.mark.parametrize("connector", [Plain, Appending])
async def test_a_group_whose_look_up_never_ended_was_never_sent(
    database_url: str, connector: type[Plain]
) -> None:
    """So a crash in it parks nothing, even where the CRM cannot be asked what it has."""
    clock, crm = Clock(), Crm()
    hanging = asyncio.Event()

    class Hanging(connector):  # type: ignore[valid-type,misc] # one of two classes
        async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
            hanging.set()
            await asyncio.Event().wait()
            return []

    async with runtime_fixture(database_url, Hanging, crm=crm, settings=FAST, clock=clock) as here:
        waiting = asyncio.create_task(here.send(group(said_by(MAYAS))))
        await hanging.wait()
        for task in list(here.runtime._dispatcher._working.values()):
            task.cancel()
        assert (await waiting).successful
    assert not crm.calls
    async with runtime_fixture(database_url, connector, crm=crm, settings=FAST, clock=clock) as again:
        clock.forward(61)
        await again.runtime.sweep()
        await again.runtime.idle()
        assert await again.states() == {"1-c-1": "logged"}
        assert crm.count("create") == 1
        assert speakers(again) == ["Maya Patel"]


async def test_all_of_a_run_is_journalled_before_its_first_call(database_url: str) -> None:
    seen: list[Payload] = []
    async with runtime_fixture(database_url, ReadingBack) as here:
        await here.send(group(said_by(MAYAS, 1)))

        async def look(_call: Call) -> None:
            (log,) = await here.logs()
            rows = await here.store.read(lambda: _calling(log))
            seen.extend(open_payload(here.context.sealer, log.key, row) for row in rows)

        await _before_each(here, look, group(*(said_by(MAYAS, n) for n in range(1, 5))))
        assert [each.sides.contact_numbers for each in seen if each.sides] == [(MAYAS,)] * len(seen)
        assert len(seen) >= 3


async def _before_each(
    here: RuntimeFixture, look: Callable[[Call], Awaitable[None]], request: dict[str, Any]
) -> None:
    """Sends a request, looking at the journal while its first update is under way."""
    gate = here.crm.gate = asyncio.Event()
    waiting = asyncio.create_task(here.send(request))
    await until(lambda: here.crm.count("update") == 1)
    await look(here.crm.calls[-1])
    gate.set()
    here.crm.gate = None
    assert (await waiting).successful


def _calling(log: LogRow) -> Transaction[list[MessageRow]]:
    rows = yield Query("rows_in_state", {**key_params(log.key), "state": "calling", "limit": 50})
    return [row_from(row) for row in rows]
