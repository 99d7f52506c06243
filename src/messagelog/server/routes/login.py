"""`POST /apiKeyLogin` and `POST /unAuthorize`: a user connects the client with the CRM, and disconnects it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

import msgspec
import structlog

from messagelog.connectors import AuthExpired, ConnectorError, Credentials, NotFound, Rejected
from messagelog.connectors.hostname import normal_hostname
from messagelog.core.intake.answer import ReturnMessage, warning
from messagelog.server.openapi.operations import NOTICE, TEXT, Access, Content, Parameter, notice_example
from messagelog.server.openapi.schemas import LoginForm
from messagelog.server.requests import (
    RENEWED_TOKEN,
    HttpRefusal,
    authenticate,
    call_with_timeout,
    context_of,
    count_guess,
    forget_guess,
    json_response,
    query_values,
    read_form,
)
from messagelog.server.routing import Router

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from messagelog.connectors import Connector
    from messagelog.core import User
    from messagelog.server.context import AppContext

router = Router()

_log = structlog.get_logger(__name__)


CONNECTED_SCHEMA: Final = {
    "type": "object",
    "properties": {"jwtToken": TEXT, "name": TEXT, **NOTICE["properties"]},
    "required": ["jwtToken", "name", "returnMessage"],
}
CONNECTED_EXAMPLE: Final = {
    "jwtToken": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
    "name": "Ada Lovell",
    "returnMessage": notice_example("Connected to Demo CRM."),
}
_LOGGED_OUT_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "message": TEXT,
        "messageType": TEXT,
        "ttl": {"type": "integer"},
        **NOTICE["properties"],
    },
    "required": ["message", "messageType", "ttl", "returnMessage"],
}
_LOGGED_OUT: Final = notice_example("Successfully unauthorized.", ttl=3000)


@router.post(
    "/apiKeyLogin",
    query=(Parameter("state", "The platform too: platform=NAME.", "platform=demo"),),
    body=Content(
        LoginForm,
        {
            "platform": "demo",
            "apiKey": "demo-ada",
            "hostname": "crm.example.com",
            "additionalInfo": {"apiKey": "demo-ada"},
        },
    ),
    answer=Content(CONNECTED_SCHEMA, CONNECTED_EXAMPLE),
    errors=(429,),
)
async def log_in(request: Request) -> Response:
    """Ask the CRM whose key it is, and answer with a session token. A refusal is a 400, as the client expects."""
    form = await read_form(request, LoginForm)
    context = context_of(request)
    platform = form.platform or platform_of_state(query_values(request).get("state", ""))
    if not platform:
        raise HttpRefusal(400, "Missing platform name")
    connector = context.config.connectors.get(platform)
    if connector is None:
        raise HttpRefusal(400, "platform: this server has no connector for it")
    if connector.oauth is not None:
        raise HttpRefusal(400, "platform: its users sign in at the CRM, with OAuth")
    hostname = validate_hostname(form.hostname)
    credentials = _credentials(form)
    if credentials is None:
        return notice_response("The API key is missing or has characters that no key has.", 400)
    count_guess(request)  # before the CRM is asked, so that guesses at once are counted too
    try:
        async with asyncio.timeout(context.config.times.answer):
            user = await context.users.sign_in(connector, credentials, hostname)
    except (AuthExpired, Rejected, NotFound) as error:
        record_login_failure(context, connector, error)
        return notice_response("Could not load user information", 400)
    except (ConnectorError, TimeoutError) as error:
        record_login_failure(context, connector, error)
        forget_guess(request)
        return notice_response("The CRM cannot be reached at the moment", 400)
    forget_guess(request)
    return sign_in_response(context, connector, user)


@router.post(
    "/unAuthorize",
    access=Access.USER,
    answer=Content(_LOGGED_OUT_SCHEMA, {**_LOGGED_OUT, "returnMessage": _LOGGED_OUT}),
    ends_session=True,
)
async def log_out(request: Request) -> Response:
    """End the user's session at once, in every browser, and then revoke the credentials at the CRM if it can.

    The answer has the notice twice: at the top as in the reference, and as `returnMessage`, which the client reads.
    """
    user = await authenticate(request, connected=False)
    request.scope.pop(RENEWED_TOKEN, None)  # it would belong to the session that ends
    context = context_of(request)
    connector = context.config.connectors[user.platform]
    return_message = ReturnMessage(message="Successfully unauthorized.", message_type="success", ttl=3000)
    try:
        session = await context.users.sign_out(connector, user)
        if session is not None:
            await call_with_timeout(request, connector, context.users.revoke(connector, session))
    except ConnectorError as error:
        _log.warning("revocation_failed", connector=connector.name, detail=error.detail)
        crm = connector.display_name or connector.name
        words = f"You are signed out here. {crm} could not be told to end the access."
        return_message = warning(words)
    return json_response({**msgspec.to_builtins(return_message), "returnMessage": return_message})


def record_login_failure(context: AppContext, connector: Connector, error: Exception) -> None:
    """Count and log that the CRM refused a sign-in, or could not answer. The user is not known then."""
    outcome = "refused" if isinstance(error, AuthExpired | Rejected | NotFound) else "unavailable"
    context.metrics.count_login(connector.name, outcome)
    status = error.status if isinstance(error, ConnectorError) else None
    name = type(error).__name__
    _log.warning("login_failed", platform=connector.name, outcome=outcome, error=name, status=status)


def sign_in_response(context: AppContext, connector: Connector, user: User) -> Response:
    """Return the answer to a user who has signed in: the session token and the user's name."""
    context.metrics.count_login(connector.name, "ok")
    crm = connector.display_name or connector.name
    return_message = ReturnMessage(message=f"Connected to {crm}.", message_type="success", ttl=1000)
    context.runtime.request_sweep()  # logs that waited for this sign-in go on
    token = context.tokens.issue(user)
    answer = json_response({"jwtToken": token, "name": user.name, "returnMessage": return_message})
    answer.headers["Cache-Control"] = "no-store"
    return answer


def notice_response(message: str, status: int) -> Response:
    """Return the answer to a user who could not sign in: a notice, and no token."""
    return_message = ReturnMessage(message=message, message_type="warning", ttl=3000)
    return json_response({"returnMessage": return_message}, status)


def platform_of_state(state: str) -> str:
    """Return the platform that the client's own state names, `platform=NAME`; an empty text if it names none."""
    return (parse_qs(state).get("platform") or [""])[0]


def validate_hostname(text: str | None) -> str:
    """Return the CRM's host that the client sends, or an empty text. Raises `HttpRefusal` if it is not a host's name.

    Connectors put it into the URL that credentials are sent to, so it must not contain a path, a user or a port.
    """
    stripped = (text or "").strip()
    hostname = normal_hostname(stripped) if stripped else ""
    if hostname is None:
        raise HttpRefusal(400, "hostname: expected the name of a host, such as crm.example.com")
    return hostname


def _credentials(form: LoginForm) -> Credentials | None:
    """Return the key and the other fields of the login page; None without a key that can be sent in a header."""
    fields = dict(form.additional_info or {})
    in_fields = fields.pop("apiKey", None)
    key = form.api_key or (in_fields if isinstance(in_fields, str) else "")
    key = key.strip()  # copied keys often have blanks around them
    return Credentials(api_key=key, fields=fields) if key and key.isascii() and key.isprintable() else None
