"""Many requests at once: one activity, every message in it once, good answers for everybody."""

from __future__ import annotations

import asyncio
import random

import pytest

from support.memory_crm import Appending, Batches, Crm, Html, Plain
from support.requests import body, message, thread
from support.runtime_fixture import runtime_fixture


@pytest.mark.parametrize("connector", [Plain, Html, Batches, Appending])
async def test_fifty_equal_requests_at_once(database_url: str, connector: type[Plain]) -> None:
    async with runtime_fixture(database_url, connector, crm=Crm(delay=0.01)) as here:
        request = body(message(1, "only once"))
        answers = await asyncio.gather(*(here.send(request) for _ in range(50)))
        assert here.crm.only.body.count("only once") == 1
        assert here.crm.count("create") == 1
        assert here.crm.count("update") == 0
        assert {answer.successful for answer in answers} == {True}
        assert [answer.log_ids for answer in answers] == [["1"]] * 50
        assert await here.states() == {"1": "logged"}


@pytest.mark.parametrize("connector", [Plain, Html, Batches])
async def test_fifty_different_messages_of_one_new_conversation_log(
    database_url: str, connector: type[Plain]
) -> None:
    async with runtime_fixture(database_url, connector, crm=Crm(delay=0.001)) as here:
        numbers = list(range(1, 51))
        random.Random(7).shuffle(numbers)
        answers = await asyncio.gather(*(here.send(body(message(n, f"text-{n:02}."))) for n in numbers))
        text = here.crm.only.body
        places = [text.index(f"text-{n:02}.") for n in range(1, 51)]
        assert places == sorted(places), "in time order"
        assert all(text.count(f"text-{n:02}.") == 1 for n in numbers)
        assert here.crm.count("create") == 1
        assert [answer.log_ids for answer in answers] == [[str(n)] for n in numbers]
        if connector is Batches:
            assert here.crm.count("update") < 49


async def test_fifty_snapshots_of_a_shared_thread_shuffled(database_url: str) -> None:
    async with runtime_fixture(database_url, crm=Crm(delay=0.001)) as here:
        texts = [f"text-{n:02}." for n in range(1, 51)]
        snapshots = [thread(*texts[:n]) for n in range(1, 51)]
        random.Random(7).shuffle(snapshots)
        answers = await asyncio.gather(*(here.send(snapshot) for snapshot in snapshots))
        text = here.crm.only.body
        assert [text.count(each) for each in texts] == [1] * 50
        async with runtime_fixture(database_url, crm=Crm()) as fresh:
            await fresh.send(thread(*texts, id_="composed-at-once"))
            assert text == fresh.crm.only.body, "as if the largest had been the only one"
        assert {answer.successful for answer in answers} == {True}
        assert here.crm.count("create") == 1
        assert here.crm.count("update") < 49, "of several that wait only the newest is sent"


async def test_two_processes_share_the_work(database_url: str) -> None:
    """Two runtimes on one database, as two processes are, with a CRM between them."""
    crm = Crm(delay=0.005)
    async with runtime_fixture(database_url, crm=crm) as one, runtime_fixture(database_url, crm=crm) as other:
        requests = [body(message(n, f"text-{n:02}.")) for n in range(1, 21)]
        answers = await asyncio.gather(*(side.send(request) for request in requests for side in (one, other)))
        text = crm.only.body
        assert [text.count(f"text-{n:02}.") for n in range(1, 21)] == [1] * 20
        assert {answer.successful for answer in answers} == {True}
        assert set((await one.states()).values()) == {"logged"}
