"""What a shutdown does to requests that wait, that arrive, and that are in between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from messagelog.server.requests import RESTARTING
from support.live_server import SQLITE_ONLY, payload, until
from support.requests import body, message

if TYPE_CHECKING:
    import pytest

    from support.live_server import LiveServer


async def is_writing(here: LiveServer) -> bool:
    return bool(here.crm.writes)


async def test_a_request_that_waits_is_answered_as_accepted_and_a_new_one_is_turned_away(
    here: LiveServer,
) -> None:
    await here.token()
    await here.chaos(hold=True)
    waiting = asyncio.create_task(here.log(body(message(1, "under way"), message(2, "behind it"))))
    await until(lambda: is_writing(here), "the call is under way")
    stopping = asyncio.create_task(here.context.runtime.stop())
    reply = await waiting
    assert (reply.body["successful"], reply.body["logIds"]) == (True, ["1", "2"])
    assert "2 messages accepted" in reply.body["returnMessage"]["message"]
    late = await here.log(body(message(3)))
    assert (late.status, late.body) == (503, RESTARTING)
    assert not stopping.done(), "the call is awaited"
    await here.chaos()
    await stopping
    assert await here.states() == {"1": "logged", "2": "planned"}, "no further call is begun"
    assert len(here.crm.writes) == 1


async def test_requests_that_come_in_while_it_stops_leave_no_call_half_done(here: LiveServer) -> None:
    await here.token()
    await here.chaos(delay_ms=20)
    asked = [asyncio.create_task(here.log(body(message(n), conversation=f"conv-{n}"))) for n in range(1, 61)]
    await until(lambda: is_writing(here), "a call is under way")
    await here.context.runtime.stop()
    states = await here.states()
    replies = await asyncio.gather(*asked)
    accepted = {id_ for reply in replies if reply.status == 200 for id_ in reply.body["logIds"]}
    assert {reply.status for reply in replies} <= {200, 503}
    assert accepted == set(await here.states()) == set(states)
    assert set(states.values()) <= {"logged", "planned"}
    assert len(await here.activities()) == len([id_ for id_, state in states.items() if state == "logged"])


@SQLITE_ONLY
async def test_a_request_whose_contact_is_still_being_made_is_turned_away(here: LiveServer) -> None:
    waiting = asyncio.create_task(here.log(payload("12-new-contact-two-days-2")))
    await until(lambda: has_looked(here), "the contact is looked for")
    await here.context.runtime.stop()
    form = {"phoneNumber": "+14155550188", "newContactName": "Nina New"}
    await here.ask("POST", f"/contact?jwtToken={await here.token()}", json=form)
    reply = await waiting
    assert (reply.status, reply.body) == (503, RESTARTING)
    assert await here.logs() == []


async def has_looked(here: LiveServer) -> bool:
    return any(call.path == "/api/contacts" for call in here.crm.calls)


@SQLITE_ONLY
async def test_a_request_that_the_server_will_not_wait_for_is_told_so_and_not_traced(
    here: LiveServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """As uvicorn does with requests that are still under way when its grace is over."""
    path = f"/contact?jwtToken={await here.token()}&phoneNumber=+14155550142"
    await here.chaos(delay_ms=500)
    waiting = asyncio.create_task(here.ask("GET", path))
    await until(lambda: has_looked(here), "the contact is looked for")
    (ours, _crms) = sorted(
        here.server.server_state.tasks, key=lambda task: int(task.get_name().partition("-")[2])
    )
    ours.cancel()
    reply = await waiting
    assert (reply.status, reply.body) == (503, RESTARTING)
    assert [record.getMessage() for record in caplog.records] == []
    assert "".join(capfd.readouterr()) == ""
