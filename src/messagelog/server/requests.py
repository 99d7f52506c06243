"""How requests are read and answered: tokens first, bodies within a limit, refusals as text that the client shows."""

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

RENEWED_TOKEN: Final = "messagelog.renewed"  # noqa: S105 - the name of a place, not a token
"""Where a request's scope holds the token that its answer brings in the header `x-refreshed-jwt-token`."""

HEAD_ONLY: Final = "messagelog.head"
"""Where a request's scope says that only the head of the answer is wanted, by a HEAD: it must use nothing up."""

BODY_COMPLETE: Final = "messagelog.whole"
"""Where a request's `state` says that its body is there to its end: then nobody has to look at the clock for it."""

FORM_BYTES: Final = 100_000
"""What the body of a small form may hold."""

_SHARE_OF_REFRESH: Final = 0.2
"""How much longer than a call an answer may take for a refresh: 12 and 2.4 of the 15 seconds that the client waits."""

_BODY_SECONDS: Final = 60.0
"""How long a body may take to arrive. The client itself waits for 15 seconds."""

_ENCODER = msgspec.json.Encoder()
_MSGSPEC_MESSAGE = re.compile(r"(?P<problem>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")


class HttpRefusal(MessagelogError):
    """The request is refused; `text` is what the client shows to the user. `retry_after` is in seconds."""

    def __init__(self, status: int, text: str, *, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.retry_after = retry_after


class SessionEnded(MessagelogError):
    """The token is ours, and its session has ended: she signed out, or the CRM has taken back what she had granted."""


_ONE_CUSTOMER: Final = 64
"""The bits of an IPv6 address that its owner was given; the others are free to choose."""


def address_of(request: Request) -> str:
    """Whose address asks: of IPv6 the network. Behind a proxy that is not trusted it is the proxy's."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""  # a proxy may say anything; those share one count
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address), _ONE_CUSTOMER), strict=False))
    return str(address)


def json_response(value: Any, status: int = 200) -> Response:
    """A value as JSON. A bare text is what the client shows to the user when the status is 4xx or 5xx."""
    return Response(_ENCODER.encode(value), status, media_type="application/json")


def context_of(request: Request) -> AppContext:
    """The parts of the server that answers."""
    config: AppContext = request.app.state.context
    return config


def query_values(request: Request) -> dict[str, str]:
    """The query's values, the first of each name. A plus reads as a blank, as forms write it."""
    values: dict[str, str] = {}
    for part in request.scope["query_string"].decode("latin-1").split("&"):
        name, _, value = part.partition("=")
        values.setdefault(unquote_plus(name), unquote_plus(value, errors="replace"))
    return values


def bearer_of(request: Request) -> str | None:
    """The bearer's token that came along in the header; None where the header is another's, or none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


async def authenticate(request: Request, *, connected: bool = True) -> User:
    """The user whose token came along, as a bearer or in the query. Nothing of a body is read before this.

    With `connected=False` a user will do whose access the CRM has taken back, for what needs no call to it. A token
    that is about to end is replaced: whatever the answer is, it brings the new one in a header.
    Raises `HttpRefusal` when the user asks too often, or the address brings too many wrong tokens.
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
    """Counts a token or a login of this address that is not known to be good. Raises `HttpRefusal` after too many."""
    refuse_after(context_of(request).guesses.take(address_of(request)))


def forget_guess(request: Request) -> None:
    """What was counted has turned out to be no guess."""
    context_of(request).guesses.give_back(address_of(request))


def refuse_after(seconds: float) -> None:
    """Raises `HttpRefusal` when there are seconds to wait."""
    if seconds:
        wait = math.ceil(seconds)
        raise HttpRefusal(429, f"Too many requests. Please try again in {wait} s.", retry_after=wait)


async def read_body(request: Request, limit: int, *, seconds: float = _BODY_SECONDS) -> bytes:
    """The request's body, when it has no more than `limit` bytes and arrives within this time."""
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
    """A small body as a typed value; `BadRequest` naming the field otherwise, never quoting it."""
    body = await read_body(request, FORM_BYTES)
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as error:
        raise to_bad_request(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("body", "expected JSON") from None


def to_bad_request(message: str) -> BadRequest:
    """What msgspec says of a value, as the path of a field and the problem."""
    match = _MSGSPEC_MESSAGE.fullmatch(message)
    path, problem = (match["path"] or "body", match["problem"]) if match else ("body", message)
    if missing := _MISSING.fullmatch(problem):
        return BadRequest(missing[1] if path == "body" else f"{path}.{missing[1]}", "is missing")
    return BadRequest(path, problem[:1].lower() + problem[1:])


async def session_of(request: Request, connector: Connector, user: User) -> Session:
    """The user's session at her CRM, for a call that `asked` makes. Raises `ConnectorError` when there is none now.

    A refresh of her credentials may be waited for only as long as the client waits besides the call. It goes on by
    itself, and the next request has it.
    """
    context = context_of(request)
    try:
        async with asyncio.timeout(context.config.times.answer * _SHARE_OF_REFRESH):
            return await context.users.session(connector, user.tenant, user.id)
    except TimeoutError as error:
        raise Unavailable("the credentials are still being refreshed") from error


async def call_with_timeout(request: Request, connector: Connector, call: Awaitable[T]) -> T:
    """What the CRM answers within the time that the client waits. Raises `ConnectorError` for everything else."""
    return await deadline.call_with_timeout(connector, call, context_of(request).config.times.answer)
