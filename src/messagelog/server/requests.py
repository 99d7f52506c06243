"""Reading and answering requests: tokens first, bodies within a limit, refusals as texts that the client shows."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote_plus

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from messagelog.connectors import Unavailable
from messagelog.core.rate_limits import deadline
from messagelog.errors import MessagelogError
from messagelog.messages import BadRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.requests import Request

    from messagelog.connectors import Connector, Session
    from messagelog.core import User
    from messagelog.server.context import AppContext

T = TypeVar("T")

SIGN_IN: Final = "Please go to Settings and authorize CRM platform"
RESTARTING: Final = "The server is restarting. Please try again in a moment."
DATABASE_GONE: Final = "The server cannot use its database. Nothing was taken. Please try again later."

DATABASE_AWAY: Final = "The server cannot use its database now. Please try again in a moment."

RENEWED_TOKEN: Final = "messagelog.renewed"  # noqa: S105 - the name of a key, not a token
"""The key in a request's scope of the token that its answer brings in the header `x-refreshed-jwt-token`."""

HEAD_ONLY: Final = "messagelog.head"
"""The key in a request's scope that says it is a HEAD, which must use up nothing: its answer has no body."""

BODY_COMPLETE: Final = "messagelog.whole"
"""The key in a request's `state` that says its body has arrived, so that reading it needs no timeout."""

FORM_BYTES: Final = 100_000
"""Most bytes of the body of a small form."""

_SHARE_OF_REFRESH: Final = 0.2
"""How long to wait for a token refresh, as a share of a call's time: 2.4 s besides 12, of the client's 15."""

_BODY_SECONDS: Final = 60.0
"""How long a body may take to arrive. The client itself gives up after 15 seconds."""

_ENCODER = msgspec.json.Encoder()
_MSGSPEC_MESSAGE = re.compile(r"(?P<problem>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")


class HttpRefusal(MessagelogError):
    """The request is refused; the client shows `text` to the user. `retry_after` is in seconds."""

    def __init__(self, status: int, text: str, *, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.retry_after = retry_after


class SessionEnded(MessagelogError):
    """The token is ours, and its session has ended: the user signed out, or the CRM has revoked their grant."""


_ONE_CUSTOMER: Final = 64
"""How many bits of an IPv6 address the owner was given; they choose the other bits freely."""


def address_of(request: Request) -> str:
    """Return the address of the client, of IPv6 its network. Behind a proxy that is not trusted it is the proxy's."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""  # a proxy may say anything; those share one count
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address), _ONE_CUSTOMER), strict=False))
    return str(address)


def json_response(value: Any, status: int = 200) -> Response:
    """Return a value as JSON. The client shows a bare text to the user if the status is 4xx or 5xx."""
    return Response(_ENCODER.encode(value), status, media_type="application/json")


def context_of(request: Request) -> AppContext:
    """Return the parts of the server that answers."""
    config: AppContext = request.app.state.context
    return config


def query_values(request: Request) -> dict[str, str]:
    """Return the query's values, the first of each name. A plus reads as a blank, as forms write it."""
    values: dict[str, str] = {}
    for part in request.scope["query_string"].decode("latin-1").split("&"):
        name, _, value = part.partition("=")
        values.setdefault(unquote_plus(name), unquote_plus(value, errors="replace"))
    return values


def bearer_of(request: Request) -> str | None:
    """Return the bearer's token of the header; None without the header, or with another scheme."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


async def authenticate(request: Request, *, connected: bool = True) -> User:
    """Return the user of the session token, which is a bearer's or in the query. No body is read before this.

    `connected=False` also accepts a user whose access the CRM has revoked, for routes that make no call to it. A token
    that is about to end is replaced: any answer brings the new one in a header.
    Raises `HttpRefusal` if the user sends too many requests, or the address too many wrong tokens, and `SessionEnded`.
    """
    token = bearer_of(request)
    token = query_values(request).get("jwtToken", "") if token is None else token
    context = context_of(request)
    claims = context.tokens.read(token) if token else None
    if claims is None:
        if token:
            count_guess(request)
        raise HttpRefusal(400, SIGN_IN)
    if claims.platform not in context.config.connectors:
        raise HttpRefusal(400, f"This server has no connector for the platform {claims.platform}.")
    user = await context.users.find(claims.tenant, claims.platform, claims.id)
    if user is None:
        raise HttpRefusal(400, SIGN_IN)
    if user.session_id != claims.session_id or (connected and not user.connected):
        raise SessionEnded
    refuse_after(context.requests.take((user.tenant, user.platform, user.id)))
    if (renewal := context.tokens.renewal(user, claims)) is not None:
        request.scope[RENEWED_TOKEN] = renewal
    return user


def count_guess(request: Request) -> None:
    """Count a token or a login of this address that is not known to be good. Raises `HttpRefusal` after too many."""
    refuse_after(context_of(request).guesses.take(address_of(request)))


def forget_guess(request: Request) -> None:
    """Take back the last count: it was no guess."""
    context_of(request).guesses.give_back(address_of(request))


def refuse_after(seconds: float) -> None:
    """Raise `HttpRefusal` if there are seconds to wait."""
    if seconds:
        wait = math.ceil(seconds)
        raise HttpRefusal(429, f"Too many requests. Please try again in {wait} s.", retry_after=wait)


async def read_body(request: Request, limit: int, *, seconds: float = _BODY_SECONDS) -> bytes:
    """Return the request's body. Raises `HttpRefusal` if it has more than `limit` bytes or takes too long."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)
    if request.scope.get("state", {}).get(BODY_COMPLETE):
        return await _receive_body(request, limit)
    try:
        async with asyncio.timeout(seconds):
            return await _receive_body(request, limit)
    except TimeoutError:
        raise HttpRefusal(408, "body: it took too long to arrive") from None


async def _receive_body(request: Request, limit: int) -> bytes:
    chunks, size, more = [], 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limit: int) -> HttpRefusal:
    return HttpRefusal(413, f"body: expected at most {limit:,} bytes")


async def read_form(request: Request, type_: type[T]) -> T:
    """Return a small body as a typed value. Raises `BadRequest`, which names the wrong field and never quotes it."""
    body = await read_body(request, FORM_BYTES)
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as error:
        raise to_bad_request(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("body", "expected JSON") from None


def to_bad_request(message: str) -> BadRequest:
    """Return msgspec's message about a value as the path of the field and the problem."""
    match = _MSGSPEC_MESSAGE.fullmatch(message)
    path, problem = (match["path"] or "body", match["problem"]) if match else ("body", message)
    if missing := _MISSING.fullmatch(problem):
        return BadRequest(missing[1] if path == "body" else f"{path}.{missing[1]}", "is missing")
    return BadRequest(path, problem[:1].lower() + problem[1:])


async def session_of(request: Request, connector: Connector, user: User) -> Session:
    """Return the user's session at the CRM. Raises `ConnectorError` if there is none now.

    If a token refresh takes longer than the client can wait besides the call, this gives up; the refresh goes on by
    itself, and the next request has its token.
    """
    context = context_of(request)
    try:
        async with asyncio.timeout(context.config.times.answer * _SHARE_OF_REFRESH):
            return await context.users.session(connector, user.tenant, user.id)
    except TimeoutError as error:
        raise Unavailable("the credentials are still being refreshed") from error


async def call_with_timeout(request: Request, connector: Connector, call: Awaitable[T]) -> T:
    """Return the CRM's answer if it comes while the client waits. Raises `ConnectorError` otherwise."""
    return await deadline.call_with_timeout(connector, call, context_of(request).config.times.answer)
