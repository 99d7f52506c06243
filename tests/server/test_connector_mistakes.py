"""What connectors get wrong costs the user an explanation, not a message logged twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.core import Times
from support.live_server import SQLITE_ONLY, FastDemoConnector, live_server, payload
from support.requests import MAYA, OMAR, body, message

if TYPE_CHECKING:
    from pathlib import Path

    from messagelog.connectors import Contact, MessageLog, NewContact, Session
    from support.live_server import LiveServer


class Confused(FastDemoConnector):
    """Expects another answer of its CRM, and quotes what it got."""

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        raise KeyError(f"a customer's number {phone_number}")

    async def create_contact(self, session: Session, contact: NewContact) -> Contact:
        raise KeyError(f"a customer's name {contact.name}")


class Broken(FastDemoConnector):
    """Cannot write any activity."""

    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        raise RuntimeError(f"a customer's words {log.content}")


async def test_a_connector_that_returns_no_log_id_is_named_and_nothing_is_claimed(
    database_url: str, tmp_path: Path
) -> None:
    class Forgetful(FastDemoConnector):
        async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
            await super().create_message_log(session, log)
            return None

    async with live_server(database_url, tmp_path, connector=Forgetful) as here:
        reply = await here.log(payload("01-sms"))
        assert len(await here.activities()) == 1
        if reply.body["successful"]:  # it was found by its key
            assert reply.body["logIds"] == ["6424569001"]
        await here.log(payload("01-sms"))
        assert len(await here.activities()) == 1, "a retry makes no other activity"


async def test_a_connector_that_returns_no_log_id_and_cannot_search(
    database_url: str, tmp_path: Path
) -> None:
    class Hopeless(FastDemoConnector):
        async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
            await super().create_message_log(session, log)
            return ""

        def can(self, method: str) -> bool:
            return method != "find_message_log" and super().can(method)

    async with live_server(database_url, tmp_path, connector=Hopeless) as here:
        first = await here.log(payload("01-sms"))
        assert first.body["successful"] is False
        assert first.body["logIds"] == []
        assert "the connector demo returned no log id" in first.body["returnMessage"]["message"]
        await here.log(payload("01-sms"))
        assert len(await here.activities()) == 1


async def test_a_connector_that_returns_nothing_after_an_update_has_done_well(here: LiveServer) -> None:
    """The demo's does."""
    await here.log(body(message(1, "first")))
    reply = await here.log(body(message(1, "first"), message(2, "second")))
    assert reply.body["returnMessage"]["message"] == "Message logged"
    again = await here.log(body(message(1, "first"), message(2, "second")))
    assert again.body["logIds"] == []
    assert (await here.only_activity())["body"].count("second") == 1


@SQLITE_ONLY
async def test_a_connector_that_raises_anything_is_not_quoted(database_url: str, tmp_path: Path) -> None:
    times = Times(answer=0.3, call=5.0, lease=60.0)
    async with live_server(database_url, tmp_path, connector=Broken, times=times) as here:
        reply = await here.log(payload("01-sms"))
        assert reply.status == 200
        assert "customer" not in str(reply.body)
        assert "renewal" not in str(reply.body)
        assert await here.activities() == []
        assert "logged" not in (await here.states()).values()


async def test_a_group_is_logged_though_its_other_people_cannot_be_looked_up(
    database_url: str, tmp_path: Path
) -> None:
    async with live_server(database_url, tmp_path, connector=Confused) as here:
        reply = await here.log(body(message(1, "to both"), correspondents=(MAYA, OMAR)))
        assert reply.body["logIds"] == ["1-c-1"]
        assert "to both" in (await here.only_activity())["body"]


@SQLITE_ONLY
async def test_a_connector_that_fails_to_match_a_number_leaves_the_form_usable(
    database_url: str, tmp_path: Path
) -> None:
    async with live_server(database_url, tmp_path, connector=Confused) as here:
        reply = await here.ask("GET", f"/contact?jwtToken={await here.token()}&phoneNumber=+14155550142")
        assert reply.status == 200
        assert reply.body["successful"] is False
        assert [row["id"] for row in reply.body["contact"]] == ["createNewContact"]
        assert "customer" not in reply.raw.decode()


@SQLITE_ONLY
async def test_a_connector_that_fails_to_make_a_contact_is_told_in_words(
    database_url: str, tmp_path: Path
) -> None:
    async with live_server(database_url, tmp_path, connector=Confused) as here:
        form = {"phoneNumber": "+14155550188", "newContactName": "Nina"}
        reply = await here.ask("POST", f"/contact?jwtToken={await here.token()}", json=form)
        assert reply.status == 502
        assert reply.body == "Demo CRM gave no clear answer. Look for the contact there before you try again."
