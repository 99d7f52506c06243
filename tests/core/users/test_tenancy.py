"""Tenants and CRMs never touch each other's rows; colleagues of one tenant share theirs."""

from __future__ import annotations

import asyncio

from messagelog.connectors import AuthExpired
from support.memory_crm import Crm, Plain
from support.requests import body, message, thread
from support.runtime_fixture import runtime_fixture
from support.waiting import until


class Other(Plain):
    name = "other"
    display_name = "Other CRM"


async def test_two_tenants_with_equal_ids(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        answers = await asyncio.gather(
            here.send(body(message(1, "for acme")), user="acme/ada"),
            here.send(body(message(1, "for otto")), user="otto/otto"),
            here.send(thread("for acme"), user="acme/ada"),
            here.send(thread("for otto"), user="otto/otto"),
        )
        assert [answer.log_ids for answer in answers] == [["1"], ["1"], ["thread-1"], ["thread-1"]]
        await here.send(body(message(1), message(2, "again acme")), user="acme/ada")
        texts = dict.fromkeys(("acme", "otto"), "")
        for activity in here.crm.activities.values():
            texts[activity.tenant] += activity.body
        assert "otto" not in texts["acme"]
        assert "acme" not in texts["otto"]
        assert "again acme" in texts["acme"]
        assert len({activity.key for activity in here.crm.activities.values()}) == 4


async def test_one_tenant_does_not_wait_for_another(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        here.crm.gate = asyncio.Event()
        slow = asyncio.create_task(here.send(body(message(1)), user="otto/otto"))
        await until(lambda: here.crm.activities)
        here.crm.gate.set()
        here.crm.gate = None
        assert (await here.send(body(message(1)), user="acme/ada")).log_ids == ["1"]
        await slow


async def test_colleagues_share_a_threads_activity(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        assert (await here.send(body(message(1)), user="acme/ada")).log_ids == ["1"]
        assert (await here.send(body(message(1)), user="acme/grace")).log_ids == [], "logged by one, for all"
        assert (await here.send(body(message(1), message(2)), user="acme/grace")).log_ids == ["2"]
        assert len(here.crm.activities) == 1
        assert [call.user for call in here.crm.calls] == ["ada", "grace"]
        assert (await here.rows())["2"].user_id == "grace"


async def test_a_colleague_who_has_to_sign_in_again_does_not_block_the_others(database_url: str) -> None:
    async with runtime_fixture(database_url, crm=Crm(delay=0.01)) as here:
        await here.send(body(message(1)), user="acme/ada")
        here.crm.before = lambda call: AuthExpired("HTTP 401") if call.user == "grace" else None
        graces, adas = await asyncio.gather(
            here.send(body(message(2), message(3)), user="acme/grace"),
            here.send(body(message(4), message(5)), user="acme/ada"),
        )
        assert graces.log_ids == ["2", "3"]
        assert "sign in" in graces.return_message.message
        assert adas.log_ids == ["4", "5"]


async def test_the_same_message_in_two_crms(database_url: str) -> None:
    second = Crm()
    async with runtime_fixture(database_url, more={"other": Other(second)}) as here:
        assert (await here.send(body(message(1)))).log_ids == ["1"]
        assert (await here.send(body(message(1)), platform="other")).log_ids == ["1"]
        assert len(here.crm.activities) == 1
        assert len(second.activities) == 1
