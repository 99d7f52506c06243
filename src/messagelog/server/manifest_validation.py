"""Checks whether the client can work with a manifest: the fields that it reads, and the values it stumbles over."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from messagelog.errors import error_location
from messagelog.server.context import REDIRECT_URI
from messagelog.server.requests import to_bad_request
from messagelog.server.routes.manifest import build_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from messagelog.connectors import Connector


class _Option(msgspec.Struct):
    const: str
    title: str


class _Field(msgspec.Struct, rename="camel"):
    const: str
    title: str
    type: str
    contact_dependent: bool = False
    contact_type_dependent: bool = False
    required: bool = False
    options: list[_Option] = []


class _Form(msgspec.Struct, rename="camel"):
    additional_fields: list[_Field]


class _Pages(msgspec.Struct, rename="camel"):
    call_log: _Form
    message_log: _Form
    new_contact: _Form
    use_contact_search: bool


class _LoginField(msgspec.Struct, rename="camel"):
    const: str
    title: str
    type: str
    required: bool = False


class _LoginPage(msgspec.Struct):
    title: str
    content: list[_LoginField]


class _ApiKey(msgspec.Struct):
    page: _LoginPage


class _OAuth(msgspec.Struct, rename="camel"):
    auth_url: str
    client_id: str
    redirect_uri: str
    scope: str = ""
    custom_state: str = ""


class _Auth(msgspec.Struct, rename="camel"):
    type: Literal["apiKey", "oauth"]
    api_key: _ApiKey | None = None
    oauth: _OAuth | None = None


class _Selection(msgspec.Struct):
    name: str
    const: str


class _Environment(msgspec.Struct, rename="camel"):
    type: Literal["fixed", "dynamic", "selectable"]
    url: str | None = None
    url_identifier: str | None = None
    selections: list[_Selection] = []


class _ContactType(msgspec.Struct):
    display: str
    value: str


class _SettingsItem(msgspec.Struct):
    id: str
    type: str
    name: str


class _SettingsSection(msgspec.Struct):
    id: str
    type: Literal["section", "group"]
    name: str
    items: list[_SettingsItem]


class _Platform(msgspec.Struct, rename="camel"):
    name: str
    display_name: str
    url_identifier: str
    environment: _Environment
    auth: _Auth
    contact_types: list[_ContactType]
    contact_page_url: str
    settings: list[_SettingsSection]
    page: _Pages


class _Author(msgspec.Struct, rename="camel"):
    name: str
    website_url: str
    support_url: str


class _Manifest(msgspec.Struct, rename="camel"):
    server_url: str
    redirect_uri: str
    author: _Author
    version: str
    platforms: dict[str, dict[str, Any]]


_FORMS: Final = ("callLog", "messageLog", "newContact")

_FIELD_TYPES: Final = (
    "selection",
    "checkbox",
    "inputField",
    "warning",
    "string",
    "date",
    "boolean",
    "button",
)
"""The types that the reference's pages name. A newer client may know others, so only misspelt types are refused."""

_ALMOST: Final = 0.8
"""How similar (`difflib`'s ratio) a word must be to a known type to be a misspelling of it."""


def manifest_problems(
    connectors: Mapping[str, Connector], public_url: str, redirect_uri: str = REDIRECT_URI
) -> list[str]:
    """Return the problems of the manifest of these connectors: a sentence each, with the path of the field."""
    try:
        manifest = build_manifest(connectors, public_url, redirect_uri)
    except (TypeError, AttributeError, ValueError, KeyError) as error:
        # A connector's own values are merged into ours, so they have to be of the right kind for that.
        return [f"A connector's manifest cannot be used: {type(error).__name__} at {error_location(error)}."]
    problems = check_manifest(manifest)
    for name, connector in connectors.items():
        auth = manifest["platforms"][name]["auth"]
        declared = auth.get("type") if isinstance(auth, dict) else None
        taken = "apiKey" if connector.oauth is None else "oauth"
        if declared in {"apiKey", "oauth"} and declared != taken:
            problems.append(
                f"platforms.{name}.auth.type: must be {taken}: no other way in is open to users of {name}."
            )
        page = connector.manifest.get("page", {})
        searched = page.get("useContactSearch", True) if isinstance(page, dict) else True
        if searched is False and not connector.can("create_contact"):
            problems.append(
                f"platforms.{name}.page.useContactSearch: must be true, since {name} cannot create contacts: the "
                "client's form fails on a number that nobody has."
            )
    return problems


def check_manifest(manifest: Mapping[str, Any]) -> list[str]:
    """Return the problems of a manifest: a sentence each, with the path of the field."""
    try:
        whole = msgspec.convert(manifest, _Manifest)
    except msgspec.ValidationError as error:
        return [f"{to_bad_request(str(error))}."]
    problems = []
    if not whole.server_url.startswith(("http://", "https://")) or whole.server_url.endswith("/"):
        problems.append("serverUrl: expected an http:// or https:// URL without a slash at its end.")
    if not whole.author.name:
        problems.append("author.name: is empty.")
    if not whole.platforms:
        problems.append("platforms: expected at least one platform.")
    for name, platform in whole.platforms.items():
        problems += [f"platforms.{name}.{problem}." for problem in _platform_problems(name, platform)]
    return problems


def _platform_problems(name: str, declared: Mapping[str, Any]) -> Iterator[str]:
    try:
        platform = msgspec.convert(declared, _Platform)
    except msgspec.ValidationError as error:
        yield str(to_bad_request(str(error)))
        return
    if platform.name != name:
        yield "name: must be the platform's key"
    if not platform.contact_types:
        yield "contactTypes: expected at least one type"
    yield from _url_problems(platform)
    yield from _auth_problems(platform.auth)
    yield from _form_problems(declared["page"])


def _url_problems(platform: _Platform) -> Iterator[str]:
    try:
        re.compile(platform.url_identifier.replace("*", ".*", 1))  # as the client makes it
    except re.error:
        yield "urlIdentifier: is no pattern of a URL, such as *.crm.example"
    environment = platform.environment
    if environment.type == "fixed" and environment.url is None:
        yield "environment.url: is missing"
    if environment.type == "dynamic" and environment.url is None and environment.url_identifier is None:
        yield "environment.urlIdentifier: is missing"
    if environment.type == "selectable" and not environment.selections:
        yield "environment.selections: expected at least one"
    page = platform.contact_page_url
    if page and not page.startswith(("http://", "https://")):
        yield "contactPageUrl: expected an http:// or https:// URL"


def _auth_problems(auth: _Auth) -> Iterator[str]:
    if auth.type == "apiKey":
        if auth.api_key is None:
            yield "auth.apiKey: is missing"
        elif "apiKey" not in {field.const for field in auth.api_key.page.content}:
            yield "auth.apiKey.page.content: expected a field apiKey"
    elif auth.oauth is None:
        yield "auth.oauth: is missing"
    elif not auth.oauth.auth_url.startswith(("http://", "https://")):
        yield "auth.oauth.authUrl: expected an http:// or https:// URL"
    elif auth.oauth.scope and not auth.oauth.scope.startswith("scope="):
        yield "auth.oauth.scope: must begin with scope=, since the client puts it into the URL as it is"


def _form_problems(page: Mapping[str, Any]) -> Iterator[str]:
    """Yield fields that occur twice, because the client stores input by their names, and misspelt types."""
    for form in _FORMS:
        seen: set[str] = set()
        for n, field in enumerate(page[form]["additionalFields"]):
            type_ = field["type"]
            meant = get_close_matches(type_, _FIELD_TYPES, 1, _ALMOST) if type_ not in _FIELD_TYPES else []
            if not type_ or meant:
                hint = f": did you mean {meant[0]}?" if meant else ""
                yield f"page.{form}.additionalFields[{n}].type: the client knows no such type{hint}"
            if field["const"] in seen:
                yield f"page.{form}.additionalFields[{n}].const: there is another field with this name"
            seen.add(field["const"])
