"""Neither log lines nor error bodies nor URLs of ours ever hold a token, a key or a customer's words."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from messagelog.core import Times
from support.live_server import SECRET, SQLITE_ONLY, FastDemoConnector, live_server, payload, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from messagelog.connectors import Contact, MessageLog, Session
    from support.live_server import LiveServer, Reply

pytestmark = SQLITE_ONLY

WORDS = "a-customers-words"
RC_TOKEN = "EXAMPLE-RC-ACCESS-TOKEN"  # a token of the captured fax


class Chatty(FastDemoConnector):
    """Quotes what it is given when it fails, which it does when it is told to."""

    fails = False

    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        if self.fails:
            raise RuntimeError(
                f"{log.content} {session.credentials.api_key} {log.messages[0].record.body_text}"
            )
        return await super().create_message_log(session, log)

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        if self.fails:
            raise ValueError(f"{phone_number} {session.credentials.api_key}")
        return await super().find_contact(session, phone_number)


@pytest.fixture
async def here(database_url: str, tmp_path: Path) -> AsyncIterator[LiveServer]:
    """A server that gives up quickly, with a connector that says too much."""
    times = Times(answer=0.3, call=0.5, lease=60.0, sweep=0.1)
    async with live_server(database_url, tmp_path, connector=Chatty, times=times) as running:
        yield running


def fax() -> dict[str, Any]:
    """A captured fax, with its RingCentral token, and with words to be looked for."""
    made: dict[str, Any] = payload("06-fax")
    made["logInfo"]["messages"][0]["subject"] = WORDS
    made["contactName"] = WORDS
    return made


async def every_failure(here: LiveServer) -> list[Reply]:
    """All that can go wrong, and the answers to it."""
    token = await here.token()
    chatty = here.context.config.connectors["demo"]
    assert isinstance(chatty, Chatty)
    log, match = f"/messageLog?jwtToken={token}", f"/contact?jwtToken={token}&phoneNumber=+14155550142"
    broken = {**fax(), "contactId": [WORDS]}
    replies = [
        await here.ask("POST", log, json=broken),
        await here.ask("POST", log, data=f'{{"logInfo": "{WORDS}", {token}'.encode()),
        await here.ask("POST", f"/messageLog?jwtToken={token}x", json=fax()),
        await here.ask("POST", f"/messageLog/?jwtToken={token}", json=fax()),
        await here.ask("GET", f"/{token}/{WORDS}?jwtToken={token}"),
        await here.ask("POST", "/apiKeyLogin", json={"apiKey": f"wrong-{SECRET}", "platform": "demo"}),
        await here.ask("POST", "/apiKeyLogin", json={"apiKey": [SECRET], "platform": "demo"}),
        await here.ask("POST", "/apiKeyLogin", json={"apiKey": f"{SECRET}\n{SECRET}", "platform": SECRET}),
        await here.ask("POST", f"/contact?jwtToken={token}", json={"phoneNumber": [WORDS]}),
    ]
    chatty.fails = True
    replies += [await here.log(fax()), await here.ask("GET", match)]
    chatty.fails = False
    for chaos in (
        {"failure_rate": 1, "status": 401},
        {"failure_rate": 1, "status": 422},
        {"failure_rate": 1, "status": 503},
        {"drop_request_rate": 1},
        {"lose_response_rate": 1},
        {"delay_ms": 700},
    ):
        await here.chaos(**chaos)
        made = fax()
        made["logInfo"]["messages"][0]["id"] = f"{chaos}"
        made["logInfo"]["conversationLogId"] = f"{chaos}"
        replies += [await here.log(made), await here.ask("GET", match)]
        await here.chaos()
    here.crm.refuse = lambda _call: refusal(302, location=f"/x?{token}")
    replies += [await here.ask("GET", match)]
    here.crm.refuse = lambda _call: None
    return replies


async def test_no_log_line_and_no_error_holds_a_secret_or_a_customers_words(
    here: LiveServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    token = await here.token()
    capfd.readouterr()
    with structlog.testing.capture_logs() as events:
        replies = await every_failure(here)
        await here.context.runtime.stop()
    told = {
        "logging": caplog.text,
        "structlog": repr(events),
        "printed": "".join(capfd.readouterr()),
        "answered": repr([(reply.raw, dict(reply.headers)) for reply in replies]),
    }
    assert events, "something was logged at all"
    for where, text in told.items():
        for secret in (SECRET, token, token.rpartition(".")[2], "demo-ada", WORDS, RC_TOKEN):
            assert secret not in text, f"{secret} in what was {where}"
    assert {reply.status for reply in replies} == {200, 400, 404}


async def test_no_activity_holds_a_token(here: LiveServer) -> None:
    await here.log(fax())
    activity = str(await here.only_activity())
    assert WORDS in activity
    assert RC_TOKEN not in activity
    assert "access_token" not in activity
    assert "demo-ada" not in activity


async def test_the_crms_dropped_connections_print_nothing(
    here: LiveServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The CRM is mounted into this very server: its drops go through our layers."""
    await here.token()
    await here.chaos(lose_response_rate=1)
    for number in range(3):
        made = fax()
        made["logInfo"]["messages"][0]["id"] = number
        await here.log(made)
    assert [record.getMessage() for record in caplog.records] == []
    assert "".join(capfd.readouterr()) == ""
