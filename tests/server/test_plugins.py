"""Plugins as the client sees them: texts that it shows, and a CRM that never gets what redaction has masked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from messagelog.plugins import ContactForm, Refused
from messagelog.plugins.redaction import Redaction
from support.live_server import SQLITE_ONLY, live_server
from support.requests import body, message, thread
from support.scripted_plugin import ScriptedPlugin

if TYPE_CHECKING:
    from pathlib import Path

    from support.live_server import LiveServer, Reply

CARD, MASKED = "4111 1111 1111 1111", "••••••••••••1111"


def failing(_request: Any) -> Any:
    raise RuntimeError("text of a message")


def refusing(_request: Any) -> Any:
    raise Refused("Messages of the board are not logged.")


@SQLITE_ONLY
async def test_the_client_shows_what_a_plugin_keeps_from_being_logged(
    database_url: str, tmp_path: Path
) -> None:
    plugin = ScriptedPlugin(failing, required=True)
    async with live_server(database_url, tmp_path, plugins=[plugin]) as here:
        reply = await here.log(body(message(1)))
        assert (reply.status, reply.body) == (
            503,
            "Nothing was logged, since the plugin told did not run. Please log again later.",
        )
        plugin.does = refusing
        reply = await here.log(body(message(1)))
        assert (reply.status, reply.body) == (422, "Messages of the board are not logged.")
        assert here.crm.writes == []
        assert await here.logs() == []
        plugin.does = lambda request: request
        assert (await here.log(body(message(1)))).body["logIds"] == ["1"]


@SQLITE_ONLY
async def test_cards_reach_neither_the_crm_nor_its_logs(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, plugins=[Redaction({})]) as here:
        for sent in (body(message(1, f"my card: {CARD}, ssn 123-45-6789")), thread(f"note {CARD}")):
            assert (await here.log(sent)).body["successful"]
        text = " ".join(each["body"] for each in await here.activities())
        assert text.count(MASKED) == 2
        assert "ssn XXX-XX-XXXX" in text
        assert b"4111" not in b"".join(call.body for call in here.crm.writes)


# ------------------------------------------------------------------------------------ new contacts


async def make(here: LiveServer, name: str = "Nina", **answers: Any) -> Reply:
    form = {"phoneNumber": "+14155550188", "newContactName": name, "additionalSubmission": answers}
    return await here.ask("POST", f"/contact?jwtToken={await here.token()}", json=form)


@SQLITE_ONLY
async def test_plugins_see_the_form_of_a_new_contact_and_may_change_it(
    database_url: str, tmp_path: Path
) -> None:
    plugin = ScriptedPlugin(lambda form: replace(form, name=f"{form.name.upper()}\u200b"))
    async with live_server(database_url, tmp_path, plugins=[plugin]) as here:
        reply = await make(here, "Nina \u202eNew", topic="renewal")
        assert reply.body["contact"]["name"] == "NINA NEW", "what a plugin answers is cleaned as well"
        assert reply.body["returnMessage"]["message"] == "Contact created"
        ((context, form),) = plugin.saw_contacts
        assert (context.tenant, context.platform, context.crm) == ("acme", "demo", "Demo CRM")
        assert form == ContactForm("Nina New", {"topic": "renewal"})
        assert "Nina" not in repr(form)


BROKEN: dict[str, Any] = {
    "an error": failing,
    "nothing": lambda _form: None,
    "no name": lambda form: replace(form, name=" "),
    "a name that is none": lambda form: replace(form, name=5),
    "no answers": lambda form: replace(form, additional_submission=[1]),
    "what is no JSON": lambda form: replace(form, additional_submission={"a": object()}),
    "too slow": lambda _form: asyncio.Event().wait(),
    "a change in place": lambda form: form.additional_submission.clear() or 1 / 0,
}


@pytest.mark.parametrize("name", BROKEN)
@SQLITE_ONLY
async def test_a_plugin_that_fails_at_a_new_contact(database_url: str, tmp_path: Path, name: str) -> None:
    plugin = ScriptedPlugin(BROKEN[name], seconds=0.01 if name == "too slow" else 5.0)
    last = ScriptedPlugin(lambda form: form, name="last")
    async with live_server(database_url, tmp_path, plugins=[plugin, last]) as here:
        reply = await make(here, topic="renewal")
        assert reply.body["contact"]["name"] == "Nina"
        assert reply.body["returnMessage"] == {
            "message": "Contact created. The plugin told did not run.",
            "messageType": "warning",
            "ttl": 10_000,
        }
        ((_, form),) = last.saw_contacts
        assert form == ContactForm("Nina", {"topic": "renewal"}), "as it was before"


@SQLITE_ONLY
async def test_a_required_plugin_that_fails_or_refuses_keeps_a_contact_from_being_made(
    database_url: str, tmp_path: Path
) -> None:
    plugin = ScriptedPlugin(failing, required=True)
    async with live_server(database_url, tmp_path, plugins=[plugin]) as here:
        reply = await make(here)
        assert (reply.status, reply.body) == (
            503,
            "Nothing was created, since the plugin told did not run. Please try again later.",
        )
        plugin.does = refusing
        reply = await make(here)
        assert (reply.status, reply.body) == (422, "Messages of the board are not logged.")
        assert here.crm.writes == []


@pytest.mark.parametrize(("settings", "name"), [({}, f"Nina {CARD}"), ({"names": "true"}, f"Nina {MASKED}")])
@SQLITE_ONLY
async def test_a_new_contacts_name_is_redacted_by_a_setting(
    database_url: str, tmp_path: Path, settings: dict[str, str], name: str
) -> None:
    async with live_server(database_url, tmp_path, plugins=[Redaction(settings)]) as here:
        assert (await make(here, f"Nina {CARD}")).body["contact"]["name"] == name


@SQLITE_ONLY
async def test_names_and_so_subjects_are_redacted_by_a_setting(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, plugins=[Redaction({"names": "true"})]) as here:
        sent = body({**message(1, "hello"), "from": {"name": CARD}}, name=f"Maya {CARD}")
        assert (await here.log(sent)).body["successful"]
        activity = await here.only_activity()
        assert activity["subject"] == f"SMS conversation with Maya {MASKED} - 2026-07-13"
        assert b"4111" not in b"".join(call.body for call in here.crm.writes)
        assert [log.contact_name for log in await here.logs()] == [f"Maya {MASKED}"]
