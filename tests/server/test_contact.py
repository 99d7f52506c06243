"""`GET /contact` and `POST /contact`: matching a number, and making a contact for an unknown one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from messagelog.connectors import Connector
from support.site import ADA, SQLITE_ONLY, Quick, site

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.site import Reply, Site

pytestmark = SQLITE_ONLY

OFFER = {
    "id": "createNewContact",
    "name": "Create new contact...",
    "isNewContact": True,
    "defaultContactType": "contact",
    "additionalInfo": {},
}


async def match(here: Site, number: str) -> Reply:
    """The request for a number, written as it is to stand in the query."""
    rest = "&overridingFormat=&isExtension=false"
    return await here.ask("GET", f"/contact?jwtToken={await here.token()}&phoneNumber={number}{rest}")


@pytest.mark.parametrize("number", ["+14155550142", "%2B14155550142", "%2b1%20415%20555%200142"])
async def test_a_number_with_its_plus_raw_or_encoded(here: Site, number: str) -> None:
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


async def test_the_crm_is_asked_for_the_number_with_its_plus(here: Site) -> None:
    await match(here, "+14155550142")
    assert here.crm.calls[-1].query == "phone=%2B14155550142"


async def test_several_contacts_with_one_number(here: Site) -> None:
    reply = await match(here, "+14155550123")
    assert reply.body["returnMessage"]["message"] == "Found 2 contacts"
    assert [row["id"] for row in reply.body["contact"]] == ["c-3", "c-4", "createNewContact"]
    assert "matter" not in reply.body["contact"][0]["additionalInfo"], "nothing to select, so no selection"


async def test_nobody_has_the_number_and_a_new_contact_is_offered(here: Site) -> None:
    reply = await match(here, "+14155550999")
    assert reply.body["successful"] is True
    assert reply.body["contact"] == [OFFER]


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
async def test_a_crm_that_fails_leaves_the_form_usable(here: Site, status: int) -> None:
    await here.token()
    await here.chaos(failure_rate=1, status=status)
    reply = await match(here, "+14155550142")
    assert reply.status == 200
    assert reply.body["successful"] is False
    assert reply.body["contact"] == [OFFER]
    assert reply.body["returnMessage"]["messageType"] == "warning"
    assert reply.body["returnMessage"]["message"].startswith("Contacts could not be looked up. ")


@pytest.mark.parametrize("query", ["", "&phoneNumber=", "&phoneNumber=%20", f"&phoneNumber={'1' * 100}"])
async def test_no_number_is_refused_by_its_name(here: Site, query: str) -> None:
    calls = len(here.crm.calls) + 1  # that of the login
    reply = await here.ask("GET", f"/contact?jwtToken={await here.token()}{query}")
    assert (reply.status, reply.body) == (400, "phoneNumber: expected a phone number")
    assert len(here.crm.calls) == calls


async def test_a_contact_is_made_and_found(here: Site) -> None:
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
        ([], "body: expected `object`, got `array`"),
    ],
)
async def test_a_form_that_is_not_right_is_refused_by_its_field(here: Site, form: Any, words: str) -> None:
    reply = await create(here, form)
    assert (reply.status, reply.body) == (400, words)
    assert here.crm.writes == []


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "The contact was not created in Demo CRM. The CRM asks the user to sign in again."),
        (422, "The contact was not created in Demo CRM. The CRM refused it."),
        (500, "Demo CRM gave no clear answer. Look for the contact there before you try again."),
    ],
)
async def test_a_contact_that_was_not_made_is_told_as_text(here: Site, status: int, words: str) -> None:
    """The client reads `contact` of any answer that is no error, even where it was not successful."""
    await here.token()
    await here.chaos(failure_rate=1, status=status)
    reply = await create(here, {"phoneNumber": "+14155550188", "newContactName": "Nina"})
    assert (reply.status, reply.body) == (502, words)


async def create(here: Site, form: Any) -> Reply:
    return await here.ask("POST", f"/contact?jwtToken={await here.token()}", json=form)


class ReadOnly(Quick):
    """A CRM that lets nobody make contacts, with a form that wants everything."""

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
                    {"const": "urgent", "title": "Urgent", "type": "checkbox", "defaultValue": True},
                    {"const": "topic", "title": "Topic", "type": "inputField"},
                ]
            }
        }
    }
    create_contact = Connector.create_contact


async def test_a_crm_that_makes_no_contacts_offers_none(database_url: str, tmp_path: Path) -> None:
    async with site(database_url, tmp_path, connector=ReadOnly) as here:
        assert [row["id"] for row in (await match(here, "+14155550142")).body["contact"]] == ["c-1"]
        assert (await match(here, "+14155550999")).body["contact"] == []
        reply = await create(here, {"phoneNumber": "+14155550188", "newContactName": "Nina"})
        assert (reply.status, reply.body) == (400, "Contacts cannot be created in Demo CRM from here.")


async def test_every_row_has_what_the_clients_form_takes_from_it(database_url: str, tmp_path: Path) -> None:
    async with site(database_url, tmp_path, connector=ReadOnly) as here:
        (row,) = (await match(here, "+14155550142")).body["contact"]
        info = row["additionalInfo"]
        assert [each["const"] for each in info["matter"]] == ["m-1", "m-2"], "the contact's own"
        assert info["team"] == [{"const": "t", "title": "T"}], "the manifest's options"
        assert info["bare"] == []
        assert info["urgent"] is True
        assert "topic" not in info, "it is shown unless it has a value"
