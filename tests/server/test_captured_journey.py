"""Every other request that App Connect's client really sent: from the manifest to a new contact, in its order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.live_server import ADA

if TYPE_CHECKING:
    from support.live_server import LiveServer, Reply

CAPTURED = json.loads((Path(__file__).parent / "captured" / "journey.json").read_bytes())["requests"]

ORIGIN = "chrome-extension://abcdefghijklmnopabcdefghijklmnop"

OURS = {"fakeCRM": "demo", "good-key": ADA, "Fake CRM": "Demo CRM"}
"""What the captured requests call by another name than our tests do."""


class Journey:
    """Sends the captured requests one after the other, with the token that the login gave."""

    def __init__(self, here: LiveServer) -> None:
        self.here = here
        self.token = "undefined"  # what the client puts there before it has one

    async def answer(self, captured: dict[str, Any]) -> Reply:
        """The server's answer to a captured request."""
        url = in_our_words(captured["url"]).replace("<JWT>", self.token)
        reply = await self.here.ask(
            captured["method"],
            url.removeprefix("{serverUrl}"),
            json=in_our_words(captured.get("body")),
            headers={**captured["headers"], "origin": ORIGIN},
        )
        if isinstance(reply.body, dict) and "jwtToken" in reply.body:
            self.token = reply.body["jwtToken"]
        return reply


def in_our_words(value: Any) -> Any:
    """A captured value with the names that our tests use."""
    text = json.dumps(value)
    for theirs, ours in OURS.items():
        text = text.replace(theirs, ours)
    return json.loads(text)


def missing(captured: Any, ours: Any, path: str = "") -> list[str]:
    """The paths at which our answer has not what the captured one has: the key, the type, an entry of a list."""
    if isinstance(captured, dict) and isinstance(ours, dict):
        return [
            gap
            for key, value in captured.items()
            for gap in (missing(value, ours[key], f"{path}.{key}") if key in ours else [f"{path}.{key}"])
        ]
    if isinstance(captured, list) and isinstance(ours, list):
        if len(ours) < len(captured):
            return [f"{path}[{len(ours)}]"]
        return [
            gap
            for n, (theirs, our) in enumerate(zip(captured, ours, strict=False))
            for gap in missing(theirs, our, f"{path}[{n}]")
        ]
    return [] if type(captured) is type(ours) else [path]


def test_a_gap_is_noticed() -> None:
    captured = {"a": [{"b": 1}, {"b": 2}], "c": {}, "d": True}
    assert missing(captured, {"a": [{"b": 3}, {"b": 4}], "c": {"more": 1}, "d": False}) == []
    assert missing(captured, {"a": [{"b": "3"}], "c": [], "d": 1}) == [".a[1]", ".c", ".d"]
    assert missing(captured, {"a": [{}, {"b": 0}]}) == [".a[0].b", ".c", ".d"]


async def test_every_captured_request_has_an_answer_with_all_that_the_captured_one_had(
    here: LiveServer,
) -> None:
    journey = Journey(here)
    for captured in CAPTURED:
        reply = await journey.answer(captured)
        expected = captured["response"]
        what = f"{captured['method']} {captured['url']}"
        assert reply.status == expected["status"], what
        assert missing(in_our_words(expected["body"]), reply.body) == [], what
        assert reply.headers["access-control-expose-headers"] == "x-refreshed-jwt-token, x-request-id", what
    assert journey.token.count(".") == 2


async def test_refusals_are_the_captured_words(here: LiveServer) -> None:
    journey = Journey(here)
    for captured in CAPTURED:
        reply = await journey.answer(captured)
        if captured["response"]["status"] != 200:
            assert reply.body == captured["response"]["body"]


async def test_settings_are_answered_as_the_client_sent_them(here: LiveServer) -> None:
    journey = Journey(here)
    for captured in CAPTURED:
        reply = await journey.answer(captured)
        if captured["url"].startswith("{serverUrl}/user/settings") and captured["method"] == "POST":
            assert reply.body == captured["response"]["body"] == captured["body"]
            again = await here.ask("GET", f"/user/settings?jwtToken={journey.token}")
            assert again.body == captured["body"]["userSettings"], "the bare object"
            return
    raise AssertionError("the client saved its settings")


async def test_the_log_form_has_the_captured_values_of_the_contact(here: LiveServer) -> None:
    journey = Journey(here)
    replies = [(captured, await journey.answer(captured)) for captured in CAPTURED]
    found = {
        captured["url"].partition("?")[0].removeprefix("{serverUrl}"): (captured, reply)
        for captured, reply in replies
        if captured["method"] == "GET"
    }
    for path in ("/contact", "/custom/contact/search"):
        captured, reply = found[path]
        theirs, ours = captured["response"]["body"]["contact"][0], reply.body["contact"][0]
        assert {**ours, "createdDate": ""} == {**theirs, "createdDate": ""}
    assert found["/contact"][1].body["contact"][-1]["id"] == "createNewContact"
