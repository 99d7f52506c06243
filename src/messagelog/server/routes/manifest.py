"""`GET /crmManifest`: the client's manifest, built from the connectors' own declarations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import messagelog
from messagelog.core.users.settings import LANGUAGE, TIMEZONE
from messagelog.server.context import REDIRECT_URI
from messagelog.server.openapi.operations import OBJECT, TEXT, Content, Parameter
from messagelog.server.requests import HttpRefusal, context_of, json_response, query_values
from messagelog.server.routing import Router

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from messagelog.connectors import Connector

router = Router()

_CLIENT_ID: Final = "messagelog"
"""Not empty, since the Developer Console accepts no empty one. `/oauth/start` uses the operator's own instead."""

_FORMS: Final = ("callLog", "messageLog", "newContact")

_SETTINGS: Final[dict[str, Any]] = {
    "id": "messagelog",
    "type": "section",
    "name": "Message logs",
    "items": [
        {
            "id": TIMEZONE,
            "type": "inputField",
            "name": "Time zone, such as Europe/Berlin",
            "defaultValue": "",
        },
        {"id": LANGUAGE, "type": "inputField", "name": "Language, such as en or pt-BR", "defaultValue": ""},
    ],
}
"""The settings that users of every CRM have."""

_MANIFEST_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "serverUrl": TEXT,
        "redirectUri": TEXT,
        "version": TEXT,
        "author": {"type": "object", "properties": {"name": TEXT}, "required": ["name"]},
        "platforms": {"type": "object", "additionalProperties": OBJECT},
    },
    "required": ["serverUrl", "redirectUri", "version", "author", "platforms"],
}
_MANIFEST_EXAMPLE: Final = {
    "serverUrl": "https://log.example.com",
    "redirectUri": REDIRECT_URI,
    "author": {"name": "messagelog"},
    "version": "0.1.0",
    "platforms": {"demo": {"name": "demo", "displayName": "Demo CRM"}},
}


@router.get(
    "/crmManifest",
    query=(Parameter("platformName", "One platform; all if it is left out.", "demo"),),
    answer=Content(_MANIFEST_SCHEMA, _MANIFEST_EXAMPLE),
)
async def crm_manifest(request: Request) -> Response:
    """Return the client's manifest: one platform by `platformName`, or all platforms of this server."""
    config = context_of(request).config
    name = query_values(request).get("platformName", "default")
    connectors = config.connectors
    if name not in {"", "default"}:
        if name not in connectors:
            raise HttpRefusal(400, "Platform not found")
        connectors = {name: connectors[name]}
    return json_response(build_manifest(connectors, config.public_url, config.redirect_uri))


def build_manifest(
    connectors: Mapping[str, Connector], public_url: str, redirect_uri: str = REDIRECT_URI
) -> dict[str, Any]:
    """Return the manifest of these connectors for a server at `public_url`."""
    url = public_url.rstrip("/")
    return {
        "serverUrl": url,
        "redirectUri": redirect_uri,
        "author": {"name": "messagelog", "websiteUrl": url, "supportUrl": url},
        "version": messagelog.__version__,
        "platforms": {
            name: platform_manifest(connector, url, redirect_uri) for name, connector in connectors.items()
        },
    }


def contact_types(connector: Connector) -> list[dict[str, Any]]:
    """Return the types of a new contact. The first one is the client's default."""
    return connector.manifest.get("contactTypes") or [{"display": "Contact", "value": "contact"}]


def additional_fields(connector: Connector) -> list[dict[str, Any]]:
    """Return the custom fields that the client shows when messages are logged or a contact is created."""
    page = connector.manifest.get("page", {})
    return [
        field
        for form in ("messageLog", "newContact")
        for field in page.get(form, {}).get("additionalFields", [])
    ]


def platform_manifest(
    connector: Connector, public_url: str = "", redirect_uri: str = REDIRECT_URI
) -> dict[str, Any]:
    """Return one platform: the connector's declarations, and defaults that the client cannot do without."""
    # Without a search by name, the client's form fails on a number without a contact if none can be created either:
    # the list of contacts is empty then.
    searches = connector.can("find_contact_with_name") or not connector.can("create_contact")
    page = {"useContactSearch": searches, **connector.manifest.get("page", {})}
    for form in _FORMS:
        page[form] = {"additionalFields": [], **page.get(form, {})}
    return {
        "displayName": connector.display_name or connector.name,
        "urlIdentifier": "*",
        "environment": {"type": "fixed", "url": connector.base_url},
        "auth": _auth(connector, public_url, redirect_uri),
        "isSelectedMessageLogSupported": True,
        "contactPageUrl": "",  # where a contact's page is only the connector knows
        "embeddedOnCrmPage": {"welcomePage": {"docLink": "", "videoLink": ""}},
        **connector.manifest,
        "name": connector.name,  # the client looks it up by this name
        "contactTypes": contact_types(connector),
        "page": page,
        "settings": [_SETTINGS, *connector.manifest.get("settings", [])],
    }


def _auth(connector: Connector, public_url: str, redirect_uri: str) -> dict[str, Any]:
    """Return how users sign in. The client opens `authUrl` with further values, which we do not need."""
    if connector.oauth is None:
        field = {"const": "apiKey", "title": "API key", "type": "string", "required": True}
        page = {"title": connector.display_name or connector.name, "content": [field]}
        return {"type": "apiKey", "apiKey": {"page": page}}
    oauth_fields = {
        "authUrl": f"{public_url}/oauth/start",
        "clientId": _CLIENT_ID,
        "redirectUri": redirect_uri,
        "scope": "",
    }
    return {"type": "oauth", "oauth": oauth_fields}
