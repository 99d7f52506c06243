"""A process that is killed or asked to end while the CRM is being called: nothing is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import aiohttp

from support.cli_process import demo_welcome, running
from support.external_user import behave_again, demo_users, let_leases_run_out, states
from support.live_server import ADA, OTTO, until
from support.requests import body, message

if TYPE_CHECKING:
    from pathlib import Path

    from support.external_user import ExternalUser


async def test_a_demo_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """One activity was made and its answer held, another was not made yet, when the process was killed."""
    data = tmp_path / "data"
    journal = data / "messagelog.sqlite"
    with running(tmp_path, "demo", "--port", "0", "--data", str(data)) as demo:
        users = demo_users(await demo_welcome(demo))
        ada, otto = users[ADA], users[OTTO]
        await ada.chaos(hold=True)
        await otto.chaos(delay_ms=5_000)
        waiting = [asyncio.create_task(user.log()) for user in (ada, otto)]
        await until(lambda: made(ada), "the activity is made")
        await until(lambda: calling(journal, 2), "both calls are under way")
        assert await demo.end(signal.SIGKILL) == -signal.SIGKILL
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(answer, aiohttp.ClientError) for answer in answers), "nobody was told anything"
    assert states(journal) == {"calling": 2}
    let_leases_run_out(journal)
    behave_again(data / "demo-crm.sqlite")

    with running(tmp_path, "demo", "--port", "0", "--data", str(data)) as demo:
        users = demo_users(await demo_welcome(demo))
        await until(lambda: logged(journal, 2), "both are logged")
        for user in (users[ADA], users[OTTO]):
            assert (await user.log()).body["logIds"] == []
            (activity,) = await user.activities()
            assert activity["body"].count("Can you send the renewal options?") == 1
        await demo.end(signal.SIGTERM)
    assert demo.err.read_text() == ""


async def made(user: ExternalUser) -> bool:
    return bool(await user.activities())


async def calling(journal: Path, rows: int) -> bool:
    return states(journal) == {"calling": rows}


async def logged(journal: Path, rows: int) -> bool:
    return states(journal) == {"logged": rows}


async def test_a_shutdown_lets_the_call_under_way_come_to_its_end(tmp_path: Path) -> None:
    """The call reaches its CRM, which this very process serves, before the listener closes."""
    journal = tmp_path / "messagelog.sqlite"
    with running(tmp_path, "demo", "--port", "0", "--data", str(tmp_path)) as demo:
        ada = demo_users(await demo_welcome(demo))[ADA]
        await ada.chaos(hold=True)
        waiting = asyncio.create_task(ada.log(body(message(1, "under way"), message(2, "behind it"))))
        await until(lambda: made(ada), "the CRM has the first message, and holds its answer")
        demo.process.send_signal(signal.SIGTERM)
        answer = await waiting
        assert answer.status == 200
        assert answer.body["successful"] is True
        assert answer.body["logIds"] == ["1", "2"]
        assert "2 messages accepted" in answer.body["returnMessage"]["message"]
        late = await ada.log()
        restarting = "The server is restarting. Please try again in a moment."
        assert (late.status, late.body["returnMessage"]["message"]) == (503, restarting)
        assert states(journal) == {"calling": 1, "planned": 1}
        await ada.chaos()
        assert await demo.wait_for_exit() == -signal.SIGTERM
    assert demo.err.read_text() == ""
    assert states(journal) == {"logged": 1, "planned": 1}

    with running(tmp_path, "demo", "--port", "0", "--data", str(tmp_path)) as demo:
        ada = demo_users(await demo_welcome(demo))[ADA]
        await until(lambda: logged(journal, 2), "the next start goes on")
        (activity,) = await ada.activities()
        assert [activity["body"].count(each) for each in ("under way", "behind it")] == [1, 1]
        await demo.end(signal.SIGTERM)
