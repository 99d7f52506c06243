"""`GET /contact` and `POST /contact`: matching a number, and making a contact for an unknown one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from messagelog.connectors import Connector, Contact
from support.live_server import ADA, SQLITE_ONLY, FastDemoConnector, live_server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from messagelog.connectors import Session
    from support.live_server import LiveServer, Reply

pytestmark = SQLITE_ONLY

OFFER = {
    "id": "createNewContact",
    "name": "Create new contact...",
    "isNewContact": True,
    "defaultContactType": "contact",
    "additionalInfo": {},
}


async def match(here: LiveServer, number: str) -> Reply:
    """The request for a number, written as it is to stand in the query."""
    rest = "&overridingFormat=&isExtension=false"
    return await here.ask("GET", f"/contact?jwtToken={await here.token()}&phoneNumber={number}{rest}")


@pytest.mark.parametrize("number", ["+14155550142", "%2B14155550142", "%2b1%20415%20555%200142"])
async def test_a_number_with_its_plus_raw_or_encoded(here: LiveServer, number: str) -> None:
    reply = await match(here, number)
    assert reply.status == 200
    assert reply.body["successful"] is True
    assert reply.body["returnMessage"] == {
        "message": "Found 1 contact",
        "messageType": "success",
        "ttl": 3000,
    }
    maya, offer = reply.body["contact"]
    created = maya.pop("createdDate")
    assert created.endswith("Z")
    assert maya == {
        "id": "c-1",
        "name": "Maya Patel",
        "type": "contact",
        "phone": "+14155550142",
        "additionalInfo": {
            "matter": [{"const": "m-1", "title": "Renewal 2026"}, {"const": "m-2", "title": "Onboarding"}],
            "billable": True,
        },
    }, "the fields of the form under the manifest's names"
    assert offer == OFFER


async def test_the_crm_is_asked_for_the_number_with_its_plus(here: LiveServer) -> None:
    await match(here, "+14155550142")
    assert here.crm.calls[-1].query == "phone=%2B14155550142"


async def test_several_contacts_with_one_number(here: LiveServer) -> None:
    reply = await match(here, "+14155550123")
    assert reply.body["returnMessage"]["message"] == "Found 2 contacts"
    assert [row["id"] for row in reply.body["contact"]] == ["c-3", "c-4", "createNewContact"]
    assert "matter" not in reply.body["contact"][0]["additionalInfo"], "nothing to select, so no selection"


async def test_nobody_has_the_number_and_a_new_contact_is_offered(here: LiveServer) -> None:
    reply = await match(here, "+14155550999")
    assert reply.body["successful"] is True
    assert reply.body["contact"] == [OFFER]
    notice = reply.body["returnMessage"]
    assert (notice["message"], notice["messageType"]) == ("Contact not found", "warning")
    (detail,) = notice["details"][0]["items"]
    assert "+14155550999" in detail["text"]


class Rich(FastDemoConnector):
    """A CRM that tells more of its contacts."""

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        return [
            Contact(
                id="c-9",
                name="Maya Patel",
                phone_number=phone_number,
                most_recent_activity_at="2026-07-13T20:00:00Z",
                title="Buyer",
                company="Patel Ltd",
                email="maya@example.com",
            )
        ]


async def test_what_the_client_tells_several_contacts_apart_by(database_url: str, tmp_path: Path) -> None:
    told = {
        "mostRecentActivityDate": "2026-07-13T20:00:00Z",
        "title": "Buyer",
        "company": "Patel Ltd",
        "email": "maya@example.com",
    }
    async with live_server(database_url, tmp_path, connector=Rich) as here:
        for _ in range(2):  # asked of the CRM, and kept
            (row, _offer) = (await match(here, "+14155550142")).body["contact"]
            assert {name: row[name] for name in told} == told


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
async def test_a_crm_that_fails_leaves_the_form_usable(here: LiveServer, status: int) -> None:
    await here.token()
    await here.chaos(failure_rate=1, status=status)
    reply = await match(here, "+14155550142")
    assert reply.status == 200
    assert reply.body["successful"] is False
    assert reply.body["contact"] == [OFFER]
    assert reply.body["returnMessage"]["messageType"] == "warning"
    assert reply.body["returnMessage"]["message"].startswith("Contacts could not be looked up. ")


@pytest.mark.parametrize("query", ["", "&phoneNumber=", "&phoneNumber=%20", f"&phoneNumber={'1' * 100}"])
async def test_no_number_is_refused_by_its_name(here: LiveServer, query: str) -> None:
    calls = len(here.crm.calls) + 1  # that of the login
    reply = await here.ask("GET", f"/contact?jwtToken={await here.token()}{query}")
    assert (reply.status, reply.body) == (400, "phoneNumber: expected a phone number")
    assert len(here.crm.calls) == calls


async def test_a_contact_is_made_and_found(here: LiveServer) -> None:
    form = {
        "phoneNumber": "+14155550188",
        "newContactName": " Nina New ",
        "newContactType": "lead",
        "additionalSubmission": {"topic": ""},
    }
    reply = await create(here, form)
    assert reply.status == 200
    assert reply.body["successful"] is True
    assert reply.body["returnMessage"] == {
        "message": "Contact created",
        "messageType": "success",
        "ttl": 2000,
    }
    contact = reply.body["contact"]
    assert (contact["name"], contact["type"]) == ("Nina New", "lead")
    found = await match(here, "+14155550188")
    assert [row["id"] for row in found.body["contact"]] == [contact["id"], "createNewContact"]
    known = await here.crm_api("GET", f"/contacts/{contact['id']}", user=ADA)
    assert known["phone"] == "+14155550188"


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"phoneNumber": "+1", "newContactName": ""}, "newContactName: is empty"),
        ({"phoneNumber": " ", "newContactName": "Nina"}, "phoneNumber: is empty"),
        ({"newContactName": "Nina"}, "phoneNumber: is missing"),
        ({"phoneNumber": "+1"}, "newContactName: is missing"),
        ({"phoneNumber": 1, "newContactName": "Nina"}, "phoneNumber: expected `str`, got `int`"),
        (
            {"phoneNumber": "1" * 65, "newContactName": "Nina"},
            "phoneNumber: expected at most 64 printable characters",
        ),
        (
            {"phoneNumber": "+1\r\n2", "newContactName": "Nina"},
            "phoneNumber: expected at most 64 printable characters",
        ),
        ({"phoneNumber": "+1", "newContactName": "\u202e\u200b\x00"}, "newContactName: is empty"),
        ({"phoneNumber": "+1", "newContactName": "n" * 256}, "newContactName: longer than 255 characters"),
        (
            {"phoneNumber": "+1", "newContactName": "Nina", "newContactType": "le\x00ad"},
            "newContactType: expected at most 255 printable characters",
        ),
        ([], "body: expected `object`, got `array`"),
    ],
)
async def test_a_form_that_is_not_right_is_refused_by_its_field(
    here: LiveServer, form: Any, words: str
) -> None:
    reply = await create(here, form)
    assert (reply.status, reply.body) == (400, words)
    assert here.crm.writes == []


async def test_the_crm_gets_a_name_in_one_line_without_what_nobody_sees(here: LiveServer) -> None:
    name = " \u202eNina\x00\u200b\r\nvan \x1b[31m\u00a0New\u2028"
    reply = await create(here, {"phoneNumber": " +14155550188 ", "newContactName": name})
    assert reply.body["contact"]["name"] == "Nina van [31m New"
    known = await here.crm_api("GET", f"/contacts/{reply.body['contact']['id']}", user=ADA)
    assert (known["name"], known["phone"]) == ("Nina van [31m New", "+14155550188")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "The contact was not created in Demo CRM. The CRM asks the user to sign in again."),
        (422, "The contact was not created in Demo CRM. The CRM refused it."),
        (500, "Demo CRM gave no clear answer. Look for the contact there before you try again."),
    ],
)
async def test_a_contact_that_was_not_made_is_told_as_text(here: LiveServer, status: int, words: str) -> None:
    """The client reads `contact` of any answer that is no error, even where it was not successful."""
    await here.token()
    await here.chaos(failure_rate=1, status=status)
    reply = await create(here, {"phoneNumber": "+14155550188", "newContactName": "Nina"})
    assert (reply.status, reply.body) == (502, words)


# ----------------------------------------------------------------------------------- once, and not too often

NINA = {"phoneNumber": "+14155550188", "newContactName": "Nina New", "newContactType": "contact"}


def searches(here: LiveServer) -> list[str]:
    """The queries with which the CRM was searched for contacts."""
    return [call.query for call in here.crm.calls if call.method == "GET" and call.path == "/api/contacts"]


async def test_a_number_is_looked_up_once_until_a_refresh_is_asked_for(here: LiveServer) -> None:
    first = await match(here, "+14155550142")
    await here.chaos(failure_rate=1, status=503)
    assert (await match(here, "+14155550142")).body == first.body
    assert len(searches(here)) == 1
    refreshed = await match(here, "+14155550142&isForceRefreshAccountData=true")
    assert refreshed.body["successful"] is False
    await here.chaos()
    again = await match(here, "+14155550142&isForceRefreshAccountData=true")
    assert again.body == first.body
    assert len(searches(here)) == 3


async def test_a_number_is_looked_up_in_the_formats_of_the_crm_too(here: LiveServer) -> None:
    formats = "(***)%20***-****,***.***.****"
    reply = await here.ask(
        "GET",
        f"/contact?jwtToken={await here.token()}&phoneNumber=+14155550142&overridingFormat={formats}",
    )
    assert [row["id"] for row in reply.body["contact"]] == ["c-1", "createNewContact"]
    assert searches(here) == ["phone=%2B14155550142", "phone=(415)+555-0142", "phone=415.555.0142"]


@pytest.mark.parametrize(
    ("formats", "words"),
    [
        (",".join("*" * 11), "overridingFormat: expected at most 10 formats"),
        ("*" * 65, "overridingFormat: expected formats of at most 64 printable characters"),
        ("*%00", "overridingFormat: expected formats of at most 64 printable characters"),
    ],
)
async def test_formats_that_cannot_be_are_refused(here: LiveServer, formats: str, words: str) -> None:
    path = f"/contact?jwtToken={await here.token()}&phoneNumber=+1&overridingFormat={formats}"
    reply = await here.ask("GET", path)
    assert (reply.status, reply.body) == (400, words)


async def test_an_extension_is_looked_up_as_it_is(here: LiveServer) -> None:
    path = f"/contact?jwtToken={await here.token()}&phoneNumber=105&overridingFormat=&isExtension=true"
    assert (await here.ask("GET", path)).body["contact"] == [OFFER]
    assert searches(here) == ["phone=105"]


async def test_a_double_click_makes_one_contact(here: LiveServer) -> None:
    await here.token()
    replies = await asyncio.gather(*(create(here, NINA) for _ in range(5)))
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body["contact"]["id"] for reply in replies}) == 1
    assert len([call for call in here.crm.writes if call.path == "/api/contacts"]) == 1


async def test_a_contact_whose_answer_was_lost_is_not_made_again(here: LiveServer) -> None:
    await here.token()
    await here.chaos(lose_response_rate=1)
    assert (await create(here, NINA)).status == 502
    await here.chaos()
    await asyncio.sleep(FastDemoConnector.settle_seconds)
    assert (await create(here, NINA)).status == 200
    found = await here.crm_api("GET", "/contacts?phone=%2B14155550188")
    assert len(found) == 1


# --------------------------------------------------------------------------------------------------- by name


async def search(here: LiveServer, name: str) -> Reply:
    """The search as the client sends it: it encodes nothing itself."""
    return await here.ask("GET", f"/custom/contact/search?jwtToken={await here.token()}&name={name}")


async def test_contacts_are_found_by_a_part_of_their_name(here: LiveServer) -> None:
    reply = await search(here, "maya")
    assert (reply.status, reply.body["successful"]) == (200, True)
    (maya,) = reply.body["contact"]
    assert (maya["id"], maya["name"], maya["type"]) == ("c-1", "Maya Patel", "contact")
    assert [each["const"] for each in maya["additionalInfo"]["matter"]] == ["m-1", "m-2"]
    assert (await search(here, "Maya%20Patel")).body == (await search(here, "maya+patel")).body


async def test_nobody_of_a_name_is_told_as_the_client_reads_it(here: LiveServer) -> None:
    reply = await search(here, "nobody")
    assert (reply.status, reply.body["contact"]) == (200, [])
    notice = reply.body["returnMessage"]
    assert {"message", "messageType", "ttl"} <= notice.keys()


@pytest.mark.parametrize("status", [401, 500])
async def test_a_search_that_fails_is_told_as_the_client_reads_it(here: LiveServer, status: int) -> None:
    await here.token()
    await here.chaos(failure_rate=1, status=status)
    reply = await search(here, "maya")
    assert (reply.status, reply.body["successful"], reply.body["contact"]) == (200, False, [])
    assert reply.body["returnMessage"]["message"].startswith("Contacts could not be looked up. ")


@pytest.mark.parametrize("name", ["", "%20", "x" * 256, "a%00b"])
async def test_a_name_that_cannot_be_is_refused(here: LiveServer, name: str) -> None:
    reply = await search(here, name)
    assert (reply.status, reply.body) == (400, "name: expected 1 to 255 printable characters")


class Nameless(FastDemoConnector):
    """A CRM that cannot be searched by name."""

    find_contact_with_name = Connector.find_contact_with_name


async def test_a_crm_without_a_search_by_name_says_so(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, connector=Nameless) as here:
        reply = await search(here, "maya")
        assert (reply.status, reply.body["contact"]) == (200, [])
        assert reply.body["returnMessage"]["message"] == "Demo CRM cannot be searched by name from here."


async def create(here: LiveServer, form: Any) -> Reply:
    return await here.ask("POST", f"/contact?jwtToken={await here.token()}", json=form)


class ReadOnly(FastDemoConnector):
    """A CRM in which contacts cannot be created, with a form that has every kind of field."""

    manifest: ClassVar[Mapping[str, Any]] = {
        "page": {
            "messageLog": {
                "additionalFields": [
                    {"const": "matter", "title": "Matter", "type": "selection", "contactDependent": True},
                    {
                        "const": "team",
                        "title": "Team",
                        "type": "selection",
                        "options": [{"const": "t", "title": "T"}],
                    },
                    {"const": "bare", "title": "Bare", "type": "selection"},
                    {
                        "const": "stage",
                        "title": "Stage",
                        "type": "selection",
                        "contactDependent": True,
                        "options": [{"const": "s", "title": "S"}],
                    },
                    {
                        "const": "kind",
                        "title": "Kind",
                        "type": "selection",
                        "contactTypeDependent": True,
                        "options": [{"const": "k", "title": "K"}],
                    },
                    {"const": "urgent", "title": "Urgent", "type": "checkbox", "defaultValue": True},
                    {"const": "topic", "title": "Topic", "type": "inputField"},
                ]
            }
        }
    }
    create_contact = Connector.create_contact


class Wanting(ReadOnly):
    """The same form, and contacts can be made, of two types."""

    manifest: ClassVar[Mapping[str, Any]] = {
        **ReadOnly.manifest,
        "contactTypes": [{"display": "C", "value": "contact"}, {"display": "L", "value": "lead"}],
    }
    create_contact = FastDemoConnector.create_contact


async def test_the_row_of_a_new_contact_has_the_options_of_each_type(
    database_url: str, tmp_path: Path
) -> None:
    async with live_server(database_url, tmp_path, connector=Wanting) as here:
        (row,) = (await match(here, "+14155550999")).body["contact"]
        info = row["additionalInfo"]
        assert info["contact"] == info["lead"] == {"kind": [{"const": "k", "title": "K"}]}
        assert "kind" not in info
        assert info["team"] == [{"const": "t", "title": "T"}]
        assert info["bare"] == []
        assert "matter" not in info, "there is nothing to choose from"


async def test_a_crm_that_makes_no_contacts_offers_none(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, connector=ReadOnly) as here:
        assert [row["id"] for row in (await match(here, "+14155550142")).body["contact"]] == ["c-1"]
        assert (await match(here, "+14155550999")).body["contact"] == []
        reply = await create(here, {"phoneNumber": "+14155550188", "newContactName": "Nina"})
        assert (reply.status, reply.body) == (400, "Contacts cannot be created in Demo CRM from here.")


async def test_every_row_has_what_the_clients_form_takes_from_it(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, connector=ReadOnly) as here:
        (row,) = (await match(here, "+14155550142")).body["contact"]
        info = row["additionalInfo"]
        assert [each["const"] for each in info["matter"]] == ["m-1", "m-2"], "the contact's own"
        assert info["team"] == [{"const": "t", "title": "T"}], "the manifest's options"
        assert info["bare"] == []
        assert info["stage"] == [{"const": "s", "title": "S"}], "the contact has none of its own"
        assert info["kind"] == [{"const": "k", "title": "K"}]
        assert info["urgent"] is True
        assert "topic" not in info, "it is shown unless it has a value"
