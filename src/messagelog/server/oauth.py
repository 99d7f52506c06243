"""`GET /oauth/start` and `GET /oauth-callback`: a user signs in at the CRM itself.

The client opens the manifest's `authUrl`, which is `/oauth/start`, in a window. It leads to the CRM, which sends the
window back to the page that the client watches. The client then hands us that page's URL, with the code in it.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from starlette.responses import Response

from messagelog.connectors import AuthExpired, ConnectorError, NotFound, Rejected
from messagelog.server.http import Refused, assembly_of, count_guess, forget_guess, query_values
from messagelog.server.login import checked_hostname, connected, notice, platform_in, report_login
from messagelog.server.routes import Router
from messagelog.server.states import BadState, StaleState

if TYPE_CHECKING:
    from starlette.requests import Request

    from messagelog.connectors import Connector, OAuth
    from messagelog.server.assembly import Assembly

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


@router.get("/oauth/start")
async def start(request: Request) -> Response:
    """Leads to the CRM's authorization server, with a state that only we can have made.

    Of what the client adds to this URL only `state=platform=NAME` is looked at: which of our connectors it is. Scopes
    and the page to return to are the connector's and the server's, whatever a query says.
    """
    assembly = assembly_of(request)
    connector, oauth = _oauth_of(assembly, platform_in(query_values(request).get("state", "")))
    text, state = assembly.states.issue(connector.name)
    asked = {
        **oauth.authorization_params,
        "response_type": "code",
        "client_id": assembly.parts.oauth_clients[connector.name].client_id,
        "redirect_uri": assembly.parts.redirect_uri,
        "state": text,
    }
    if oauth.scopes:
        asked["scope"] = " ".join(oauth.scopes)
    if oauth.pkce:
        asked |= {"code_challenge": state.challenge, "code_challenge_method": "S256"}
    target = urlsplit(oauth.authorization_url)
    query = "&".join(filter(None, (target.query, urlencode(asked, quote_via=quote))))
    location = urlunsplit(target._replace(query=query))
    return Response(status_code=HTTPStatus.FOUND, headers={"Location": location, **_PRIVATE})


@router.get("/oauth-callback")
async def callback(request: Request) -> Response:
    """Signs the user in with the code that the CRM has sent the client's window back with.

    A refusal that the user can do something about is a 200 with a `returnMessage` and without `jwtToken`: that is what
    the client shows. What no client of ours sends is a 400 text.
    """
    assembly = assembly_of(request)
    page, values = _returned(request)
    if not page:
        raise Refused(400, "Missing callbackUri")
    if page != assembly.parts.redirect_uri:
        raise Refused(400, "callbackUri: expected the page that the CRM returns to")
    count_guess(request)
    try:
        platform, verifier = await _begun(assembly, values.get("state", ""))
    except BadState:
        raise Refused(400, "state: expected one of this server's. Please connect again.") from None
    except StaleState:
        return notice("This sign-in took too long, or was used before. Please connect again.", 200)
    connector, oauth = _oauth_of(assembly, platform)
    hostname = checked_hostname(values.get("hostname"))
    crm = connector.display_name or connector.name
    if "error" in values:
        forget_guess(request)
        why = f" ({values['error']})" if values["error"] in _ERRORS else ""
        return notice(f"{crm} did not let you connect{why}.", 200)
    code = values.get("code", "")
    if not code:
        raise Refused(400, "callbackUri: expected a code in it")
    try:
        async with asyncio.timeout(assembly.parts.times.answer):
            user = await assembly.users.sign_in_with_code(
                connector,
                code,
                hostname,
                redirect_uri=assembly.parts.redirect_uri,
                verifier=verifier if oauth.pkce else None,
            )
    except (AuthExpired, Rejected, NotFound) as error:
        report_login(assembly, connector, error)
        return notice(f"{crm} did not accept the sign-in. Please connect again.", 200)
    except (ConnectorError, TimeoutError) as error:
        report_login(assembly, connector, error)
        forget_guess(request)
        return notice("The CRM cannot be reached at the moment", 200)
    forget_guess(request)
    return connected(assembly, connector, user)


def _oauth_of(assembly: Assembly, platform: str) -> tuple[Connector, OAuth]:
    if not platform:
        raise Refused(400, "Missing platform name")
    connector = assembly.parts.connectors.get(platform)
    if connector is None:
        raise Refused(400, "platform: this server has no connector for it")
    if connector.oauth is None:
        raise Refused(400, "platform: its users sign in with an API key")
    return connector, connector.oauth


async def _begun(assembly: Assembly, state: str) -> tuple[str, str | None]:
    """The platform of a sign-in that was begun here, and PKCE's secret.

    Where the operator allows it the client's own state will do, `platform=NAME`: then it began at the CRM.
    """
    platform = platform_in(state)
    if platform and assembly.parts.bare_state:
        return platform, None
    begun = await assembly.states.take(state)
    return begun.platform, begun.verifier


def _returned(request: Request) -> tuple[str, dict[str, str]]:
    """The page that the CRM returned to, without its query, and the values of that query and of ours.

    The client does not encode `callbackUri`, so that what stood behind its first `&` arrives as values of ours; a
    newer one may encode it. Each value is decoded once. The first of a name counts: the page's own come first.
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
    others = query_values(request)
    return page.partition("#")[0], {**others, **values}
