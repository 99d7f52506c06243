"""The client's half of OAuth 2: exchange a code or a refresh token for credentials, and revoke them.

No answer, code, token or secret is quoted in an error: only a status, and an error code of the standard.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import aiohttp
import msgspec

from messagelog.connectors import AuthExpired, ClientAuth, Credentials, OAuth, Rejected, Unavailable
from messagelog.connectors.answers import AnswerTooLong, read_answer
from messagelog.connectors.outbound import find_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CODES: Final = frozenset(
    {
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_grant_type",
        "unsupported_token_type",
    }
)
_LONGEST_ANSWER: Final = 1_000_000
_KNOWN: Final = frozenset({"access_token", "expires_in", "refresh_token", "token_type"})


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """Our client id and secret at a CRM's authorization server, as the operator has registered it."""

    client_id: str
    client_secret: str = field(default="", repr=False)


class _Answer(msgspec.Struct):
    """A token endpoint's answer by the standard; some CRMs send `expires_in` (seconds) as text."""

    access_token: str
    refresh_token: str | None = None
    expires_in: int | float | str | None = None


class TokenEndpoint:
    """Asks a connector's token endpoint. `clock` gives epoch seconds, `seconds` is the limit of one request.

    Raises `AuthExpired` if the code or refresh token is not (or no longer) accepted, `Rejected` for another refusal
    (mostly of the operator's registration), and `Unavailable` if there is no usable answer.
    """

    def __init__(self, client: aiohttp.ClientSession, *, seconds: float, clock: Callable[[], float]) -> None:
        self._client = client
        self._seconds = seconds
        self._clock = clock

    async def exchange(
        self, oauth: OAuth, registered: OAuthClient, *, code: str, redirect_uri: str, verifier: str | None
    ) -> Credentials:
        """Exchange a code for credentials. `verifier` is PKCE's, None if no challenge was sent."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        if verifier is not None:
            form["code_verifier"] = verifier
        return self._credentials(
            await self._post_form(oauth, registered, oauth.token_url, form), Credentials()
        )

    async def refresh(self, oauth: OAuth, registered: OAuthClient, before: Credentials) -> Credentials:
        """Exchange a refresh token for new credentials. A CRM that rotates them returns a new refresh token."""
        form = {"grant_type": "refresh_token", "refresh_token": before.refresh_token}
        return self._credentials(await self._post_form(oauth, registered, oauth.token_url, form), before)

    async def revoke(self, oauth: OAuth, registered: OAuthClient, credentials: Credentials) -> None:
        """End the grant at the CRM, if it has a URL for that: by the refresh token, else by the access token."""
        token = credentials.refresh_token or credentials.access_token
        if oauth.revocation_url and token:
            hint = "refresh_token" if credentials.refresh_token else "access_token"
            form = {"token": token, "token_type_hint": hint}
            await self._post_form(oauth, registered, oauth.revocation_url, form)

    async def _post_form(
        self, oauth: OAuth, registered: OAuthClient, url: str, form: Mapping[str, str]
    ) -> bytes:
        """Post a form as our client, and return the body of a good answer."""
        headers = {"Accept": "application/json"}
        sent = dict(form)
        match oauth.client_auth:
            case ClientAuth.BASIC:
                # A blank is sent as %20, which servers that know no plus of forms read too.
                pair = ":".join(
                    quote(each, safe="") for each in (registered.client_id, registered.client_secret)
                )
                headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
            case ClientAuth.POST:
                sent |= {"client_id": registered.client_id, "client_secret": registered.client_secret}
            case ClientAuth.NONE:
                sent["client_id"] = registered.client_id
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client.post(url, data=sent, headers=headers, allow_redirects=False) as answer,
            ):
                body = await read_answer(answer, _LONGEST_ANSWER)
        except AnswerTooLong as error:
            raise Unavailable(f"the authorization server says too much: {error}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if (refused := find_refusal(error)) is not None:
                raise Rejected(str(refused)) from None
            # Not chained: aiohttp's text may hold the URL.
            raise Unavailable(f"no answer of the authorization server ({type(error).__name__})") from None
        if answer.status != HTTPStatus.OK:
            raise _refusal(answer.status, body)
        return body

    def _credentials(self, body: bytes, before: Credentials) -> Credentials:
        try:
            told = msgspec.json.decode(body, type=_Answer)
            fields: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _refusal(HTTPStatus.OK, body) from None
        token = told.access_token
        if not token or not token.isascii() or not token.isprintable():
            raise Unavailable("the authorization server gave no access token", status=HTTPStatus.OK)
        now = self._clock()
        return Credentials(
            access_token=token,
            refresh_token=told.refresh_token or before.refresh_token,
            issued_at=int(now * 1000),
            expires_at=_end(told.expires_in, now),
            fields={
                **before.fields,
                **{name: value for name, value in fields.items() if name not in _KNOWN},
            },
        )


def _end(expires_in: float | str | None, now: float) -> int | None:
    """Return the end of an access token (epoch ms); None if the CRM gives none that can be used."""
    try:
        seconds = float(expires_in) if expires_in is not None else 0.0
        return int((now + seconds) * 1000) if seconds > 0 else None
    except (ValueError, OverflowError):
        return None


def _refusal(status: int, body: bytes) -> AuthExpired | Rejected | Unavailable:
    """Return the error of an answer without a token. Some CRMs send with 200 or 401 what belongs with 400."""
    try:
        said = msgspec.json.decode(body, type=dict[str, Any]).get("error")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = None
    code = said if isinstance(said, str) and said in _CODES else None
    detail = f"HTTP {status}" + (f" {code}" if code else "")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return Unavailable(detail, status=status)
    if code == "invalid_grant":
        return AuthExpired(detail, status=status)
    if code is None and status == HTTPStatus.OK:
        return Unavailable("the authorization server's answer cannot be read", status=status)
    return Rejected(detail, status=status)
