"""A manifest that the client cannot work with is found out before anybody meets it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from messagelog.connectors import Connector, OAuth
from messagelog.connectors.demo import DemoConnector
from messagelog.server.manifest_validation import check_manifest, manifest_problems
from messagelog.server.routes.manifest import build_manifest
from support.memory_crm import Crm, Plain

if TYPE_CHECKING:
    from collections.abc import Mapping

URL = "https://log.test"
CAPTURED = json.loads((Path(__file__).parent / "captured" / "journey.json").read_bytes())["requests"][0]
FIELDS = "page.messageLog.additionalFields"
LOGIN_PAGE = {"page": {"title": "T", "content": [{"const": "apiKey", "title": "Key", "type": "string"}]}}


def demo() -> dict[str, Any]:
    return copy.deepcopy(build_manifest({"demo": DemoConnector("https://crm.test/api")}, URL))


def manifest_with(path: str, value: Any) -> dict[str, Any]:
    """The demo's manifest with the value at a path changed; `...` takes it away."""
    manifest = demo()
    place: Any = manifest
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return manifest


def test_our_own_manifest_has_no_problem() -> None:
    assert check_manifest(demo()) == []
    assert manifest_problems({"demo": DemoConnector("https://crm.test/api")}, f"{URL}/") == []


def test_the_manifest_that_the_client_was_captured_with_lacks_only_a_link() -> None:
    body = json.loads(json.dumps(CAPTURED["response"]["body"]).replace("{serverUrl}", URL))
    assert check_manifest(body) == ["author.supportUrl: is missing."]
    body["author"]["supportUrl"] = URL
    assert check_manifest(body) == []


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (
            "serverUrl",
            "log.test",
            "serverUrl: expected an http:// or https:// URL without a slash at its end.",
        ),
        (
            "serverUrl",
            f"{URL}/",
            "serverUrl: expected an http:// or https:// URL without a slash at its end.",
        ),
        ("version", 1, "version: expected `str`, got `int`."),
        ("author", ..., "author: is missing."),
        ("author.name", "", "author.name: is empty."),
        ("redirectUri", None, "redirectUri: expected `str`, got `null`."),
        ("platforms", {}, "platforms: expected at least one platform."),
    ],
)
def test_what_is_wrong_with_the_whole_is_named(path: str, value: Any, problem: str) -> None:
    assert check_manifest(manifest_with(path, value)) == [problem]


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("name", "other", "name: must be the platform's key"),
        ("displayName", ..., "displayName: is missing"),
        ("urlIdentifier", "(*.crm", "urlIdentifier: is no pattern of a URL, such as *.crm.example"),
        ("environment", {"type": "fixed"}, "environment.url: is missing"),
        ("environment", {"type": "dynamic"}, "environment.urlIdentifier: is missing"),
        ("environment", {"type": "selectable"}, "environment.selections: expected at least one"),
        ("environment", {"type": "any"}, "environment.type: invalid enum value 'any'"),
        ("auth", {"type": "apiKey"}, "auth.apiKey: is missing"),
        ("auth.apiKey.page.content", [], "auth.apiKey.page.content: expected a field apiKey"),
        ("auth", {"type": "oauth"}, "auth.oauth: is missing"),
        (
            "auth",
            {
                "type": "oauth",
                "oauth": {"authUrl": "/oauth/start", "clientId": "c", "redirectUri": "r", "scope": ""},
            },
            "auth.oauth.authUrl: expected an http:// or https:// URL",
        ),
        (
            "auth",
            {
                "type": "oauth",
                "oauth": {"authUrl": URL, "clientId": "c", "redirectUri": "r", "scope": "crm.read"},
            },
            "auth.oauth.scope: must begin with scope=, since the client puts it into the URL as it is",
        ),
        ("contactTypes", [], "contactTypes: expected at least one type"),
        ("contactTypes.0.value", ..., "contactTypes[0].value: is missing"),
        ("contactPageUrl", "/contact", "contactPageUrl: expected an http:// or https:// URL"),
        ("settings.0.items", ..., "settings[0].items: is missing"),
        ("settings.0.type", "page", "settings[0].type: invalid enum value 'page'"),
        ("page.callLog", ..., "page.callLog: is missing"),
        (
            "page.newContact.additionalFields",
            None,
            "page.newContact.additionalFields: expected `array`, got `null`",
        ),
        (
            f"{FIELDS}.0.type",
            "selecton",
            f"{FIELDS}[0].type: the client knows no such type: did you mean selection?",
        ),
        (f"{FIELDS}.0.type", "", f"{FIELDS}[0].type: the client knows no such type"),
        (f"{FIELDS}.0.type", 1, f"{FIELDS}[0].type: expected `str`, got `int`"),
        (f"{FIELDS}.0.options", [{"id": 1}], f"{FIELDS}[0].options[0].const: is missing"),
        (f"{FIELDS}.1.const", "matter", f"{FIELDS}[1].const: there is another field with this name"),
        ("page.useContactSearch", "yes", "page.useContactSearch: expected `bool`, got `str`"),
    ],
)
def test_what_is_wrong_with_a_platform_is_named_by_its_path(path: str, value: Any, problem: str) -> None:
    assert check_manifest(manifest_with(f"platforms.demo.{path}", value)) == [f"platforms.demo.{problem}."]


class NoContacts(Plain):
    """Cannot make contacts, and can be searched by neither name nor, it says, the client."""

    create_contact = Connector.create_contact


class NoSearch(NoContacts):
    manifest: ClassVar[Mapping[str, Any]] = {"page": {"useContactSearch": False}}


class Broken(Plain):
    manifest: ClassVar[Mapping[str, Any]] = {"page": {"messageLog": 5}}


def test_a_crm_that_makes_no_contacts_has_the_search_by_name() -> None:
    (page,) = [
        each["page"] for each in build_manifest({"memory": NoContacts(Crm())}, URL)["platforms"].values()
    ]
    assert page["useContactSearch"] is True
    (problem,) = manifest_problems({"memory": NoSearch(Crm())}, URL)
    assert problem.startswith("platforms.memory.page.useContactSearch: must be true, since memory cannot")


def test_a_manifest_that_cannot_be_built_is_a_sentence_too() -> None:
    (problem,) = manifest_problems({"memory": Broken(Crm())}, URL)
    assert problem.startswith("A connector's manifest cannot be used: TypeError at ")


class Granting(Plain):
    """Its users sign in with OAuth."""

    oauth = OAuth(authorization_url="https://crm.test/authorize", token_url="https://crm.test/token")


class Undecided(Granting):
    manifest: ClassVar[Mapping[str, Any]] = {"auth": {"type": "apiKey", "apiKey": LOGIN_PAGE}}


class Promising(Plain):
    manifest: ClassVar[Mapping[str, Any]] = {
        "auth": {"type": "oauth", "oauth": {"authUrl": URL, "clientId": "c", "redirectUri": "r"}}
    }


def test_a_crm_with_oauth_is_begun_with_here() -> None:
    back = "https://client.test/back"
    assert manifest_problems({"memory": Granting(Crm())}, f"{URL}/", back) == []
    manifest = build_manifest({"memory": Granting(Crm())}, f"{URL}/", back)
    assert manifest["redirectUri"] == back
    assert manifest["platforms"]["memory"]["auth"] == {
        "type": "oauth",
        "oauth": {
            "authUrl": f"{URL}/oauth/start",
            "clientId": "messagelog",
            "redirectUri": back,
            "scope": "",
        },
    }


@pytest.mark.parametrize(
    "type_", ["selection", "checkbox", "inputField", "warning", "string", "date", "typeOfTheYearAfterNext"]
)
def test_a_field_of_any_type_reaches_the_client(type_: str) -> None:
    class Fielded(Plain):
        manifest: ClassVar[Mapping[str, Any]] = {
            "page": {"messageLog": {"additionalFields": [{"const": "a", "title": "A", "type": type_}]}}
        }

    connectors = {"memory": Fielded(Crm())}
    assert manifest_problems(connectors, URL) == []
    page = build_manifest(connectors, URL)["platforms"]["memory"]["page"]
    assert page["messageLog"]["additionalFields"][0]["type"] == type_


@pytest.mark.parametrize(("connector", "taken"), [(Undecided, "oauth"), (Promising, "apiKey")])
def test_a_way_in_that_the_server_does_not_take(connector: type[Plain], taken: str) -> None:
    (problem,) = manifest_problems({"memory": connector(Crm())}, URL)
    assert problem.startswith(f"platforms.memory.auth.type: must be {taken}: ")
