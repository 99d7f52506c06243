"""A tenant whose CRM hangs keeps no other tenant waiting, neither at the same CRM nor elsewhere."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from messagelog.connectors import CrmHttp, OutcomeUnknown, Unavailable
from messagelog.connectors.limits import RequestEnd
from messagelog.core import Times
from messagelog.core.rate_limits import call_context
from messagelog.core.users.directory import CALLS_OF_A_TENANT
from support.live_server import SQLITE_ONLY
from support.memory_crm import Crm, Plain
from support.requests import body, message
from support.runtime_fixture import runtime_fixture
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from messagelog.connectors import MessageLog, Session

MANY = 300
"""More requests than any pool that all tenants share had connections."""


class Hanging:
    """A CRM on a socket that answers everybody but the tenant `acme`, whose requests it holds until it is let go."""

    def __init__(self) -> None:
        self.url = ""
        self.held = 0
        self.most_held = 0
        self.let_go = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            if b"Bearer acme/" in head:
                self.held += 1
                self.most_held = max(self.held, self.most_held)
                await self.let_go.wait()
                self.held -= 1
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"id":"a-1"}')
        writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    """A request's head, with its body read; nothing when the connection has ended."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length or 0))
    return head


class OverHttp(Plain):
    """The CRM in memory for signing in, and a socket for what is logged."""

    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        made = await session.http.post("/activities", json={"body": log.content and log.content.body})
        id_: str = made["id"]
        return id_


class Elsewhere(OverHttp):
    name = "elsewhere"


@asynccontextmanager
async def hanging() -> AsyncIterator[Hanging]:
    crm = Hanging()
    server = await asyncio.start_server(crm.answer, "127.0.0.1", 0)
    crm.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield crm
    finally:
        crm.let_go.set()
        server.close()


def speaking_to(crm: Hanging, kind: type[OverHttp] = OverHttp) -> OverHttp:
    connector = kind(Crm())
    connector.base_url = crm.url
    return connector


def request(number: int) -> dict[str, Any]:
    return body(message(number), conversation=f"conv-{number}")


@SQLITE_ONLY
async def test_a_tenant_whose_crm_hangs_takes_no_connection_of_another(database_url: str) -> None:
    times = Times(answer=30.0, call=30.0, lease=90.0)
    async with (
        hanging() as crm,
        runtime_fixture(
            database_url,
            lambda _: speaking_to(crm),
            settings=times,
            more={"elsewhere": speaking_to(crm, Elsewhere)},
            private_hosts=frozenset({"127.0.0.1"}),
        ) as here,
    ):
        await here.user("acme/ada")
        waiting = [asyncio.create_task(here.send(request(n), user="acme/ada")) for n in range(MANY)]
        await until(lambda: crm.held >= CALLS_OF_A_TENANT)
        others = await asyncio.gather(
            *(here.send(request(n), user="otto/otto") for n in range(5)),
            *(here.send(request(n), user="otto/otto", platform="elsewhere") for n in range(5)),
        )
        assert {answer.return_message.message_type for answer in others} == {"success"}, (
            "done, not only accepted"
        )
        assert not any(task.done() for task in waiting)
        assert crm.most_held == CALLS_OF_A_TENANT
        crm.let_go.set()
        assert all(answer.successful for answer in await asyncio.gather(*waiting))


async def test_what_gets_no_place_among_its_tenants_calls_was_not_sent() -> None:
    """Its recovery is that of a call that did not arrive: nothing is unknown about it."""
    async with hanging() as crm, aiohttp.ClientSession() as client:
        places = asyncio.Semaphore(1)
        patient, impatient = (
            CrmHttp(
                client,
                crm.url,
                headers={"Authorization": "Bearer acme/ada"},
                call_timeout=seconds,
                places=places,
            )
            for seconds in (30.0, 0.02)
        )
        first = asyncio.create_task(patient.post("/activities"))
        await until(lambda: crm.held)
        with pytest.raises(Unavailable, match="under way"):
            await impatient.post("/activities")
        assert crm.most_held == 1
        crm.let_go.set()
        assert await first == {"id": "a-1"}
        assert await impatient.post("/activities") == {"id": "a-1"}, "the place is free again"


class Watched:
    """A gate that lets everything pass, and notes how each request ended."""

    def __init__(self, *, goes_on: bool) -> None:
        self.goes_on = goes_on
        self.ends: list[str] = []

    async def permit(self, *, writes: bool) -> Watched:
        assert writes
        return self

    def hold_back(self, retry_after: float | None) -> None:
        raise AssertionError(retry_after)

    def finish(
        self, end: RequestEnd, status: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        answered = end is RequestEnd.ANSWERED
        assert answered == bool(headers) == (status is not None)
        self.ends.append(f"answered {status}" if answered else end.name.lower())


@pytest.mark.parametrize("goes_on", [False, True])
async def test_whoever_goes_away_while_it_waits_for_a_place_gives_its_permit_back(goes_on: bool) -> None:
    """Only a call that has written before waits for as long as it has time: to turn it away would repeat it."""
    places, gate = asyncio.Semaphore(1), Watched(goes_on=goes_on)
    await places.acquire()
    async with hanging() as crm, aiohttp.ClientSession() as client:
        http = CrmHttp(client, crm.url, call_timeout=0.02, places=places, gate=gate)
        with pytest.raises(TimeoutError if goes_on else Unavailable):
            async with asyncio.timeout(0.05):
                await http.post("/activities")
        assert gate.ends[0] == "unused", "what is said of its end first counts"
        places.release()
        assert await http.post("/activities") == {"id": "a-1"}
        assert gate.ends[-1] == "answered 200"
        assert not places.locked()


async def test_a_request_has_a_clock_of_its_own_unless_its_task_is_cut_off() -> None:
    """Either way its place is free again, and its permit has come to its end."""
    places, gate = asyncio.Semaphore(1), Watched(goes_on=False)
    async with hanging() as crm, aiohttp.ClientSession() as client:
        http = CrmHttp(
            client,
            crm.url,
            headers={"Authorization": "Bearer acme/ada"},
            call_timeout=0.05,
            gate=gate,
            places=places,
            has_deadline_within=call_context.has_deadline_within,
        )
        for seconds in (0.05, 0.06):  # no timeout cuts it off here: only its own clock ends it
            with (
                call_context.single_call(seconds),
                pytest.raises(TimeoutError if seconds == 0.05 else OutcomeUnknown),
            ):
                async with asyncio.timeout(0.1):
                    await http.post("/activities")
        with call_context.single_call(0.05):
            started = asyncio.create_task(http.post("/activities"))
        with pytest.raises(OutcomeUnknown):
            async with asyncio.timeout(5):
                await started
    assert gate.ends == ["lost"] * 3
    assert not places.locked()
