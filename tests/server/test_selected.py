"""Selected messages: one record of exactly those, each message in one record, and which messages are logged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from support.live_server import ADA, GRACE, OTTO, SQLITE_ONLY, refusal
from support.requests import body, message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.live_server import LiveServer, Reply

DAY = 86_400_000


def selection(ids: Sequence[str], *messages: Any, place: str = "top", **info: Any) -> dict[str, Any]:
    """A request for some of these messages, as the newest client sends it: without a conversation log's id."""
    sent = body(*messages)
    del sent["logInfo"]["conversationLogId"]
    sent["logInfo"] |= info
    (sent if place == "top" else sent["logInfo"])["selectedMessageIds"] = list(ids)
    return sent


async def ask(here: LiveServer, sent: Any, path: str = "/messageLog", user: str = ADA) -> Reply:
    """A request with the token as a bearer."""
    headers = {"authorization": f"Bearer {await here.token(user)}"}
    return await here.ask("POST", path, json=sent, headers=headers)


def on(number: int, day: int = 0, **fields: Any) -> dict[str, Any]:
    """A message of the conversation on a later day."""
    made = message(number, f"words {number}.", **fields)
    made["creationTime"] += day * DAY
    return made


async def records(here: LiveServer) -> list[str]:
    """The bodies of all activities."""
    return [each["body"] for each in await here.activities()]


async def each_once(here: LiveServer, *numbers: int) -> None:
    """Every message stands in one record, once."""
    text = "\n".join(await records(here))
    assert {number: text.count(f"words {number}.") for number in numbers} == dict.fromkeys(numbers, 1)


@pytest.mark.parametrize("place", ["top", "info"])
async def test_one_record_of_exactly_those_messages_over_several_days(here: LiveServer, place: str) -> None:
    sent = selection(["3", "1"], on(1), on(2), on(3, day=2), place=place)
    reply = await ask(here, sent)
    (activity,) = await here.activities()
    assert reply.body["successful"] is True
    assert reply.body["messageLogs"] == {"1": activity["id"], "3": activity["id"]}
    assert (reply.body["logIds"], reply.body["logId"]) == ([activity["id"]], activity["id"])
    text = activity["body"]
    assert text.index("words 1.") < text.index("words 3.")
    assert "words 2." not in text
    assert "2026-07-13" in activity["subject"]
    assert "8:0" in activity["subject"], "its time tells it from the day's"


async def test_a_days_id_in_the_request_is_not_joined(here: LiveServer) -> None:
    await ask(here, body(on(1)))
    sent = selection(["2", "3"], on(1), on(2), on(3, day=1), conversationLogId="conv-7/7/13/2026")
    assert (await ask(here, sent)).body["successful"] is True
    assert len(await records(here)) == 2
    await each_once(here, 1, 2, 3)


async def test_what_stands_in_a_record_joins_nothing_and_is_written_nowhere_again(here: LiveServer) -> None:
    await ask(here, body(on(1)))
    (day,) = await here.activities()
    reply = await ask(here, selection(["1", "2"], on(1), on(2)))
    assert reply.body["messageLogs"]["1"] == day["id"]
    assert reply.body["messageLogs"]["2"] != day["id"]
    assert reply.body["logIds"] == [day["id"], reply.body["messageLogs"]["2"]]
    await each_once(here, 1, 2)
    again = await ask(here, selection(["1", "2"], on(1), on(2)))
    assert again.body["returnMessage"]["message"] == "Already logged"
    assert again.body["messageLogs"] == reply.body["messageLogs"]
    assert len(await records(here)) == 2


async def test_a_later_day_writes_only_what_no_record_holds(here: LiveServer) -> None:
    await ask(here, selection(["2"], on(1), on(2), on(3)))
    await ask(here, body(on(1), on(2), on(3)))
    assert len(await records(here)) == 2
    await each_once(here, 1, 2, 3)


async def test_many_messages_are_looked_at_as_selected(here: LiveServer) -> None:
    """The quick first look at ids does not take a selection for a day that is logged."""
    day = [on(number) for number in range(1, 11)]
    await ask(here, body(*day))
    sent = selection(["11"], *day, on(11), conversationLogId="conv-7/7/13/2026")
    assert list((await ask(here, sent)).body["messageLogs"]) == ["11"]
    await each_once(here, *range(1, 12))


async def test_requests_at_once_write_each_message_once(here: LiveServer) -> None:
    messages = [on(1), on(2), on(3)]
    replies = await asyncio.gather(
        ask(here, selection(["1", "2"], *messages)),
        ask(here, selection(["2", "3"], *messages)),
        ask(here, body(*messages)),
        ask(here, selection(["2", "1"], *messages)),
    )
    assert [reply.body["successful"] for reply in replies] == [True] * 4
    await each_once(here, 1, 2, 3)


@SQLITE_ONLY
async def test_a_message_that_has_no_record_yet_is_left_out(here: LiveServer) -> None:
    await here.token()
    here.crm.refuse = lambda call: refusal(401) if call.method == "POST" else None
    reply = await ask(here, selection(["1"], on(1)))
    assert (reply.status, reply.body["successful"]) == (200, True)
    assert (reply.body["messageLogs"], reply.body["logIds"]) == ({}, [])
    assert "logId" not in reply.body


@SQLITE_ONLY
async def test_none_of_the_selected_is_there(here: LiveServer) -> None:
    reply = await ask(here, selection(["9"], on(1)))
    assert (reply.status, reply.body["successful"]) == (200, False)
    assert await records(here) == []


@SQLITE_ONLY
async def test_a_group_is_selected_for_its_contact(here: LiveServer) -> None:
    omar = {"phoneNumber": "+14155550177", "name": "Omar Reyes"}
    sent = selection(["1"], on(1), on(2))
    sent["logInfo"]["correspondents"].append(omar)
    first = (await ask(here, sent)).body["messageLogs"]
    second = (await ask(here, {**sent, "contactId": "c-2", "contactName": "Omar Reyes"})).body["messageLogs"]
    assert list(first) == list(second) == ["1"]
    assert first["1"] != second["1"], "a group is logged for each contact"
    match = await ask(here, {"conversationId": "conv-7", "messageIds": ["1"]}, "/messageLog/match")
    assert match.body["logs"][0]["matched"] is True


@SQLITE_ONLY
async def test_a_shared_thread_is_refused(here: LiveServer) -> None:
    sent = selection(["1"], on(1), owner={"name": "Support"})
    reply = await ask(here, sent)
    assert (reply.status, reply.body["successful"]) == (422, False)
    assert "logged together" in reply.body["returnMessage"]["message"]


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("ids", "words"),
    [("1", "expected a list"), ([{}], "expected text or a whole number"), ([""], "empty"), (["\0"], "")],
)
async def test_ids_that_cannot_be_are_named(here: LiveServer, ids: Any, words: str) -> None:
    sent = body(on(1)) | {"selectedMessageIds": ids}
    reply = await ask(here, sent)
    assert reply.status == 400
    assert "selectedMessageIds" in reply.body["returnMessage"]["message"]
    assert words in reply.body["returnMessage"]["message"]


@SQLITE_ONLY
@pytest.mark.parametrize("ids", [[], None])
async def test_an_empty_selection_is_none(here: LiveServer, ids: Any) -> None:
    reply = await ask(here, body(on(1)) | {"selectedMessageIds": ids})
    assert reply.body["logIds"] == ["1"]


@SQLITE_ONLY
async def test_the_manifest_says_so(here: LiveServer) -> None:
    manifest = (await here.ask("GET", "/crmManifest?platformName=demo")).body
    assert manifest["platforms"]["demo"]["isSelectedMessageLogSupported"] is True


# --------------------------------------------------------------------------------------------- match


async def match(here: LiveServer, ids: Sequence[Any], user: str = ADA) -> Reply:
    """Ask which of these messages are logged."""
    return await ask(here, {"conversationId": "conv-7", "messageIds": list(ids)}, "/messageLog/match", user)


async def test_which_messages_are_logged(here: LiveServer) -> None:
    day = (await ask(here, body(on(1)))).body["logIds"]
    assert day == ["1"]
    record = (await ask(here, selection(["2"], on(2)))).body["logId"]
    reply = await match(here, ["3", 2, "1"])
    (first,) = [each["id"] for each in await here.activities() if each["id"] != record]
    assert reply.body == {
        "successful": True,
        "logs": [
            {"messageId": "3", "matched": False},
            {"messageId": "2", "matched": True, "logId": record, "contactId": "c-1"},
            {"messageId": "1", "matched": True, "logId": first, "contactId": "c-1"},
        ],
        "messageLogs": {"2": record, "1": first},
    }
    assert (await match(here, ["1"], GRACE)).body["logs"][0]["matched"], "a colleague's log counts"
    assert not (await match(here, ["1"], OTTO)).body["logs"][0]["matched"], "another tenant's does not"


@SQLITE_ONLY
async def test_what_failed_is_not_matched(here: LiveServer) -> None:
    await here.token()
    here.crm.refuse = lambda call: refusal(422) if call.method == "POST" else None
    await ask(here, body(on(1)))
    assert (await match(here, ["1"])).body["logs"] == [{"messageId": "1", "matched": False}]


@SQLITE_ONLY
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"messageIds": "1"},
        {"messageIds": [{}]},
        {"messageIds": [""]},
        {"messageIds": list(range(1, 102))},
    ],
)
async def test_a_question_that_cannot_be_answered_is_a_400(here: LiveServer, form: Any) -> None:
    reply = await ask(here, form, "/messageLog/match")
    assert reply.status == 400
    assert "messageIds" in reply.body["returnMessage"]["message"]
    reply = await here.ask("POST", "/messageLog/match", json={"messageIds": []})
    assert (reply.status, isinstance(reply.body, str)) == (400, True)
