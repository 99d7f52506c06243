"""A CRM with an authorization server of its own: Authlib's, on loopback, in front of the demo CRM's API.

Every visitor of `/authorize` is Ada, and grants what is asked (or denies it). Access tokens open the API as Ada's
API key does. What a server may do differently is an attribute: rotation, lifetimes, PKCE, answers that get lost.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import secrets
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import (
    AuthorizationCodeMixin,
    AuthorizationServer,
    ClientMixin,
    OAuth2Request,
    TokenMixin,
    grants,
)
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from messagelog.connectors import ClientAuth, OAuth
from messagelog.core.users.oauth import OAuthClient
from messagelog.server.context import REDIRECT_URI
from messagelog.testing.demo_crm import create_demo_crm
from messagelog.testing.demo_crm.serving import _serve_app
from support.live_server import ADA, FastDemoConnector, RecordingApp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

REGISTERED = OAuthClient("client-1", "a client's secret: %+/ü")
SCOPES = ("contacts.read", "activities.write")


@dataclass
class _Registration(ClientMixin):
    """Our client, as this server knows it."""

    server: OAuthCrm

    def get_client_id(self) -> str:
        return REGISTERED.client_id

    def get_default_redirect_uri(self) -> str:
        return REDIRECT_URI

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == REDIRECT_URI

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == self.server.oauth_client.client_secret

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.server.client_auth

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return True


@dataclass
class _Code(AuthorizationCodeMixin):
    """An authorization code that was handed out."""

    code: str
    redirect_uri: str
    scope: str
    challenge: str | None
    method: str | None

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass
class Grant(TokenMixin):
    """Tokens that were handed out together."""

    access_token: str
    refresh_token: str | None
    scope: str
    ends: float | None
    access_revoked: bool = False
    refresh_revoked: bool = False

    def get_scope(self) -> str:
        return self.scope

    def check_client(self, client: ClientMixin) -> bool:
        return True


class _CodeGrant(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = tuple(ClientAuth)

    def generate_authorization_code(self) -> str:
        crm: OAuthCrm = self.server.crm
        return crm.chosen("code", next(crm.numbers))

    def save_authorization_code(self, code: str, request: OAuth2Request) -> None:
        asked = request.payload.data
        self.server.crm.codes[code] = _Code(
            code,
            asked["redirect_uri"],
            request.scope or "",
            asked.get("code_challenge"),
            asked.get("code_challenge_method"),
        )

    def query_authorization_code(self, code: str, client: ClientMixin) -> _Code | None:
        found: _Code | None = self.server.crm.codes.get(code)
        return found

    def delete_authorization_code(self, authorization_code: _Code) -> None:
        del self.server.crm.codes[authorization_code.code]

    def authenticate_user(self, authorization_code: _Code) -> str:
        return ADA


class _RefreshGrant(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = tuple(ClientAuth)

    @property
    def INCLUDE_NEW_REFRESH_TOKEN(self) -> bool:  # noqa: N802 - the name is Authlib's
        return bool(self.server.crm.rotates)

    def authenticate_refresh_token(self, refresh_token: str) -> Grant | None:
        crm: OAuthCrm = self.server.crm
        crm.refreshed_with.append(refresh_token)
        for grant in crm.grants:
            if grant.refresh_token == refresh_token and not grant.refresh_revoked:
                return grant
        return None

    def authenticate_user(self, refresh_token: Grant) -> str:
        return ADA

    def revoke_old_credential(self, refresh_token: Grant) -> None:
        refresh_token.access_revoked = True
        if self.server.crm.rotates:
            refresh_token.refresh_revoked = True


class _Challenge(CodeChallenge):
    def get_authorization_code_challenge(self, authorization_code: _Code) -> str | None:
        return authorization_code.challenge

    def get_authorization_code_challenge_method(self, authorization_code: _Code) -> str | None:
        return authorization_code.method


class _Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = tuple(ClientAuth)

    def query_token(self, token_string: str, token_type_hint: str | None) -> Grant | None:
        for grant in self.server.crm.grants:
            if token_string in {grant.access_token, grant.refresh_token}:
                return grant  # type: ignore[no-any-return] # Authlib has no types
        return None

    def revoke_token(self, token: Grant, request: OAuth2Request) -> None:
        token.access_revoked = token.refresh_revoked = True


class _OAuthRequest(OAuth2Request):
    """A request as Authlib takes it."""

    def __init__(self, method: str, url: str, values: dict[str, str], headers: dict[str, str]) -> None:
        super().__init__(method, url, headers=headers)
        self.payload = BasicOAuth2Payload(values)

    @property
    def form(self) -> dict[str, str]:
        return self.payload.data  # type: ignore[no-any-return] # Authlib has no types

    @property
    def args(self) -> dict[str, str]:
        return self.form


class _Server(AuthorizationServer):
    def __init__(self, crm: OAuthCrm) -> None:
        super().__init__()
        self.crm = crm
        self.registration = _Registration(crm)
        self.register_token_generator("default", self._generate_tokens)
        self.register_grant(_CodeGrant, [_Challenge(required=True)] if crm.knows_pkce else [])
        self.register_grant(_RefreshGrant)
        self.register_endpoint(_Revocation)

    def _generate_tokens(self, **asked: Any) -> dict[str, Any]:
        crm = self.crm
        number = next(crm.numbers)
        tokens = BearerTokenGenerator(
            access_token_generator=lambda *_a, **_k: crm.chosen("access", number),
            refresh_token_generator=lambda *_a, **_k: crm.chosen("refresh", number),
            expires_generator=crm.expires_in or 3600,
        )
        made: dict[str, Any] = tokens(
            **{**asked, "include_refresh_token": asked["include_refresh_token"] and crm.gives_refresh_tokens}
        )
        if crm.expires_in is None:
            del made["expires_in"]
        return {**made, **crm.more}

    def query_client(self, client_id: str) -> ClientMixin | None:
        return self.registration if client_id == REGISTERED.client_id else None

    def save_token(self, token: dict[str, Any], request: OAuth2Request) -> None:
        refresh_token = token.get("refresh_token")
        if refresh_token is None and request.refresh_token is not None and not self.crm.rotates:
            refresh_token = request.refresh_token.refresh_token
        lasts = token.get("expires_in")
        ends = None if lasts is None else self.crm.clock() + lasts
        self.crm.grants.append(Grant(token["access_token"], refresh_token, token.get("scope", ""), ends))

    def create_oauth2_request(self, request: _OAuthRequest) -> _OAuthRequest:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> Response:
        if isinstance(body, dict):
            return JSONResponse(body, status, dict(headers))
        return Response(body, status, dict(headers))

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Do nothing: there are no listeners."""


Answered = Callable[[Response], Response | None]


def random_text(kind: str, number: int) -> str:
    """Return a code or a token that cannot be guessed."""
    return f"{kind}-{number}-{secrets.token_urlsafe(24)}"


@dataclass
class OAuthCrm:
    """The CRM at `url`. Change what it does by its attributes, look at what it was asked.

    `chosen` makes codes, access and refresh tokens; `recorded` has every request, once it is served.
    """

    oauth_client: OAuthClient = REGISTERED
    client_auth: ClientAuth = ClientAuth.BASIC
    knows_pkce: bool = True
    rotates: bool = True
    gives_refresh_tokens: bool = True
    expires_in: int | None = 3600
    denies: bool = False
    more: dict[str, Any] = field(default_factory=dict)
    clock: Callable[[], float] = time.time
    gate: asyncio.Event | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    before: Callable[[str], Response | None] = lambda _grant_type: None
    after: Callable[[str, Response], Response] = lambda _grant_type, answer: answer
    chosen: Callable[[str, int], str] = random_text
    url: str = ""
    recorded: RecordingApp = field(init=False)
    codes: dict[str, _Code] = field(default_factory=dict)
    grants: list[Grant] = field(default_factory=list)
    refreshed_with: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    refused: int = 0
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def oauth(self) -> OAuth:
        """What a connector declares of it."""
        return OAuth(
            authorization_url=f"{self.url}/authorize?tenant=acme",
            token_url=f"{self.url}/token",
            revocation_url=f"{self.url}/revoke",
            scopes=SCOPES,
            pkce=self.knows_pkce,
            client_auth=self.client_auth,
        )

    @property
    def connector(self) -> OAuthDemo:
        """A connector to it."""
        return OAuthDemo(self)

    @property
    def refreshes(self) -> int:
        """How often it was asked to refresh."""
        return len(self.refreshed_with)

    def secrets(self) -> set[str]:
        """Return all secrets that it has issued."""
        handed_out = {grant.access_token for grant in self.grants} | {
            grant.refresh_token for grant in self.grants if grant.refresh_token
        }
        sent = {form[name] for form in self.forms for name in ("code", "code_verifier") if name in form}
        return handed_out | sent | {self.oauth_client.client_secret}

    def app(self, api: ASGIApp) -> RecordingApp:
        server = _Server(self)

        async def authorize(request: Request) -> Response:
            asked = await _to_oauth_request(request, dict(request.query_params))
            grant = server.get_consent_grant(asked, end_user=ADA)
            answer: Response = server.create_authorization_response(
                asked, grant_user=None if self.denies else ADA, grant=grant
            )
            return answer

        async def token(request: Request) -> Response:
            return await self._answer(request, server.create_token_response)

        async def revoke(request: Request) -> Response:
            return await self._answer(
                request, lambda asked: server.create_endpoint_response("revocation", asked)
            )

        routes = [
            Route("/authorize", authorize),
            Route("/token", token, methods=["POST"]),
            Route("/revoke", revoke, methods=["POST"]),
            Mount("/crm", _Gate(self, api)),
        ]
        self.recorded = RecordingApp(Starlette(routes=routes))
        return self.recorded

    async def _answer(self, request: Request, answer: Callable[[_OAuthRequest], Response]) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        self.forms.append(form)
        kind = form.get("grant_type", "revocation")
        if (instead := self.before(kind)) is not None:
            return instead
        if self.gate is not None:
            self.arrived.set()
            await self.gate.wait()
        return self.after(kind, answer(await _to_oauth_request(request, form)))


class _Gate:
    """Opens the API to those who have an access token that is good now."""

    def __init__(self, crm: OAuthCrm, api: ASGIApp) -> None:
        self._crm = crm
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        token = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        now = self._crm.clock()
        good = any(
            grant.access_token == token
            and not grant.access_revoked
            and (grant.ends is None or now < grant.ends)
            for grant in self._crm.grants
        )
        if not good:
            self._crm.refused += 1
            await JSONResponse({"error": "invalid_token"}, HTTPStatus.UNAUTHORIZED)(scope, receive, send)
            return
        headers[b"authorization"] = f"Bearer {ADA}".encode()
        await self._api({**scope, "headers": list(headers.items())}, receive, send)


class OAuthDemo(FastDemoConnector):
    """The demo's connector, for users who sign in with OAuth."""

    name = "oauth-crm"
    display_name = "OAuth CRM"

    def __init__(self, crm: OAuthCrm) -> None:
        super().__init__(f"{crm.url}/crm/api")
        self.oauth = crm.oauth


async def _to_oauth_request(request: Request, values: dict[str, str]) -> _OAuthRequest:
    return _OAuthRequest(
        request.method, str(request.url), values, {"Authorization": request.headers.get("authorization", "")}
    )


@asynccontextmanager
async def oauth_crm(folder: Path, **changes: Any) -> AsyncIterator[OAuthCrm]:
    """Serves such a CRM; its file is in `folder`."""
    crm = OAuthCrm(**changes)
    api = create_demo_crm(folder / "oauth-crm.sqlite", clock=time.time)
    try:
        async with _serve_app(crm.app(api)) as crm.url:
            yield crm
    finally:
        await asyncio.to_thread(api.state.store.close)


def lost(_kind: str, _answer: Response) -> Response:
    """The work is done, and something on the way answers in its place."""
    return Response("<html>gateway timeout</html>", HTTPStatus.GATEWAY_TIMEOUT)


def refusing(kind: str, error: str, status: int = 400) -> Callable[[str], Response | None]:
    """An error answer to requests of this kind."""

    def before(asked: str) -> Response | None:
        if asked != kind:
            return None
        told = {"error": error, "error_description": "words of the server, with a secret in them"}
        return Response(json.dumps(told), status, media_type="application/json")

    return before


def oauth_client(**changes: str) -> OAuthClient:
    """Our client, with something of it changed."""
    return dataclasses.replace(REGISTERED, **changes)
