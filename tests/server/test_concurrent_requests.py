"""Fifty requests at once over HTTP: one activity, every message in it once, good answers for everybody."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from support.requests import body, message, thread

if TYPE_CHECKING:
    from support.live_server import LiveServer


async def test_fifty_equal_requests(here: LiveServer) -> None:
    await here.token()
    request = body(message(1, "only once"))
    replies = await asyncio.gather(*(here.log(request) for _ in range(50)))
    assert {(reply.status, reply.body["successful"]) for reply in replies} == {(200, True)}
    assert {tuple(reply.body["logIds"]) for reply in replies} <= {("1",), ()}
    assert replies[0].body["logIds"] == ["1"]
    assert (await here.only_activity())["body"].count("only once") == 1
    assert len(here.crm.writes) == 1


async def test_fifty_different_messages_of_one_new_conversation_log(here: LiveServer) -> None:
    await here.token()
    numbers = list(range(1, 51))
    random.Random(11).shuffle(numbers)
    replies = await asyncio.gather(*(here.log(body(message(n, f"text-{n:02}."))) for n in numbers))
    assert [reply.body["logIds"] for reply in replies] == [[str(n)] for n in numbers]
    assert {reply.body["returnMessage"]["message"] for reply in replies} == {"Message logged"}
    text = (await here.only_activity())["body"]
    places = [text.index(f"text-{n:02}.") for n in range(1, 51)]
    assert places == sorted(places)
    assert all(text.count(f"text-{n:02}.") == 1 for n in numbers)
    assert len([call for call in here.crm.calls if call.method == "POST"]) == 1


async def test_fifty_snapshots_of_a_shared_thread(here: LiveServer) -> None:
    await here.token()
    texts = [f"text-{n:02}." for n in range(1, 51)]
    snapshots = [thread(*texts[:n]) for n in range(1, 51)]
    random.Random(11).shuffle(snapshots)
    replies = await asyncio.gather(*(here.log(snapshot) for snapshot in snapshots))
    assert {(reply.status, reply.body["successful"]) for reply in replies} == {(200, True)}
    text = (await here.only_activity())["body"]
    assert [text.count(each) for each in texts] == [1] * 50
    assert len(here.crm.writes) < 50, "of several that wait only the newest is sent"


async def test_many_conversations_at_once_do_not_wait_for_each_other(here: LiveServer) -> None:
    await here.token()
    requests = [body(message(n, f"text-{n:02}."), conversation=f"conv-{n}") for n in range(1, 31)]
    replies = await asyncio.gather(*(here.log(request) for request in requests))
    assert [reply.body["logIds"] for reply in replies] == [[str(n)] for n in range(1, 31)]
    assert len(await here.activities()) == 30
