"""Requests for one conversation, spread over four servers at once: one activity, all of it once, good answers."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from support.effort import ROUNDS, random_from_seed
from support.live_server import ADA
from support.process_group import journal, until
from support.requests import START, body, message, thread
from system.processes.cluster import SERVERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from system.processes.cluster import Cluster

SLOW = 200
DELAYS = pytest.mark.parametrize("delay_ms", [0, 20, SLOW])

pytestmark = pytest.mark.timeout(120 + 60 * ROUNDS)


def rounds(delay_ms: int) -> range:
    """How often: as was asked for, else twice with a fast CRM and once with a slow one."""
    return range(ROUNDS or (1 if delay_ms == SLOW else 2))


def message_of(conversation: str, number: int) -> tuple[str, str]:
    """Id and text of a conversation's message."""
    return f"{conversation}-{number}", f"{conversation}, text {number}."


def request(conversation: str, number: int) -> dict[str, Any]:
    """A request with one message."""
    id_, text = message_of(conversation, number)
    return body(message(id_, text, at=START + 60_000 * number), conversation=conversation)


def are_good(answers: Sequence[dict[str, Any]], ids: Sequence[str]) -> bool:
    """Whether all are successful, each with its id, or with none when it came after the fact."""
    return all(
        answer["successful"] is True and answer["logIds"] in ([id_], [])
        for answer, id_ in zip(answers, ids, strict=True)
    )


async def log_states(cluster: Cluster, log_id: str) -> dict[str, str]:
    """The states of a conversation log's rows, once nothing is left to be done."""
    await until(lambda: _at_rest(cluster, log_id), f"{log_id} is at rest")
    return journal(cluster.database_url)[log_id].rows


async def _at_rest(cluster: Cluster, log_id: str) -> bool:
    found = journal(cluster.database_url).get(log_id)
    return found is not None and found.at_rest


@DELAYS
async def test_fifty_equal_requests(cluster: Cluster, delay_ms: int) -> None:
    await cluster.slow(delay_ms)
    for each in rounds(delay_ms):
        name = f"equal {delay_ms} {each}"
        id_, text = message_of(name, 1)
        creates = await cluster.crm.count(ADA, "creates")
        answers = await asyncio.gather(*(cluster.log(number, request(name, 1)) for number in range(50)))
        assert are_good(answers, [id_] * 50), answers
        (written,) = await cluster.bodies(name)
        assert written.count(text) == 1
        assert await cluster.crm.count(ADA, "creates") == creates + 1
        assert await log_states(cluster, f"{name}/7/13/2026") == {id_: "logged"}


@DELAYS
async def test_different_messages_of_one_new_conversation(cluster: Cluster, delay_ms: int) -> None:
    await cluster.slow(delay_ms)
    for each in rounds(delay_ms):
        name = f"different {delay_ms} {each}"
        numbers = list(range(1, 9 if delay_ms == SLOW else 51))
        random_from_seed(name).shuffle(numbers)
        answers = await asyncio.gather(*(cluster.log(number, request(name, number)) for number in numbers))
        assert are_good(answers, [message_of(name, number)[0] for number in numbers]), answers
        states = await log_states(cluster, f"{name}/7/13/2026")
        assert states == {message_of(name, number)[0]: "logged" for number in numbers}
        (written,) = await cluster.bodies(name)
        assert_in_order(written, name, len(numbers))


def assert_in_order(written: str, name: str, count: int) -> None:
    """Every text stands there once, and after those before it."""
    texts = [message_of(name, number)[1] for number in range(1, count + 1)]
    assert [written.count(text) for text in texts] == [1] * count
    places = [written.index(text) for text in texts]
    assert places == sorted(places)


@DELAYS
async def test_shuffled_snapshots_of_one_shared_thread(cluster: Cluster, delay_ms: int) -> None:
    await cluster.slow(delay_ms)
    for each in rounds(delay_ms):
        name = f"thread {delay_ms} {each}"
        texts = [message_of(name, number)[1] for number in range(1, 51)]
        sizes = list(range(1, 51))
        random_from_seed(name).shuffle(sizes)
        requests = [thread(*texts[:size], id_=name) for size in sizes]
        answers = await asyncio.gather(
            *(cluster.log(size, made) for size, made in zip(sizes, requests, strict=True))
        )
        assert are_good(answers, [name] * 50), answers
        assert await log_states(cluster, name) == {name: "logged"}
        (written,) = await cluster.bodies(name)
        await cluster.log(0, thread(*texts, id_=f"{name} at once"))
        assert await cluster.bodies(name) == [written, written], "as if the largest had been the only one"


@pytest.mark.parametrize("each", range(ROUNDS or 1))
async def test_one_of_four_is_killed_in_the_middle(cluster: Cluster, each: int) -> None:
    """Each server is at work on a conversation of its own, with messages from everywhere, when one of them dies."""
    names = [f"killed {each} {number}" for number in range(SERVERS)]
    draw = random_from_seed(f"killed {each}")
    dead = draw.randrange(SERVERS)
    later = [(name, number) for name in names for number in range(2, 21)]
    draw.shuffle(later)
    wanted = [(name, 1) for name in names] + later
    sent = await begin(cluster, wanted)
    await until(lambda: texts_in(cluster, names[dead], 6), "it is in the middle")
    await cluster.servers[dead].kill()
    answers = await asyncio.gather(*sent)
    cluster.servers[dead] = await cluster.new_server()
    assert are_good(answers, [message_of(name, number)[0] for name, number in wanted]), answers
    for name in names:
        assert set((await log_states(cluster, f"{name}/7/13/2026")).values()) == {"logged"}
        (written,) = await cluster.bodies(name)
        assert_in_order(written, name, 20)


async def begin(cluster: Cluster, wanted: Sequence[tuple[str, int]]) -> list[asyncio.Task[dict[str, Any]]]:
    """Sends these; the first ones, one to each server, are under way when all the others are accepted."""
    await cluster.slow(20)
    await cluster.crm.chaos(ADA, hold=True)
    sent: list[asyncio.Task[dict[str, Any]]] = []
    for name, number in wanted:
        sent.append(asyncio.create_task(cluster.log(len(sent), request(name, number))))
        if len(sent) == SERVERS:
            for first, _ in wanted[:SERVERS]:
                await until(partial(texts_in, cluster, first, 1), "the first is in the CRM")
    await until(lambda: accepted(cluster, wanted), "all are accepted")
    await cluster.crm.chaos(ADA, hold=False)
    return sent


async def texts_in(cluster: Cluster, name: str, count: int) -> bool:
    """Whether the CRM has so many texts of a conversation."""
    return "".join(await cluster.bodies(name)).count(f"{name}, text") >= count


async def accepted(cluster: Cluster, wanted: Sequence[tuple[str, int]]) -> bool:
    """Whether the journal has all of these."""
    rows = {id_ for log in journal(cluster.database_url).values() for id_ in log.rows}
    return rows >= {message_of(name, number)[0] for name, number in wanted}


# ------------------------------------------------------------------------------------------- new contacts


@DELAYS
async def test_a_form_that_is_sent_to_all_servers_at_once_makes_one_contact(
    cluster: Cluster, delay_ms: int
) -> None:
    await cluster.slow(delay_ms)
    for round_ in rounds(delay_ms):
        name = f"Nina-{delay_ms}-{round_}"
        form = {"phoneNumber": f"+1415555{1000 + 10 * round_ + delay_ms}", "newContactName": name}
        ids = await asyncio.gather(
            *(cluster.servers[n % SERVERS].make_contact(form, cluster.token) for n in range(12))
        )
        (made,) = await cluster.crm.contacts(ADA, name)
        assert set(ids) == {made["id"]}
