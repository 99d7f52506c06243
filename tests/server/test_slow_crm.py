"""A CRM that takes its time: the answer still comes in time, and the work goes on after it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from messagelog.core import Times
from support.live_server import CLIENT_HEADERS, SQLITE_ONLY, live_server, until
from support.requests import body, message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.live_server import LiveServer


@pytest.fixture
async def brisk(database_url: str, tmp_path: Path) -> AsyncIterator[LiveServer]:
    """A server that answers within 0.4 s, whatever the CRM does."""
    times = Times(answer=0.4, call=5.0, lease=60.0, sweep=0.1)
    async with live_server(database_url, tmp_path, times=times) as running:
        await running.token()
        yield running


async def test_the_answer_comes_in_time_with_the_ids_and_a_warning(brisk: LiveServer) -> None:
    await brisk.chaos(delay_ms=700)
    started = time.monotonic()
    reply = await brisk.log(body(message(1, "patience")))
    assert 0.35 < time.monotonic() - started < 0.8
    assert reply.status == 200
    assert reply.body["successful"] is True
    assert reply.body["logIds"] == ["1"]
    assert reply.body["returnMessage"]["messageType"] == "warning"
    words = "1 message accepted; Demo CRM is slow, so logging goes on in the background."
    assert words in reply.body["returnMessage"]["message"]
    await brisk.until_logged("1")
    await brisk.chaos()
    assert (await brisk.only_activity())["body"].count("patience") == 1
    assert (await brisk.log(body(message(1, "patience")))).body["logIds"] == []


async def test_many_messages_and_a_client_that_tries_again_meanwhile(brisk: LiveServer) -> None:
    """Twenty calls take a second; the client asks three times before they are done."""
    await brisk.chaos(delay_ms=25)
    request = body(*[message(number, f"text-{number:02}.") for number in range(1, 21)])
    replies = [await brisk.log(request) for _ in range(3)]
    first = replies[0].body
    assert first["successful"] is True
    assert first["logIds"] == [str(number) for number in range(1, 21)]
    assert "of 20 messages logged" in first["returnMessage"]["message"]
    assert "in the background" in first["returnMessage"]["message"]
    assert {reply.body["successful"] for reply in replies} == {True}
    await brisk.chaos()
    await brisk.until_logged(*first["logIds"])
    text = (await brisk.only_activity())["body"]
    assert [text.count(f"text-{number:02}.") for number in range(1, 21)] == [1] * 20
    assert len([call for call in brisk.crm.calls if call.method == "POST"]) == 1


@SQLITE_ONLY
async def test_a_client_that_leaves_does_not_end_the_call(brisk: LiveServer) -> None:
    await brisk.chaos(delay_ms=200)
    asking = asyncio.create_task(brisk.log(body(message(1, "gone already"))))
    await until(lambda: written(brisk), "the CRM is called")
    asking.cancel()
    await brisk.until_logged("1")
    assert (await brisk.only_activity())["body"].count("gone already") == 1


async def written(here: LiveServer) -> bool:
    return bool(here.crm.writes)


@SQLITE_ONLY
async def test_a_client_that_leaves_amid_its_body_leaves_no_trace(
    brisk: LiveServer, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", int(brisk.url.rpartition(":")[2]))
    head = {**CLIENT_HEADERS, "host": "x", "content-length": "5000"}
    lines = [
        f"POST /messageLog?jwtToken={await brisk.token()} HTTP/1.1",
        *(f"{k}: {v}" for k, v in head.items()),
    ]
    writer.write("\r\n".join([*lines, "", '{"logInfo": {']).encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.1)
    assert await brisk.logs() == []
    assert (capfd.readouterr(), caplog.text) == (("", ""), "")


@SQLITE_ONLY
async def test_a_number_that_cannot_be_matched_in_time(brisk: LiveServer) -> None:
    await brisk.chaos(delay_ms=700)
    started = time.monotonic()
    reply = await brisk.ask("GET", f"/contact?jwtToken={await brisk.token()}&phoneNumber=+14155550142")
    assert time.monotonic() - started < 1.0
    assert reply.status == 200
    assert reply.body["successful"] is False
    assert [row["id"] for row in reply.body["contact"]] == ["createNewContact"]
    assert "did not answer" in reply.body["returnMessage"]["message"]


@SQLITE_ONLY
async def test_a_contact_that_may_have_been_made_is_said_to_be_looked_for(brisk: LiveServer) -> None:
    await brisk.chaos(delay_ms=700)
    form = {"phoneNumber": "+14155550188", "newContactName": "Nina"}
    reply = await brisk.ask("POST", f"/contact?jwtToken={await brisk.token()}", json=form)
    assert reply.status == 502
    assert reply.body == "Demo CRM gave no clear answer. Look for the contact there before you try again."
