"""The inbox over HTTP: what failed is seen, decided about, and taken up by the running server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from messagelog.core.operators.accounts import Role
from support.live_server import refusal
from support.requests import MAYA, OMAR, body, message

if TYPE_CHECKING:
    from support.live_server import LiveServer, Reply

KEY = {"tenant": "acme", "platform": "demo", "conversationLogId": "conv/7/13/2026"}
SQLITE_ONLY = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def log_and_fail(here: LiveServer) -> None:
    await here.token()
    here.crm.refuse = lambda _call: refusal(422)
    await here.log(body(message(1, "a secret plan"), message(2)))
    here.crm.refuse = lambda _call: None


async def post(here: LiveServer, path: str, headers: dict[str, str], **form: Any) -> Reply:
    return await here.ask("POST", f"/operators/inbox{path}", json=form, headers=headers)


async def test_what_failed_is_seen_and_tried_again_and_logged(here: LiveServer) -> None:
    await log_and_fail(here)
    grace = await here.operator("grace", Role.ACT)
    page = (await post(here, "", grace, state="failed")).body
    (entry,) = page["entries"]
    assert (entry["cause"], entry["states"], entry["contactName"]) == (
        "rejected",
        {"failed": 2},
        "Maya Patel",
    )
    causes = (await post(here, "/causes", grace)).body["causes"]
    assert {(each["cause"], each["messages"]) for each in causes} == {("rejected", 2)}
    reply = await post(here, "/retry", grace, **KEY, fence=entry["fence"])
    assert reply.body == {
        "conversationLogId": KEY["conversationLogId"],
        "planned": 2,
        "logged": 0,
        "withoutText": 0,
    }
    assert reply.headers["cache-control"] == "no-store"
    await here.until_logged("1", "2")
    assert (await post(here, "", grace)).body == {"entries": [], "next": None}
    (activity,) = await here.activities()
    assert activity["body"].count("a secret plan") == 1


@SQLITE_ONLY
async def test_text_is_for_those_who_may_see_it(here: LiveServer) -> None:
    await log_and_fail(here)
    grace = await here.operator("grace", Role.ACT, Role.ADMINISTER)
    hedy = await here.operator("hedy", Role.TEXT)
    shown = await post(here, "/entry", grace, **KEY)
    assert b"secret plan" not in shown.raw
    assert [row["hasText"] for row in shown.body["rows"]] == [True, True]
    assert [each["status"] for each in shown.body["attempts"]] == [422, 422]
    for path, form in (("/entry", {**KEY, "text": True}), ("/export", {"text": True})):
        refused = await post(here, path, grace, **form)
        assert (refused.status, refused.body) == (403, "This needs the role text.")
        seen = await post(here, path, hedy, **form)
        assert b"a secret plan" in seen.raw
        assert b"refused by the test" in seen.raw, "what the CRM answered"
        assert b"ada" not in seen.raw.replace(b"u-ada", b""), "her API key"
    assert b"secret plan" not in (await post(here, "/export", hedy)).raw


@SQLITE_ONLY
async def test_decisions_that_may_not_be_made_say_why(here: LiveServer) -> None:
    await here.log(body(message(1)))
    grace = await here.operator("grace", Role.ACT)
    other = {**KEY, "contactId": "c-2", "contactName": "Omar Reyes"}
    refused = await post(here, "/link", grace, **other)
    assert refused.status == 409
    assert "is in the CRM already" in refused.body
    assert (await post(here, "/retry", grace, **{**KEY, "tenant": "otto"})).status == 404
    assert (await post(here, "/entry", grace, **{**KEY, "platform": "none"})).status == 404
    for form, said in (
        ({**KEY, "contactId": ""}, "contactId: expected `str` of length >= 1"),
        ({**other, "contactId": "c" * 256}, "contactId: longer than 255 characters"),
        ({**other, "contactId": "c-\x1b[2J"}, "contactId: holds a control character"),
        ({**other, "contactId": "createNewContact"}, "contactId: createNewContact is the client's word"),
        ({"tenant": "acme"}, "platform: is missing"),
        ({**other, "fence": -1}, "fence: expected `int` >= 0"),
        ({**other, "tenant": "a\0b"}, "tenant: expected `str` matching regex"),
    ):
        reply = await post(here, "/link", grace, **form)
        assert reply.status == 400
        assert reply.body.startswith(said)
    assert (await post(here, "", grace, after="e30=")).body == "after: this is no page's next"


async def test_all_of_a_cause_are_tried_again_batch_by_batch(here: LiveServer) -> None:
    await here.token()
    here.crm.refuse = lambda _call: refusal(422)
    await asyncio.gather(*(here.log(body(message(n), conversation=f"c{n}")) for n in range(1, 6)))
    here.crm.refuse = lambda _call: None
    grace = await here.operator("grace", Role.ACT)
    counts, after = [], None
    while True:
        batch = (await post(here, "/retry-some", grace, cause="rejected", limit=2, after=after)).body
        counts.append(batch["done"])
        after = batch["next"]
        if after is None:
            break
    assert counts == [2, 2, 1]
    await here.until_logged(*"12345")
    assert len(await here.activities()) == 5


@SQLITE_ONLY
async def test_what_is_in_the_crm_is_marked_and_linked(here: LiveServer) -> None:
    await log_and_fail(here)
    grace = await here.operator("grace", Role.ACT)
    assert (await post(here, "/link", grace, **KEY, contactId="c-2", contactName="Omar Reyes")).status == 200
    reply = await post(here, "/done", grace, **KEY, thirdPartyLogId="by-hand", everything=True)
    assert (reply.body["planned"], reply.body["logged"]) == (0, 2)
    assert await here.states() == {"1": "logged", "2": "logged"}


# ------------------------------------------------------------------------- logs that are shown with one id


def group(*messages: dict[str, Any], log: str = "777") -> dict[str, Any]:
    """A group's messages, under this id of its log, for Maya."""
    made = body(*messages, conversation=log, correspondents=(MAYA, OMAR))
    made["logInfo"]["conversationLogId"] = log
    return made


def day(*messages: dict[str, Any], log: str) -> dict[str, Any]:
    made = body(*messages, conversation=log)
    made["logInfo"]["conversationLogId"] = log
    return made


@SQLITE_ONLY
async def test_of_several_logs_with_one_id_one_is_named_by_its_kind(here: LiveServer) -> None:
    await here.token()
    here.crm.refuse = lambda _call: refusal(422)
    await here.log(group(message(1)))
    await here.log(day(message(2), log="777-c-1"))
    here.crm.refuse = lambda _call: None
    grace = await here.operator("grace", Role.ACT)
    entries = (await post(here, "", grace)).body["entries"]
    told = {(each["conversationLogId"], each["kind"], each["groupContactId"]) for each in entries}
    assert told == {("777-c-1", "group", "c-1"), ("777-c-1", "conversation", None)}
    key = {"tenant": "acme", "platform": "demo", "conversationLogId": "777-c-1"}
    refused = await post(here, "/entry", grace, **key)
    assert (refused.status, refused.body.partition(":")[0]) == (409, "Several conversation logs have this id")
    for kind, id_ in (("group", "1-c-1"), ("conversation", "2")):
        shown = (await post(here, "/entry", grace, **key, kind=kind)).body
        assert [row["id"] for row in shown["rows"]] == [id_]
    assert (await post(here, "/entry", grace, **key, kind="thread")).status == 404
    assert (await post(here, "/entry", grace, **key, groupContactId="c-1")).body["entry"]["kind"] == "group"
    assert (await post(here, "/entry", grace, **key, kind="day")).status == 400
    assert (await post(here, "/retry", grace, **key, kind="conversation")).body["planned"] == 1
    await here.until_logged("2")
    assert (await here.states())["1-c-1"] == "failed"


@SQLITE_ONLY
async def test_a_groups_log_that_is_linked_has_another_id(here: LiveServer) -> None:
    await here.token()
    here.crm.refuse = lambda _call: refusal(422)
    await here.log(group(message(1)))
    here.crm.refuse = lambda _call: None
    grace = await here.operator("grace", Role.ACT)
    key = {"tenant": "acme", "platform": "demo", "conversationLogId": "777-c-1"}
    linked = await post(here, "/link", grace, **key, contactId="c-2", contactName="Omar Reyes")
    assert linked.body == {"conversationLogId": "777-c-2", "planned": 0, "logged": 0, "withoutText": 0}
    assert (await post(here, "/retry", grace, **key)).status == 404
    assert (await post(here, "/retry", grace, **{**key, "conversationLogId": "777-c-2"})).body["planned"] == 1
    await here.until_logged("1-c-2")
    (activity,) = await here.activities()
    assert activity["contact_id"] == "c-2"
