"""The newest client: its token is a bearer, and it shows the `returnMessage` of a refusal, never a bare text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import structlog

from messagelog.core import Times
from messagelog.server.requests import SIGN_IN
from support.live_server import SQLITE_ONLY, FastDemoConnector, live_server, payload, refusal
from support.requests import body, message

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from starlette.responses import Response

    from messagelog.connectors import MessageLog, Session
    from support.live_server import CrmCall, LiveServer, Reply


async def ask(here: LiveServer, method: str, path: str, json: Any = None) -> Reply:
    """A request as the newest client sends it."""
    headers = {"authorization": f"Bearer {await here.token()}"}
    return await here.ask(method, path, json=json, headers=headers)


def text_shown(reply: Reply) -> str:
    """What the newest client shows of an error."""
    assert reply.status >= 400
    assert reply.status != 404, "the client shows nothing of a 404"
    assert reply.body["successful"] is False
    notice = reply.body["returnMessage"]
    assert notice["messageType"] in {"warning", "danger"}
    assert notice["ttl"] > 0
    text: str = notice["message"]
    assert "authorize CRM platform" not in text, "the client would sign the user out"
    return text


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("method", "path", "sent", "status", "words"),
    [
        ("POST", "/messageLog", {}, 400, "logInfo: is missing"),
        ("POST", "/user/settings", {"userSettings": []}, 400, "userSettings: expected `object`, got `array`"),
        ("GET", "/contact?phoneNumber=", None, 400, "phoneNumber: expected a phone number"),
        ("POST", "/contact", {"phoneNumber": "+1"}, 400, "newContactName: is missing"),
        ("GET", "/admin/settings", None, 403, "Admin validation failed"),
    ],
)
async def test_a_refusal_is_shown(  # noqa: PLR0917 - a request and its answer
    here: LiveServer, method: str, path: str, sent: Any, status: int, words: str
) -> None:
    reply = await ask(here, method, path, sent)
    assert (reply.status, text_shown(reply)) == (status, words)


@SQLITE_ONLY
async def test_a_contact_that_the_crm_refuses_is_shown(here: LiveServer) -> None:
    await here.token()
    here.crm.refuse = lambda call: refusal(503) if call.method == "POST" else None
    form = {"phoneNumber": "+14155550199", "newContactName": "Sam Hill"}
    assert "Demo CRM" in text_shown(await ask(here, "POST", "/contact", form))


@SQLITE_ONLY
async def test_too_large_and_too_many_are_shown(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, body_limit=100, requests_per_minute=1) as here:
        assert "at most 100 bytes" in text_shown(await ask(here, "POST", "/messageLog", payload("01-sms")))
        reply = await ask(here, "POST", "/messageLog", payload("01-sms"))
        assert (reply.status, int(reply.headers["Retry-After"]) > 0) == (429, True)
        assert text_shown(reply).startswith("Too many requests")


@SQLITE_ONLY
async def test_a_bad_token_signs_the_user_out(here: LiveServer) -> None:
    headers = {"authorization": "Bearer nonsense"}
    reply = await here.ask("POST", "/messageLog", json=payload("01-sms"), headers=headers)
    assert reply.status == 400
    assert reply.body == {
        "successful": False,
        "returnMessage": {"message": SIGN_IN, "messageType": "warning", "ttl": 5000},
    }


async def test_a_log_that_is_refused_outright_is_a_422(here: LiveServer) -> None:
    await here.token()
    here.crm.refuse = lambda call: refusal(422) if call.method == "POST" else None
    reply = await ask(here, "POST", "/messageLog", body(message(1)))
    assert (reply.status, reply.body["logIds"]) == (422, [])
    assert text_shown(reply) == "1 message not logged: Demo CRM refused it (HTTP 422)."


async def test_a_log_of_another_contact_is_a_422(here: LiveServer) -> None:
    await ask(here, "POST", "/messageLog", body(message(1)))
    reply = await ask(here, "POST", "/messageLog", {**body(message(2)), "contactId": "c-2"})
    assert reply.status == 422
    assert "already logged" in text_shown(reply)


async def test_what_is_kept_stays_a_200_with_its_warning(database_url: str, tmp_path: Path) -> None:
    times = Times(answer=0.2, call=2.0, lease=60.0, sweep=0.05)
    async with live_server(database_url, tmp_path, times=times) as here:
        await here.token()
        here.crm.refuse = lambda call: refusal(503) if call.method == "POST" else None
        reply = await ask(here, "POST", "/messageLog", body(message(1)))
        assert (reply.status, reply.body["successful"], reply.body["logIds"]) == (200, True, ["1"])
        assert reply.body["returnMessage"]["messageType"] == "warning"


async def test_a_message_that_waits_for_a_sign_in_stays_a_200(here: LiveServer) -> None:
    await here.token()
    here.crm.refuse = lambda call: refusal(401) if call.method == "POST" else None
    reply = await ask(here, "POST", "/messageLog", body(message(1)))
    assert (reply.status, reply.body["successful"]) == (200, True)
    assert "sign in" in reply.body["returnMessage"]["message"]


async def test_a_partly_refused_log_stays_a_200(here: LiveServer) -> None:
    await ask(here, "POST", "/messageLog", body(message(1)))
    writes = 0

    def refuse(call: CrmCall) -> Response | None:
        nonlocal writes
        writes += call.method != "GET"
        return refusal(422) if call.method != "GET" and writes == 1 else None

    here.crm.refuse = refuse
    sent = body(message(1), message(2, "second words"), message(3, "third words"))
    reply = await ask(here, "POST", "/messageLog", sent)
    assert (reply.status, reply.body["logIds"]) == (200, ["3"])
    assert reply.body["returnMessage"]["messageType"] == "warning"


@SQLITE_ONLY
@pytest.mark.parametrize("bearer", [True, False])
async def test_a_conversation_without_messages_is_answered_as_the_reference_does(
    here: LiveServer, *, bearer: bool
) -> None:
    sent = body(message(1))
    sent["logInfo"]["messages"] = []
    if bearer:
        reply = await ask(here, "POST", "/messageLog", sent)
    else:
        reply = await here.ask("POST", f"/messageLog?jwtToken={await here.token()}", json=sent)
    assert (reply.status, reply.body["successful"], reply.body["logIds"]) == (200, False, [])


# ------------------------------------------------------------------------------------ the clients before


async def refuse_log(here: LiveServer) -> Reply:
    """A refused log, asked for as clients 1.6 and 1.7.0 do."""
    path = f"/messageLog?jwtToken={await here.token()}"
    here.crm.refuse = lambda call: refusal(422) if call.method == "POST" else None
    return await here.ask("POST", path, json=body(message(1)))


@SQLITE_ONLY
async def test_a_client_before_is_answered_as_it_was(here: LiveServer) -> None:
    reply = await refuse_log(here)
    assert (reply.status, reply.body["successful"]) == (200, False)
    reply = await here.ask("POST", f"/messageLog?jwtToken={await here.token()}", json={})
    assert (reply.status, reply.body) == (400, "logInfo: is missing")


@SQLITE_ONLY
async def test_an_operator_may_have_refused_logs_shown_to_clients_before(
    database_url: str, tmp_path: Path
) -> None:
    async with live_server(database_url, tmp_path, refused_logs_as_text=True) as here:
        reply = await refuse_log(here)
        assert (reply.status, reply.body) == (422, "1 message not logged: Demo CRM refused it (HTTP 422).")
        here.crm.refuse = lambda _call: None
        path = f"/messageLog?jwtToken={await here.token()}"
        assert (await here.ask("POST", path, json=body(message(1)))).status == 200


@SQLITE_ONLY
@pytest.mark.parametrize("path", ["/operators/me", "/operators/inbox"])
async def test_operators_are_refused_with_a_text(here: LiveServer, path: str) -> None:
    method = "GET" if path.endswith("me") else "POST"
    reply = await here.ask(method, path, json={}, headers={"authorization": "Bearer nonsense"})
    assert reply.status == 401
    assert isinstance(reply.body, str)


@SQLITE_ONLY
async def test_a_platform_without_contact_pages_is_named_at_the_start(
    database_url: str, tmp_path: Path
) -> None:
    class Pageless(FastDemoConnector):
        manifest: ClassVar[Mapping[str, Any]] = {}

    with structlog.testing.capture_logs() as events:
        async with live_server(database_url, tmp_path, connector=Pageless):
            pass
    (event,) = [each for each in events if each["event"] == "contact_page_missing"]
    assert (event["platform"], event["log_level"]) == ("demo", "warning")
    with structlog.testing.capture_logs() as events:
        async with live_server(database_url, tmp_path):
            pass
    assert not [each for each in events if each["event"] == "contact_page_missing"]


@SQLITE_ONLY
async def test_how_long_the_user_wrote_reaches_the_connector(database_url: str, tmp_path: Path) -> None:
    written: list[float | None] = []

    class Billing(FastDemoConnector):
        async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
            written.extend(each.typing_duration_ms for each in log.messages)
            return await super().create_message_log(session, log)

    async with live_server(database_url, tmp_path, connector=Billing) as here:
        await ask(here, "POST", "/messageLog", body({**message(1), "typingDurationMs": 4200}))
    assert written == [4200]
