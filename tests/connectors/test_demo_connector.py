"""The demo's connector against the demo's CRM, over HTTP: an example to copy should answer every question."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from messagelog.compose import LogFormat, Participants, TextSettings
from messagelog.connectors import (
    AuthExpired,
    Contact,
    Credentials,
    CrmHttp,
    LoggedMessage,
    MessageLog,
    NewContact,
    NotFound,
    Rejected,
    Session,
)
from messagelog.connectors.demo import DemoConnector
from messagelog.connectors.log import JournalView
from messagelog.testing.demo_crm import serve_demo_crm
from support.requests import body, message, to_log_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from messagelog.testing.demo_crm import DemoCrmServer


@pytest.fixture
async def crm(tmp_path: Path) -> AsyncIterator[DemoCrmServer]:
    async with serve_demo_crm(tmp_path / "crm.sqlite") as served:
        yield served


@pytest.fixture
async def demo(crm: DemoCrmServer) -> DemoConnector:
    return DemoConnector(f"{crm.url}/api")


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def signed_in(demo: DemoConnector, client: aiohttp.ClientSession, key: str = "demo-ada") -> Session:
    """A session as the core opens it."""
    credentials = Credentials(api_key=key)
    headers = demo.auth_headers(credentials)
    return Session(CrmHttp(client, demo.base_url_for("crm.test"), headers=headers), credentials)


@pytest.mark.parametrize(
    ("key", "id_", "tenant"),
    [("demo-ada", "u-ada", "acme"), ("demo-grace", "u-grace", "acme"), ("demo-otto", "u-otto", "otto")],
)
async def test_a_key_belongs_to_a_user_of_a_tenant(
    demo: DemoConnector, client: aiohttp.ClientSession, key: str, id_: str, tenant: str
) -> None:
    info = await demo.get_user_info(signed_in(demo, client, key))
    assert (info.id, info.tenant, info.timezone) == (id_, tenant, "America/Los_Angeles")


async def test_a_key_that_nobody_has(demo: DemoConnector, client: aiohttp.ClientSession) -> None:
    with pytest.raises(AuthExpired):
        await demo.get_user_info(signed_in(demo, client, "wrong"))


async def test_contacts_by_number_and_by_name(demo: DemoConnector, client: aiohttp.ClientSession) -> None:
    session = signed_in(demo, client)
    (maya,) = await demo.find_contact(session, "+14155550142")
    assert (maya.id, maya.name, maya.type, maya.phone_number) == (
        "c-1",
        "Maya Patel",
        "contact",
        "+14155550142",
    )
    assert maya.additional_info is not None
    assert [each["const"] for each in maya.additional_info["matter"]] == ["m-1", "m-2"]
    assert [each.id for each in await demo.find_contact(session, "+14155550123")] == ["c-3", "c-4"]
    assert await demo.find_contact(session, "+14155550999") == []
    assert [each.name for each in await demo.find_contact_with_name(session, "castillo")] == [
        "Nina Castillo",
        "Castillo Bakery",
    ]


@pytest.mark.parametrize(("type_", "made"), [("lead", "lead"), ("", "contact")])
async def test_a_contact_is_made(
    demo: DemoConnector, client: aiohttp.ClientSession, type_: str, made: str
) -> None:
    session = signed_in(demo, client)
    contact = await demo.create_contact(
        session, NewContact(name="Nina New", phone_number="+14155550188", type=type_)
    )
    assert contact.type == made
    assert await demo.find_contact(session, "+14155550188") == [contact]


async def test_a_type_of_contact_that_the_crm_has_not(
    demo: DemoConnector, client: aiohttp.ClientSession
) -> None:
    with pytest.raises(Rejected):
        await demo.create_contact(
            signed_in(demo, client), NewContact(name="Nina", phone_number="+1", type="planet")
        )


async def test_an_activity_is_read_by_its_id(
    demo: DemoConnector, crm: DemoCrmServer, client: aiohttp.ClientSession
) -> None:
    session = signed_in(demo, client)
    async with crm.api_client() as api_client:
        draft = {"contact_id": "c-1", "subject": "s", "body": "what it holds"}
        made = await api_client.ask("POST", "/api/activities", json=draft)
    assert await demo.read_message_log(session, made.body["id"]) == "what it holds"
    with pytest.raises(NotFound):
        await demo.read_message_log(session, "a-999")
    with pytest.raises(NotFound):
        await demo.read_message_log(signed_in(demo, client, "demo-otto"), made.body["id"])


def test_the_demo_shows_every_ability() -> None:
    connector = DemoConnector("http://crm.test/api")
    optional = ("find_contact_with_name", "create_contact", "find_message_log", "read_message_log")
    assert [connector.can(method) for method in optional] == [True] * 4


# ----------------------------------------------------------------------------------------- what is ours


async def test_a_lost_create_is_found_by_our_key_alone_where_the_crm_keeps_it(
    demo: DemoConnector, client: aiohttp.ClientSession
) -> None:
    """Another log of the contact says the same, and another server's: neither is taken, though its text fits."""
    session = signed_in(demo, client)
    ours, other = log_of("messagelog-0123abcd-ours"), log_of("messagelog-4567cdef-others")
    theirs = await demo.create_message_log(session, other)
    assert await demo.find_message_log(session, ours) is None
    made = await demo.create_message_log(session, ours)
    assert await demo.find_message_log(session, ours) == made != theirs
    assert await demo.find_message_log(session, other) == theirs


async def test_a_lost_create_is_found_by_its_text_where_the_crm_keeps_no_key(
    demo: DemoConnector, client: aiohttp.ClientSession
) -> None:
    session = signed_in(demo, client)
    await session.http.request("POST", "/chaos", json={"external_ids": False})
    ours = log_of("messagelog-0123abcd-ours")
    made = await demo.create_message_log(session, ours)
    assert await demo.find_message_log(session, ours) == made
    assert await demo.find_message_log(session, log_of("messagelog-0123abcd-ours", text="another")) is None


def log_of(key: str, text: str = "hello") -> MessageLog:
    """The log of a conversation with one message, as the core gives it to a create."""
    record = to_log_request(body(message(1, text))).info
    return MessageLog(
        contact=Contact(id="c-1", name="Maya Patel", phone_number="+14155550142"),
        correspondents=(),
        messages=tuple(map(LoggedMessage, record.messages)),
        thread=None,
        conversation=record.conversation,
        additional_submission={},
        idempotency_key=key,
        existing=None,
        text_settings=TextSettings(LogFormat.PLAIN, "UTC", "en"),
        participants=Participants("Maya Patel", "+14155550142", "Jordan Lee"),
        key=b"0" * 32,
        journal=JournalView(),
    )
