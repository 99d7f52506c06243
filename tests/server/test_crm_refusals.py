"""A CRM that refuses or lacks features: what is logged, what is not and why is said, and trying again is safe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from messagelog.core import Times
from support.live_server import SQLITE_ONLY, live_server, refusal
from support.requests import body, message, thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.responses import Response

    from support.live_server import CrmCall, LiveServer, Reply

FIRST, SECOND = message(1, "first words"), message(2, "second words")


def notice(reply: Reply) -> str:
    """What the user reads."""
    assert reply.status == 200
    text: str = reply.body["returnMessage"]["message"]
    return text


async def each_once(here: LiveServer, *texts: str) -> None:
    """Every text stands once in the one activity."""
    text = (await here.only_activity())["body"]
    assert [text.count(each) for each in texts] == [1] * len(texts)


def at_write(*numbers: int, answer: Callable[[], Response]) -> Callable[[CrmCall], Response | None]:
    """Refuses these writes, counted from one."""
    seen = 0

    def refuse(call: CrmCall) -> Response | None:
        nonlocal seen
        seen += call.method != "GET"
        return answer() if call.method != "GET" and seen in numbers else None

    return refuse


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "Demo CRM refused it (HTTP 400)"),
        (403, "Demo CRM refused it (HTTP 403)"),
        (404, "Demo CRM has no such contact or activity, or hides it from you (HTTP 404)"),
        (409, "Demo CRM refused it (HTTP 409)"),
        (422, "Demo CRM refused it (HTTP 422)"),
    ],
)
async def test_a_refusal_has_words_for_what_happened(here: LiveServer, status: int, words: str) -> None:
    await here.token()
    await here.chaos(failure_rate=1, status=status)
    reply = await here.log(body(FIRST, SECOND))
    assert reply.body["successful"] is False
    assert reply.body["logIds"] == []
    assert reply.body["returnMessage"]["messageType"] == "danger"
    assert words in notice(reply)
    assert "2 messages not logged" in notice(reply)
    await here.chaos()
    assert await here.activities() == []
    again = await here.log(body(FIRST, SECOND))
    assert again.body["logIds"] == ["1", "2"]
    await each_once(here, "first words", "second words")


async def test_a_crm_that_refuses_the_fifth_of_ten(here: LiveServer) -> None:
    await here.token()
    here.crm.refuse = at_write(5, answer=lambda: refusal(422))
    request = body(*[message(number, f"text-{number:02}.") for number in range(1, 11)])
    reply = await here.log(request)
    assert reply.body["successful"] is True
    assert reply.body["logIds"] == [str(number) for number in range(1, 11) if number != 5]
    assert reply.body["returnMessage"]["messageType"] == "warning"
    assert notice(reply).startswith(
        "9 of 10 messages logged. 1 message not logged: Demo CRM refused it (HTTP 422)."
    )
    again = await here.log(request)
    assert again.body["logIds"] == ["5"]
    text = (await here.only_activity())["body"]
    places = [text.index(f"text-{number:02}.") for number in range(1, 11)]
    assert places == sorted(places), "in its place, though it came last"


async def test_a_crm_that_asks_for_a_moments_patience_is_given_it(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, jitter=lambda: 0.0) as here:
        await patient(here)


async def patient(here: LiveServer) -> None:
    await here.token()
    here.crm.refuse = at_write(1, 2, 4, answer=lambda: refusal(429, retry_after="0"))
    reply = await here.log(body(FIRST, SECOND))
    assert notice(reply) == "Message logged"
    await each_once(here, "first words", "second words")
    assert len(here.crm.writes) == 5


async def test_a_crm_that_asks_for_an_hour_is_given_it_and_the_user_is_told(here: LiveServer) -> None:
    await here.token()
    await here.chaos(failure_rate=1, status=429, retry_after_s=3600)
    reply = await here.log(body(FIRST))
    assert reply.body["logIds"] == ["1"]
    assert "Demo CRM asks us to slow down (HTTP 429), so logging goes on in the background" in notice(reply)
    await here.chaos()
    assert notice(await here.log(body(FIRST))) == notice(reply), "sent again, it waits all the same"
    assert await here.activities() == []


async def test_a_crm_that_only_appends(here: LiveServer) -> None:
    await here.token()
    await here.chaos(append_only=True)
    await here.log(body(FIRST))
    assert notice(await here.log(body(FIRST, SECOND))) == "Message logged"
    await each_once(here, "first words", "second words")
    assert [call.path.rpartition("/")[2] for call in here.crm.writes] == ["activities", "a-1", "entries"]


async def test_a_crm_without_external_ids(here: LiveServer) -> None:
    await here.token()
    await here.chaos(external_ids=False)
    assert notice(await here.log(body(FIRST))) == "Message logged"
    assert notice(await here.log(body(FIRST, SECOND))) == "Message logged"
    assert notice(await here.log(thread("a thread"))) == "Message logged"
    assert len(await here.activities()) == 2


@SQLITE_ONLY
async def test_a_text_that_is_longer_than_the_crm_takes_is_said_so(here: LiveServer) -> None:
    await here.log(body(FIRST))
    size = len((await here.only_activity())["body"]) + 100
    await here.chaos(body_limit=size)
    long = message(2, "second words " * 20)
    reply = await here.log(body(FIRST, long))
    assert "Demo CRM refused it (HTTP 413)" in notice(reply)
    assert reply.body["logIds"] == []
    await here.chaos()
    assert (await here.log(body(FIRST, long))).body["logIds"] == ["2"]
    assert (await here.only_activity())["body"].count("first words") == 1


@SQLITE_ONLY
async def test_what_waits_for_a_sign_in_goes_on_at_once_when_it_comes(
    database_url: str, tmp_path: Path
) -> None:
    times = Times(answer=5.0, call=5.0, lease=60.0, sweep=3600.0)
    async with live_server(database_url, tmp_path, times=times) as here:
        await here.token()
        here.crm.refuse = lambda _call: refusal(401)
        reply = await here.log(body(FIRST))
        assert "please sign in to Demo CRM again, then it is logged" in notice(reply)
        assert reply.body["logIds"] == ["1"]
        here.crm.refuse = lambda _call: None
        again = await here.log(body(FIRST, SECOND))
        assert again.body["logIds"] == ["1", "2"], "her session is good: what she sends is kept"
        assert await here.activities() == []
        here.tokens.clear()
        await here.token()
        await here.until_logged("1", "2")
        await each_once(here, "first words", "second words")
