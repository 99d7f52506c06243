"""`GET /oauth/start` and `GET /oauth-callback`: a user signs in at the CRM itself.

The client opens the manifest's `authUrl`, which is `/oauth/start`, in a window. It redirects to the CRM, which sends
the window back to the page that the client watches. The client then sends us that page's URL, with the code in it.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from starlette.responses import Response

from messagelog.connectors import AuthExpired, ConnectorError, NotFound, Rejected
from messagelog.server.auth.oauth_state import BadState, SignInRefused
from messagelog.server.context import REDIRECT_URI
from messagelog.server.openapi.operations import NOTICE, Content, Parameter
from messagelog.server.requests import (
    HEAD_ONLY,
    HttpRefusal,
    context_of,
    count_guess,
    forget_guess,
    query_values,
)
from messagelog.server.routes.hashed_ids import user_at_end, user_at_start
from messagelog.server.routes.login import (
    CONNECTED_EXAMPLE,
    CONNECTED_SCHEMA,
    notice_response,
    platform_of_state,
    record_login_failure,
    sign_in_response,
    validate_hostname,
)
from messagelog.server.routing import Router

if TYPE_CHECKING:
    from starlette.requests import Request

    from messagelog.connectors import Connector, OAuth
    from messagelog.server.auth.oauth_state import RingCentralUser
    from messagelog.server.context import AppContext

router = Router()

_ERRORS: Final = frozenset(
    {
        "access_denied",
        "invalid_request",
        "invalid_scope",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_response_type",
    }
)
_PRIVATE: Final = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


@router.get(
    "/oauth/start",
    query=(Parameter("state", "The platform: platform=NAME.", "platform=demo", required=True),),
    redirects=True,
)
async def start(request: Request) -> Response:
    """Redirect to the CRM's authorization server, with a state that only this server can have made.

    Of the values that the client adds to this URL, these are used: `state=platform=NAME`, which names the connector,
    and `rcExtensionId` and `rcAccountId`, which say who begins. Scopes and the page to return to are always those of
    the connector and the server.
    """
    context = context_of(request)
    connector, oauth = _oauth_of(context, platform_of_state(query_values(request).get("state", "")))
    text, state = context.states.issue(connector.name, user_at_start(request))
    parameters = {
        **oauth.authorization_params,
        "response_type": "code",
        "client_id": context.config.oauth_clients[connector.name].client_id,
        "redirect_uri": context.config.redirect_uri,
        "state": text,
    }
    if oauth.scopes:
        parameters["scope"] = " ".join(oauth.scopes)
    if oauth.pkce:
        parameters |= {"code_challenge": state.challenge, "code_challenge_method": "S256"}
    target = urlsplit(oauth.authorization_url)
    query = "&".join(filter(None, (target.query, urlencode(parameters, quote_via=quote))))
    location = urlunsplit(target._replace(query=query))
    return Response(status_code=HTTPStatus.FOUND, headers={"Location": location, **_PRIVATE})


@router.get(
    "/oauth-callback",
    query=(
        Parameter(
            "callbackUri",
            "The page that the CRM sent the user back to, with code and state in its query, encoded or not.",
            f"{REDIRECT_URI}?code=1&state=1",
            required=True,
        ),
        Parameter("code", "The code, if callbackUri is not encoded.", "1"),
        Parameter("state", "The state, if callbackUri is not encoded.", "1"),
        Parameter("error", "The CRM's refusal, if callbackUri is not encoded.", "access_denied"),
        Parameter("hostname", "The CRM's host as the client sees it.", "crm.example.com", longest=255),
        Parameter("rcAccountId", "Not used.", "0d6fa7a0"),
    ),
    answer=Content((CONNECTED_SCHEMA, NOTICE), CONNECTED_EXAMPLE),
    errors=(429,),
)
async def callback(request: Request) -> Response:
    """Sign the user in with the code that the CRM added to the page's URL.

    A refusal that the user can do something about is a 200 with a `returnMessage` and without `jwtToken`, which the
    client shows. Requests that no client sends get a 400 with a text. A HEAD uses up neither the state nor the code.
    """
    context = context_of(request)
    page, values = _read_callback(request)
    if page != context.config.redirect_uri:
        wrong = "callbackUri: expected the page that the CRM returns to"
        raise HttpRefusal(400, wrong if page else "Missing callbackUri")
    if request.scope.get(HEAD_ONLY):
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=_PRIVATE)
    count_guess(request)
    try:
        platform, verifier = await _take_state(context, values.get("state", ""), user_at_end(request))
    except BadState:
        raise HttpRefusal(400, "state: expected one of this server's. Please connect again.") from None
    except SignInRefused as error:
        return notice_response(error.words, 200)
    connector, oauth = _oauth_of(context, platform)
    hostname = validate_hostname(values.get("hostname"))
    crm = connector.display_name or connector.name
    if "error" in values:
        forget_guess(request)
        why = f" ({values['error']})" if values["error"] in _ERRORS else ""
        return notice_response(f"{crm} did not let you connect{why}.", 200)
    code = values.get("code", "")
    if not code:
        raise HttpRefusal(400, "callbackUri: expected a code in it")
    try:
        async with asyncio.timeout(context.config.times.answer):
            user = await context.users.sign_in_with_code(
                connector,
                code,
                hostname,
                redirect_uri=context.config.redirect_uri,
                verifier=verifier if oauth.pkce else None,
            )
    except (AuthExpired, Rejected, NotFound) as error:
        record_login_failure(context, connector, error)
        return notice_response(f"{crm} did not accept the sign-in. Please connect again.", 200)
    except (ConnectorError, TimeoutError) as error:
        record_login_failure(context, connector, error)
        forget_guess(request)
        return notice_response("The CRM cannot be reached at the moment", 200)
    forget_guess(request)
    return sign_in_response(context, connector, user)


def _oauth_of(context: AppContext, platform: str) -> tuple[Connector, OAuth]:
    if not platform:
        raise HttpRefusal(400, "Missing platform name")
    connector = context.config.connectors.get(platform)
    if connector is None:
        raise HttpRefusal(400, "platform: this server has no connector for it")
    if connector.oauth is None:
        raise HttpRefusal(400, "platform: its users sign in with an API key")
    return connector, connector.oauth


async def _take_state(context: AppContext, state: str, user: RingCentralUser) -> tuple[str, str | None]:
    """Use up the state, and return the platform of the sign-in and PKCE's secret.

    If the operator allows it, the client's own state (`platform=NAME`) is accepted: then the sign-in began at the CRM.
    """
    platform = platform_of_state(state)
    if platform and context.config.bare_state:
        return platform, None
    state_taken = await context.states.take(state, user)
    return state_taken.platform, state_taken.verifier


def _read_callback(request: Request) -> tuple[str, dict[str, str]]:
    """Return the page that the CRM returned to, without its query, and the values of that query and of ours.

    The client does not encode `callbackUri`, so that everything after its first `&` arrives as values of ours; a newer
    client may encode it. Each value is decoded once. Of several values with one name the first counts; those of the
    page come first.
    """
    pairs = [part.partition("=")[::2] for part in request.scope["query_string"].decode("latin-1").split("&")]
    page = ""
    values: dict[str, str] = {}
    for name, value in pairs:
        if unquote(name) == "callbackUri":
            whole = value if "?" in value or "://" in value else unquote(value)
            page, _, inner = whole.partition("?")
            values |= dict(reversed(parse_qsl(inner.partition("#")[0], keep_blank_values=True)))
            break
    return page.partition("#")[0], {**query_values(request), **values}
