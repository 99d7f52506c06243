"""The HTTP of the demo CRM: JSON in and out, refusals, and connections that close without an answer."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

JsonObject = dict[str, Any]

JSON_LIMIT = 4 * 1024 * 1024
"""The longest JSON body that is read, in bytes."""

FILE_LIMIT = 32 * 1024 * 1024
"""The largest file that is stored, in bytes."""

_T = TypeVar("_T")

# nginx's status of a connection closed without an answer; it is only seen in an access log.
_NO_RESPONSE = 444


class RefusedError(Exception):
    """The API answers with an error: `status`, and a JSON object of `error` and the fields of `details`."""

    def __init__(
        self, status: int, error: str, *, headers: Mapping[str, str] | None = None, **details: object
    ) -> None:
        super().__init__(error)
        self.status = status
        self.headers = headers
        self.payload: JsonObject = {"error": error, **details}


class ConnectionDroppedError(ConnectionResetError):
    """Raised to an in-process caller instead of an answer: there is no connection that could be closed."""


def json_answer(payload: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with `payload` as JSON."""
    return Response(
        msgspec.json.encode(payload), status, headers=dict(headers or {}), media_type="application/json"
    )


async def read_bytes(request: Request, limit: int) -> bytes:
    """Read the request's body; refuse one of more than `limit` bytes with 413 as soon as that is known."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise RefusedError(413, f"the request's body is longer than {limit} bytes", limit=limit)
    return bytes(body)


async def read_json(request: Request, shape: type[_T]) -> _T:
    """Read the request's JSON as `shape`; refuse bad JSON with 400, and an invalid field with 422 and its name."""
    body = await read_bytes(request, JSON_LIMIT)
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise RefusedError(422, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(400, f"the request's body is not JSON: {error}") from error
    except RecursionError as error:
        raise RefusedError(400, "the request's JSON is nested too deeply") from error


class DroppedConnection(Response):
    """No answer at all: the server closes the connection before a byte of a response was written.

    ASGI has no message for this. A response's head that no server may send is the nearest to it: uvicorn marks the
    connection to be closed, refuses the head (RuntimeError) before it writes, and closes once the body follows. If a
    server or a test transport accepts the head, `ConnectionDroppedError` is raised instead. Middleware around the app
    must pass messages on as they come; with one that holds back the head (as gzip does), the client gets a 500.
    """

    def __init__(self) -> None:
        super().__init__(status_code=_NO_RESPONSE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Drop the connection of the request in `scope`."""
        headers = [(b"connection", b"close"), (b"content-length", b"0"), (b"not a name", b"")]
        head = {"type": "http.response.start", "status": _NO_RESPONSE, "headers": headers}
        try:
            await send(head)
        except RuntimeError:
            await send({"type": "http.response.body", "body": b""})
        else:
            # The head is also accepted when the client is gone already; then there is nothing left to do.
            if not await Request(scope, receive).is_disconnected():
                raise ConnectionDroppedError("the demo CRM dropped the connection without an answer")
