"""The CRM goes down, loses every other answer and asks for patience: all that was accepted arrives, once, by itself."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final

import pytest

from messagelog.core import Times
from messagelog.storage import transactions
from support.effort import PROVE
from support.live_server import ADA, GRACE, OTTO, live_server, until
from support.requests import body, message, thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.live_server import LiveServer

SECONDS: Final = 30.0 if PROVE else 0.5
CONVERSATIONS: Final = 4
PHASES: Final[tuple[dict[str, Any], ...]] = (
    {"failure_rate": 1, "status": 503},
    {"lose_response_rate": 0.5},
    {"failure_rate": 0.6, "status": 429, "retry_after_s": 1 if PROVE else 0.1},
    {"drop_request_rate": 0.5, "lose_response_rate": 0.5},
)
_PATIENCE: Final = 600.0 if PROVE else 30.0


@pytest.fixture
async def shaken(database_url: str, tmp_path: Path) -> AsyncIterator[LiveServer]:
    """A server that answers soon and, unless there is time for more, repeats soon."""
    times = Times(answer=0.1, call=5.0, lease=60.0, sweep=0.05)
    jitter = random.random if PROVE else lambda: 0.02
    async with live_server(database_url, tmp_path, times=times, jitter=jitter) as running:
        yield running


def text_id(phase: int, number: int, each: int) -> int:
    return phase * 1000 + number * 100 + each


async def send_conversation(here: LiveServer, phase: int, number: int) -> None:
    """A conversation of two messages, one and then both: of two tenants, and of two colleagues of the first."""
    for count in (1, 2):
        messages = [
            message(id_, f"words {id_} end") for id_ in (text_id(phase, number, 1), text_id(phase, number, 2))
        ]
        sent = body(*messages[:count], conversation=f"c-{phase}-{number}")
        for user in ((ADA, GRACE)[(count + number) % 2], OTTO):
            reply = await here.log(sent, user)
            assert reply.body["successful"] is True, reply.body


@pytest.mark.parametrize("database_url", ["sqlite", "postgres"] if PROVE else ["sqlite"], indirect=True)
@pytest.mark.timeout(900 if PROVE else 60)
async def test_everything_arrives_once_without_anyones_help(shaken: LiveServer) -> None:
    for user in (ADA, GRACE, OTTO):
        await shaken.token(user)
    expected: dict[str, list[str]] = {ADA: [], OTTO: []}
    for phase, chaos in enumerate(PHASES):
        for user in expected:
            await shaken.crm_api("POST", "/chaos", json={"reset": True, **chaos}, user=user)
        await asyncio.gather(*(send_conversation(shaken, phase, number) for number in range(CONVERSATIONS)))
        await shaken.log(thread(f"spoken {phase} end", id_=f"thread-{phase}"), ADA)
        texts = [
            f"words {text_id(phase, number, each)} end" for number in range(CONVERSATIONS) for each in (1, 2)
        ]
        expected[OTTO] += texts
        expected[ADA] += [*texts, f"spoken {phase} end"]
        await asyncio.sleep(SECONDS)
    for user in expected:
        await shaken.crm_api("POST", "/chaos", json={"reset": True}, user=user)
    await until(lambda: all_logged(shaken), "all is logged", patience=_PATIENCE)
    for user, texts in expected.items():
        written = "\n".join(each["body"] for each in await shaken.activities(user))
        assert {text: written.count(text) for text in texts} == dict.fromkeys(texts, 1)


async def all_logged(here: LiveServer) -> bool:
    """Of both tenants, whose messages have the same ids."""
    summaries = await here.context.store.read(lambda: transactions.list_logs(1000))
    states = {state for each in summaries for state in each.counts}
    assert states <= {"planned", "calling", "unknown", "logged"}, "what waits for a person is not by itself"
    return states == {"logged"}
