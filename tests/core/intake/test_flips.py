"""A conversation that is seen as one to one and then as a group, or the other way round: a message is logged once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from messagelog.connectors import Rejected
from support.requests import MAYA, OMAR, body, message
from support.runtime_fixture import RuntimeFixture, runtime_fixture
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.core.intake.answer import Answer

BOTH = (MAYA, OMAR)
OMARS: dict[str, Any] = {"contact": "c-2", "name": "Omar Reyes"}


def alone(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return body(*messages, **more)


def together(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return body(*messages, correspondents=BOTH, **more)


def count(here: RuntimeFixture, text: str, contact: str = "c-1") -> int:
    """How often a text stands in the activities of a contact."""
    return sum(each.body.count(text) for each in here.crm.activities.values() if each.contact_id == contact)


def told(answer: Answer) -> str:
    return answer.return_message.message


either_way = pytest.mark.parametrize(("first", "then"), [(alone, together), (together, alone)])


@either_way
async def test_a_message_that_comes_again_in_the_other_kind_is_the_same(
    database_url: str, first: Callable[..., dict[str, Any]], then: Callable[..., dict[str, Any]]
) -> None:
    async with runtime_fixture(database_url) as here:
        assert (await here.send(first(message(1)))).successful
        answer = await here.send(then(message(1)))
        assert (answer.successful, answer.log_ids, told(answer)) == (True, [], "Already logged")
        assert len(here.crm.activities) == 1


@either_way
async def test_new_messages_go_to_the_record_of_their_kind(
    database_url: str, first: Callable[..., dict[str, Any]], then: Callable[..., dict[str, Any]]
) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(first(message(1)))
        answer = await here.send(then(message(1), message(2)))
        assert len(answer.log_ids) == 1
        await here.send(first(message(1), message(2), message(3)))
        await here.send(then(message(1), message(2), message(3), message(4)))
        assert [count(here, f"text {n}") for n in range(1, 5)] == [1, 1, 1, 1]
        bodies = [each.body for each in here.crm.activities.values()]
        assert ["text 1" in each and "text 3" in each for each in bodies] == [True, False]
        assert ["text 2" in each and "text 4" in each for each in bodies] == [False, True]


@either_way
async def test_for_another_contact_it_is_logged_by_itself(
    database_url: str, first: Callable[..., dict[str, Any]], then: Callable[..., dict[str, Any]]
) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(first(message(1)))
        assert (await here.send(then(message(1), **OMARS))).log_ids
        assert [count(here, "text 1", contact) for contact in ("c-1", "c-2")] == [1, 1]


@either_way
async def test_what_failed_in_one_kind_is_logged_in_the_other(
    database_url: str, first: Callable[..., dict[str, Any]], then: Callable[..., dict[str, Any]]
) -> None:
    async with runtime_fixture(database_url) as here:
        here.crm.before = lambda _call: Rejected("HTTP 422", status=422)
        assert not (await here.send(first(message(1)))).successful
        here.crm.before = None
        assert (await here.send(then(message(1)))).successful
        assert count(here, "text 1") == 1
        await here.send(first(message(1)))
        assert count(here, "text 1") == 1


@either_way
async def test_a_message_on_its_way_in_one_kind_is_not_sent_in_the_other(
    database_url: str, first: Callable[..., dict[str, Any]], then: Callable[..., dict[str, Any]]
) -> None:
    async with runtime_fixture(database_url) as here:
        gate = here.crm.gate = asyncio.Event()
        waiting = asyncio.create_task(here.send(first(message(1))))
        await until(lambda: bool(here.crm.calls))
        assert (await here.send(then(message(1)))).successful
        gate.set()
        assert (await waiting).successful
        await here.runtime.idle()
        assert count(here, "text 1") == 1
