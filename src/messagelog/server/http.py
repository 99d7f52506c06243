"""How requests are read and answered: tokens first, bodies within a limit, refusals as text that the client shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote_plus

import msgspec
import structlog
from fastapi import Request, Response

from messagelog.messages import BadRequest

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from messagelog.core import User
    from messagelog.server.assembly import Assembly

T = TypeVar("T")

SIGN_IN = "Please go to Settings and authorize CRM platform"

_ENCODER = msgspec.json.Encoder()
_log = structlog.get_logger(__name__)


class Refused(Exception):
    """The request is refused; `text` is what the client shows to the user."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def json_response(value: Any, status: int = 200) -> Response:
    """A value as JSON. A bare text is what the client shows to the user when the status is 4xx or 5xx."""
    return Response(_ENCODER.encode(value), status, media_type="application/json")


def assembly_of(request: Request) -> Assembly:
    """The parts of the server that answers."""
    parts: Assembly = request.app.state.assembly
    return parts


def query_values(request: Request) -> dict[str, str]:
    """The query's values, the first of each name, with a literal `+` kept where a phone number begins.

    The client does not encode the plus of a phone number, which then reads as a blank.
    """
    values: dict[str, str] = {}
    for part in request.scope["query_string"].decode("latin-1").split("&"):
        name, _, value = part.partition("=")
        text = unquote_plus(value, errors="replace")
        values.setdefault(unquote_plus(name), "+" + text[1:] if text[:1] == " " else text)
    return values


async def signed_in(request: Request) -> User:
    """The user whose token came along, as a bearer or in the query. Nothing of a body is read before this."""
    header = request.headers.get("authorization", "")
    scheme, _, bearer = header.partition(" ")
    token = bearer.strip() if scheme.lower() == "bearer" else query_values(request).get("jwtToken", "")
    assembly = assembly_of(request)
    claims = assembly.tokens.read(token) if token else None
    if claims is None:
        raise Refused(400, SIGN_IN)
    if claims.platform not in assembly.parts.connectors:
        raise Refused(400, f"This server has no connector for the platform {claims.platform}.")
    user = await assembly.users.find(claims.tenant, claims.platform, claims.id)
    if user is None:
        raise Refused(400, SIGN_IN)
    return user


async def read_body(request: Request) -> bytes:
    """The request's body, when it is within the limit."""
    limit = assembly_of(request).parts.body_limit
    too_large = Refused(413, f"body: expected at most {limit:,} bytes")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def decoded(body: bytes, type_: type[T]) -> T:
    """A small body as a typed value; `BadRequest` naming the field otherwise, never quoting it."""
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        raise BadRequest(path.strip("`").removeprefix(".") or "body", problem) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("body", "expected JSON") from error


class Guard:
    """The outermost layer: what nobody caught is told of by type and place, never by its text, and answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Any) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            frame = error.__traceback__
            while frame is not None and frame.tb_next is not None:
                frame = frame.tb_next
            place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame is not None else ""
            _log.error("request_failed", path=scope["path"], error=type(error).__name__, place=place)
            if started:
                raise
            answer = json_response("The server could not do this now. What was accepted before is kept.", 500)
            await answer(scope, receive, send)
