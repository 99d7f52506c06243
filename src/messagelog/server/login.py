"""`POST /apiKeyLogin`: a user connects the client with her CRM."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from fastapi import APIRouter, Request, Response

from messagelog.connectors import AuthExpired, ConnectorError, Credentials, NotFound, Rejected
from messagelog.core.answer import ReturnMessage
from messagelog.server.http import Refused, assembly_of, json_response, query_values, read_form

router = APIRouter()

_LONGEST_HOSTNAME: Final = 255


class _LoginForm(msgspec.Struct, rename="camel"):
    """The body of `POST /apiKeyLogin`: `additionalInfo` has all fields of the login page, the key included."""

    api_key: str | None = None
    platform: str | None = None
    hostname: str | None = None
    additional_info: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"_LoginForm(platform={self.platform!r})"


@router.post("/apiKeyLogin", response_class=Response)
async def log_in(request: Request) -> Response:
    """Asks the CRM whose key it is, and answers with a session token; a refusal is a 400, as the client expects."""
    form = await read_form(request, _LoginForm)
    assembly = assembly_of(request)
    platform = form.platform or _platform_in_state(request)
    if not platform:
        raise Refused(400, "Missing platform name")
    connector = assembly.parts.connectors.get(platform)
    if connector is None:
        raise Refused(400, "platform: this server has no connector for it")
    hostname = (form.hostname or "").strip()
    if len(hostname) > _LONGEST_HOSTNAME or not hostname.isprintable():
        raise Refused(400, f"hostname: expected at most {_LONGEST_HOSTNAME} printable characters")
    credentials = _credentials(form)
    if credentials is None:
        return _not_connected("The API key is missing or has characters that no key has.")
    try:
        async with asyncio.timeout(assembly.parts.times.answer):
            user = await assembly.users.sign_in(connector, credentials, hostname)
    except (AuthExpired, Rejected, NotFound):
        return _not_connected("Could not load user information")
    except (ConnectorError, TimeoutError):
        return _not_connected("The CRM cannot be reached at the moment")
    crm = connector.display_name or connector.name
    notice = ReturnMessage(message=f"Connected to {crm}.", message_type="success", ttl=1000)
    token = assembly.tokens.issue(user)
    return json_response({"jwtToken": token, "name": user.name, "returnMessage": notice})


def _platform_in_state(request: Request) -> str:
    """The platform as the query has it: `state=platform=NAME`."""
    state = parse_qs(query_values(request).get("state", ""))
    return (state.get("platform") or [""])[0]


def _credentials(form: _LoginForm) -> Credentials | None:
    """The key and the other fields of the login page; None without a key that can be sent in a header."""
    fields = dict(form.additional_info or {})
    in_fields = fields.pop("apiKey", None)
    key = form.api_key or (in_fields if isinstance(in_fields, str) else "")
    key = key.strip()  # as it comes with a copied key
    return Credentials(api_key=key, fields=fields) if key and key.isascii() and key.isprintable() else None


def _not_connected(message: str) -> Response:
    notice = ReturnMessage(message=message, message_type="warning", ttl=3000)
    return json_response({"returnMessage": notice}, 400)
