"""`POST /apiKeyLogin`: a user connects with the CRM, or gets the reason why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt
import pytest

from support.live_server import SQLITE_ONLY, live_server, payload, refusal

if TYPE_CHECKING:
    from pathlib import Path

    from support.live_server import LiveServer, Reply


async def log_in(here: LiveServer, query: str = "?state=platform=demo", **changes: Any) -> Reply:
    """A login as the client sends it, with some of its fields changed; `...` leaves one out."""
    form = {
        "apiKey": "demo-ada",
        "platform": "demo",
        "hostname": "crm.test",
        "additionalInfo": {"apiKey": "demo-ada"},
    }
    sent = {name: value for name, value in {**form, **changes}.items() if value is not ...}
    return await here.ask("POST", f"/apiKeyLogin{query}", json=sent)


def refusal_text(reply: Reply) -> str:
    """The words of a refusal in the client's shape."""
    assert reply.status == 400
    assert set(reply.body) == {"returnMessage"}
    notice = reply.body["returnMessage"]
    assert notice["messageType"] == "warning"
    assert notice["ttl"] == 3000
    words: str = notice["message"]
    return words


async def test_a_good_key_gives_a_token_and_a_name(here: LiveServer) -> None:
    reply = await log_in(here)
    assert reply.status == 200
    assert reply.body["name"] == "Ada Lovell"
    assert reply.body["returnMessage"] == {
        "message": "Connected to Demo CRM.",
        "messageType": "success",
        "ttl": 1000,
    }
    claims = jwt.decode(reply.body["jwtToken"], options={"verify_signature": False})
    assert {name: claims[name] for name in ("id", "platform", "tenant")} == {
        "id": "u-ada",
        "platform": "demo",
        "tenant": "acme",
    }
    assert claims["exp"] - claims["iat"] == 14 * 86_400
    sent = await here.ask("POST", f"/messageLog?jwtToken={reply.body['jwtToken']}", json=payload("01-sms"))
    assert sent.body["logIds"] == ["6424569001"]


async def test_signing_in_again_keeps_what_was_logged(here: LiveServer) -> None:
    await here.log(payload("01-sms"))
    here.tokens.clear()
    assert (await here.log(payload("01-sms"))).body["logIds"] == []


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("query", "platform"),
    [
        ("?state=platform=demo", ...),
        ("?state=platform%3Ddemo", ...),
        ("?state=platform=demo", None),
        ("", "demo"),
    ],
)
async def test_the_platform_may_be_in_the_state_or_in_the_body(
    here: LiveServer, query: str, platform: Any
) -> None:
    assert (await log_in(here, query, platform=platform)).status == 200


@SQLITE_ONLY
@pytest.mark.parametrize("changes", [{"apiKey": ...}, {"additionalInfo": ...}, {"apiKey": " demo-ada\n"}])
async def test_the_key_may_be_in_either_place_and_copied_with_blanks(
    here: LiveServer, changes: dict[str, Any]
) -> None:
    assert (await log_in(here, **changes)).status == 200


async def test_a_key_that_the_crm_does_not_know_is_refused(here: LiveServer) -> None:
    reply = await log_in(here, apiKey="bad-key", additionalInfo={"apiKey": "bad-key"})
    assert refusal_text(reply) == "Could not load user information"
    assert "bad-key" not in reply.raw.decode()


@SQLITE_ONLY
@pytest.mark.parametrize("key", ["", "   ", "two\nlines", "kéy", "\u0000"])
async def test_a_key_that_no_header_can_hold_is_refused_unasked(here: LiveServer, key: str) -> None:
    reply = await log_in(here, apiKey=key, additionalInfo={"apiKey": key})
    assert refusal_text(reply).startswith("The API key is missing")
    assert here.crm.calls == []


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"platform": "pipedrive"}, "platform: this server has no connector for it"),
        ({"platform": ...}, "Missing platform name"),
        ({"platform": ["demo"]}, "platform: expected `str | null`, got `array`"),
        ({"apiKey": {"key": "x"}}, "apiKey: expected `str | null`, got `object`"),
        *(
            ({"hostname": hostname}, "hostname: expected the name of a host, such as crm.example.com")
            for hostname in (
                "h" * 300,
                "crm\u0000.test",
                "evil.test/#.crm.test",
                "evil.test?.crm.test",
                "evil.test\\.crm.test",
                "crm.test@evil.test",
                "user:key@crm.test",
                "crm.test:8443",
                "https://crm.test",
                "[::1]",
                "evil.test%2f.crm.test",
                "crm..test",
                "evil.test/",
                "évil.test/",
                "é" * 300,
            )
        ),
    ],
)
async def test_a_form_that_is_not_right_is_refused_with_words(
    here: LiveServer, changes: dict[str, Any], words: str
) -> None:
    reply = await log_in(here, "", **changes)
    assert (reply.status, reply.body) == (400, words)
    assert here.crm.calls == []


@SQLITE_ONLY
@pytest.mark.parametrize("sent", [b"", b"apiKey=demo-ada", b"[]", b"[" * 50_000])
async def test_a_body_that_is_no_form(here: LiveServer, sent: bytes) -> None:
    reply = await here.ask("POST", "/apiKeyLogin?state=platform=demo", data=sent)
    assert reply.status == 400
    assert reply.body.startswith("body: ")


@SQLITE_ONLY
async def test_a_body_that_is_far_too_long_for_a_form(here: LiveServer) -> None:
    reply = await log_in(here, additionalInfo={"note": "x" * 200_000})
    assert (reply.status, reply.body) == (413, "body: expected at most 100,000 bytes")


@SQLITE_ONLY
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_crm_that_fails_is_told(here: LiveServer, status: int) -> None:
    here.crm.refuse = lambda _call: refusal(status)
    assert refusal_text(await log_in(here)) == "The CRM cannot be reached at the moment"


@SQLITE_ONLY
async def test_a_crm_that_is_not_there_is_told(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path) as here:
        here.context.config.connectors["demo"].base_url = "http://127.0.0.1:9/api"
        assert refusal_text(await log_in(here)) == "The CRM cannot be reached at the moment"
