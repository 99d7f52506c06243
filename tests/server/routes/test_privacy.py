"""An administrator erases and exports over HTTP; an erased user has to connect again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from messagelog.core.operators.accounts import Role
from messagelog.storage import transactions
from storage.journal import run_sql
from support.live_server import OTTO, SQLITE_ONLY, refusal
from support.requests import MAYA, body, message

if TYPE_CHECKING:
    from support.live_server import LiveServer

USER = {"tenant": "acme", "platform": "demo", "id": "u-ada"}


async def test_an_erased_user_has_no_session_any_more(here: LiveServer) -> None:
    headers = await here.operator("grace", Role.ADMINISTER)
    await here.log(body(message(1)))
    token = await here.token()
    reply = await here.ask("POST", "/operators/erase/user", json=USER, headers=headers)
    assert (reply.status, reply.body["users"], reply.body["kept"], reply.body["underWay"]) == (200, 1, 1, 0)
    assert (await here.ask("POST", f"/messageLog?jwtToken={token}", json=body(message(2)))).status == 400
    here.tokens.clear()
    assert (await here.log(body(message(1)))).body["successful"], "she may come again"
    assert len(await here.activities()) == 1


async def test_an_erased_tenant_is_gone_and_others_are_not(here: LiveServer) -> None:
    headers = await here.operator("grace", Role.ADMINISTER)
    await here.log(body(message(1)))
    await here.log(body(message(2), conversation="theirs"), user=OTTO)
    reply = await here.ask("POST", "/operators/erase/tenant", json={"tenant": "acme"}, headers=headers)
    assert (reply.status, reply.body["users"], reply.body["messages"]) == (200, 1, 1)
    assert [log.key.tenant for log in await here.logs()] == ["otto"]
    assert (await here.log(body(message(1)))).status == 400
    assert (await here.log(body(message(3), conversation="theirs"), user=OTTO)).status == 200
    (entry, *_) = await here.context.store.read(lambda: transactions.read_audit(0, 10, "grace"))
    assert (entry.act, entry.role, entry.tenant) == ("erase_tenant", "administer", "acme")


async def test_what_is_held_of_a_contact_is_exported_by_id_and_by_number(here: LiveServer) -> None:
    headers = await here.operator("grace", Role.ADMINISTER, Role.TEXT)
    await here.log(body(message(1, "it is logged")))
    here.crm.refuse = lambda call: refusal(422) if call.method != "GET" else None
    await here.log(body(message(2, "it waits"), conversation="waits"))
    token = await here.token()
    await here.ask("GET", f"/contact?phoneNumber={MAYA['phoneNumber']}&jwtToken={token}")
    whose = {"tenant": "acme", "platform": "demo"}
    by_id = await here.ask("POST", "/operators/export", json={**whose, "id": "c-1"}, headers=headers)
    assert by_id.status == 200
    logged, waits = by_id.body["conversationLogs"]
    assert [(each["state"], each["text"]) for each in logged["messages"]] == [("logged", None)]
    (waiting,) = waits["messages"]
    assert (waiting["state"], waiting["text"]["message"]["subject"]) == ("failed", "it waits")
    by_number = await here.ask(
        "POST", "/operators/export", json={**whose, "phone": "+1 (415) 555-0142"}, headers=headers
    )
    assert by_number.body["conversationLogs"] == by_id.body["conversationLogs"]
    assert [contact["name"] for contact in by_number.body["contacts"]] == ["Maya Patel"]
    other = await here.ask(
        "POST", "/operators/export", json={**whose, "tenant": "otto", "id": "c-1"}, headers=headers
    )
    assert other.body["conversationLogs"] == []
    recorded = await here.context.store.read(lambda: transactions.read_audit(0, 20, "grace"))
    assert [each.subject for each in recorded if each.role == "text"] == ["2", "2"]
    assert "5550142" not in repr(recorded)


@SQLITE_ONLY
async def test_an_export_of_nobody_or_of_two_names_the_field(here: LiveServer) -> None:
    headers = await here.operator("grace", Role.ADMINISTER, Role.TEXT)
    whose = {"tenant": "acme", "platform": "demo"}
    for more in ({}, {"id": "c-1", "phone": "+1"}, {"phone": "no number"}):
        reply = await here.ask("POST", "/operators/export", json={**whose, **more}, headers=headers)
        assert reply.status == 400
        assert reply.body.partition(":")[0] in {"id", "phone"}


@SQLITE_ONLY
async def test_contacts_that_nobody_can_open_are_told_of(here: LiveServer, database_url: str) -> None:
    headers = await here.operator("grace", Role.ADMINISTER, Role.TEXT)
    token = await here.token()
    await here.ask("GET", f"/contact?phoneNumber={MAYA['phoneNumber']}&jwtToken={token}")
    run_sql(
        database_url,
        'UPDATE "contacts" SET "contacts" = CAST(X\'01deadbeef\' || substr("contacts", 6) AS BLOB)',
    )
    whose = {"tenant": "acme", "platform": "demo", "phone": MAYA["phoneNumber"]}
    reply = await here.ask("POST", "/operators/export", json=whose, headers=headers)
    assert (reply.status, reply.body) == (
        409,
        "The contacts of this number are sealed with another secret key.",
    )


@pytest.mark.parametrize(
    ("route", "form", "field"),
    [
        ("erase/user", {"tenant": "acme", "platform": "demo", "id": "u\0x"}, "id"),
        ("erase/tenant", {"tenant": "acme\0"}, "tenant"),
        ("export", {"tenant": "acme", "platform": "demo\0", "id": "c-1"}, "platform"),
    ],
)
async def test_what_no_database_holds_is_refused(
    here: LiveServer, route: str, form: dict[str, str], field: str
) -> None:
    headers = await here.operator("grace", Role.ADMINISTER, Role.TEXT)
    reply = await here.ask("POST", f"/operators/{route}", json=form, headers=headers)
    assert reply.status == 400
    assert reply.body.startswith(f"{field}: ")
