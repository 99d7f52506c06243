"""Failures are heard of: a line each, with ids, platform and reason, without text, number or secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import structlog

from messagelog.connectors import Connector, MessageLog, Rejected, Session
from messagelog.core import Times
from support.live_server import SQLITE_ONLY, FastDemoConnector, live_server, refusal
from support.requests import body, message

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.responses import Response

    from support.live_server import CrmCall, LiveServer

TEXT = "Words that no line may hold"
NUMBER = "4155550142"


def of(events: list[Any], name: str) -> list[dict[str, Any]]:
    """The lines of an event."""
    return [each for each in events if each["event"] == name]


async def log_refused(here: LiveServer, status: int) -> list[Any]:
    """Log a message that the CRM refuses with a status; the lines that were written."""
    await here.token()

    def refuse(call: CrmCall) -> Response | None:
        return refusal(status) if call.method == "POST" and "activities" in call.path else None

    here.crm.refuse = refuse
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as events:
        await here.log(body(message(1, text=TEXT)))
        await here.context.runtime.idle()
    assert TEXT not in str(events)
    assert NUMBER not in str(events)
    return events


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("status", "state", "reason"), [(422, "failed", "rejected"), (401, "waiting", "sign_in")]
)
async def test_a_message_that_fails_or_waits_is_a_line(
    here: LiveServer, status: int, state: str, reason: str
) -> None:
    (line,) = of(await log_refused(here, status), "message_not_logged")
    assert (line["message"], line["state"], line["reason"]) == ("1", state, reason)
    assert (line["tenant"], line["platform"], line["status"]) == ("acme", "demo", status)
    assert line["log"] == (await here.logs())[0].key.conversation_log_id
    assert line["request_id"], "the line and the answer can be put together"
    assert line["log_level"] == "warning"


class Blind(FastDemoConnector):
    """A CRM that can tell nothing of a lost create."""

    find_message_log = Connector.find_message_log


class Wordy(FastDemoConnector):
    """A connector that quotes the message in its refusal."""

    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        raise Rejected(f"the CRM says no to {log.messages[0].text}")


@SQLITE_ONLY
async def test_what_a_connector_says_of_a_message_is_in_no_line(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, connector=Wordy) as here:
        with structlog.testing.capture_logs() as events:
            await here.log(body(message(1, text=TEXT)))
        (line,) = of(events, "message_not_logged")
        assert (line["reason"], line["error"]) == ("rejected", "Rejected")
        assert TEXT not in str(events)


@SQLITE_ONLY
async def test_a_message_that_parks_is_a_line(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, connector=Blind, times=Times(answer=2.0)) as here:
        (line,) = of(await log_refused(here, 500), "message_not_logged")
        assert (line["state"], line["reason"]) == ("parked", "no_answer")


@SQLITE_ONLY
async def test_a_login_that_the_crm_refuses_is_a_line_and_counted(here: LiveServer) -> None:
    login = {"platform": "demo", "apiKey": "not-a-key", "hostname": "crm.test"}
    with structlog.testing.capture_logs() as events:
        assert (await here.ask("POST", "/apiKeyLogin", json=login)).status == 400
        here.crm.refuse = lambda _call: refusal(503)
        assert (await here.ask("POST", "/apiKeyLogin", json=login)).status == 400
    lines = of(events, "login_failed")
    assert [line["outcome"] for line in lines] == ["refused", "unavailable"]
    assert "not-a-key" not in str(events)
    here.crm.refuse = lambda _call: None
    await here.token()
    text = (await here.ask("GET", "/metrics")).body
    for outcome in ("refused", "unavailable", "ok"):
        assert f'messagelog_logins_total{{outcome="{outcome}",platform="demo"}} 1.0' in text


@SQLITE_ONLY
async def test_a_search_for_contacts_that_failed_is_a_line_and_counted(here: LiveServer) -> None:
    token = await here.token()
    here.crm.refuse = lambda _call: refusal(500)
    with structlog.testing.capture_logs() as events:
        await here.ask("GET", f"/contact?phoneNumber=+1{NUMBER}&jwtToken={token}")
        await here.ask("GET", f"/custom/contact/search?name=maya&jwtToken={token}")
    lines = of(events, "contacts_not_found")
    assert [(line["platform"], line["status"]) for line in lines] == [("demo", 500)] * 2
    assert NUMBER not in str(events)
    text = (await here.ask("GET", "/metrics")).body
    assert f'messagelog_contact_lookups_total{{outcome="{lines[0]["error"]}",platform="demo"}} 2.0' in text


@SQLITE_ONLY
async def test_every_answer_has_an_id_of_its_own(here: LiveServer) -> None:
    replies = [
        await here.ask(method, path) for method in ("GET", "OPTIONS", "POST") for path in ("/isAlive", "/x")
    ]
    replies.append(await here.ask("POST", "/messageLog", json={}))
    ids = [reply.headers["x-request-id"] for reply in replies]
    assert len(set(ids)) == len(ids)
