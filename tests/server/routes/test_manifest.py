"""What the client asks before anybody signs in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

import messagelog
from messagelog.server.routes.manifest import build_manifest
from support.live_server import SQLITE_ONLY
from support.memory_crm import Crm, Plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.live_server import LiveServer


@SQLITE_ONLY
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_is_alive_is_ok_as_text(here: LiveServer, method: str) -> None:
    reply = await here.ask(method, "/isAlive")
    assert reply.status == 200
    assert reply.raw == (b"OK" if method == "GET" else b"")
    assert reply.headers["content-type"].startswith("text/plain")
    assert reply.headers["content-length"] == "2"


@SQLITE_ONLY
@pytest.mark.parametrize("query", ["", "?platformName=demo", "?platformName=default", "?platformName="])
async def test_the_manifest_has_what_the_client_cannot_do_without(here: LiveServer, query: str) -> None:
    reply = await here.ask("GET", f"/crmManifest{query}")
    assert reply.status == 200
    manifest = reply.body
    assert manifest["serverUrl"] == here.url, "without the slash behind the public URL"
    assert manifest["author"]["name"]
    assert manifest["version"] == messagelog.__version__
    assert manifest["redirectUri"].startswith("https://")
    assert list(manifest["platforms"]) == ["demo"]
    platform = manifest["platforms"]["demo"]
    assert platform["name"] == "demo", "the client looks it up by its key"
    assert platform["displayName"] == "Demo CRM"
    assert platform["auth"]["type"] == "apiKey"
    assert [field["const"] for field in platform["auth"]["apiKey"]["page"]["content"]] == ["apiKey"]
    assert platform["environment"]["type"] == "fixed"
    assert {each["value"] for each in platform["contactTypes"]} == {"contact", "lead"}
    assert "{contactId}" in platform["contactPageUrl"]
    assert all(isinstance(section["items"], list) for section in platform["settings"])
    assert platform["embeddedOnCrmPage"]["welcomePage"] is not None
    forms = {
        form: platform["page"][form]["additionalFields"] for form in ("callLog", "messageLog", "newContact")
    }
    assert [field["const"] for field in forms["messageLog"]] == ["matter", "billable", "topic"]
    assert forms["callLog"] == forms["newContact"] == []


@SQLITE_ONLY
async def test_an_unknown_platform_is_not_found(here: LiveServer) -> None:
    reply = await here.ask("GET", "/crmManifest?platformName=pipedrive")
    assert (reply.status, reply.body) == (400, "Platform not found")


class Wordy(Plain):
    """Says much about itself, some of it wrong, and forgets the rest."""

    name: ClassVar[str] = "wordy"
    manifest: ClassVar[Mapping[str, Any]] = {
        "name": "another",
        "contactTypes": [],
        "page": {"messageLog": {"title": "Log"}, "feedback": {"elements": []}},
        "logoUrl": "https://crm.test/logo.png",
    }


async def test_what_a_connector_leaves_out_of_its_manifest_is_filled_in() -> None:
    platform = build_manifest({"wordy": Wordy(Crm())}, "https://log.test//")["platforms"]["wordy"]
    assert platform["name"] == "wordy"
    assert platform["contactTypes"] == [{"display": "Contact", "value": "contact"}]
    assert platform["page"]["messageLog"] == {"additionalFields": [], "title": "Log"}
    assert platform["page"]["newContact"] == {"additionalFields": []}
    assert platform["page"]["feedback"] == {"elements": []}
    assert platform["page"]["useContactSearch"] is False
    assert platform["logoUrl"] == "https://crm.test/logo.png"
    assert platform["contactPageUrl"] == "", "no link is better than one that leads nowhere"


@SQLITE_ONLY
async def test_the_interface_is_described(here: LiveServer) -> None:
    reply = await here.ask("GET", "/openapi.json")
    assert reply.status == 200
    assert {"/messageLog", "/contact", "/apiKeyLogin", "/crmManifest", "/isAlive"} <= set(reply.body["paths"])
