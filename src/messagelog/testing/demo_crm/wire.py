"""What goes over the wire: JSON in and out, refusals, and the answer that never comes."""

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
"""The largest file that is kept, in bytes."""

_T = TypeVar("_T")

# nginx's word for a connection closed without an answer; it is seen in an access log only.
_NO_RESPONSE = 444


class RefusedError(Exception):
    """The API answers with an error: `status`, and a JSON object of `error` and what else `details` tells."""

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
    """Answers with `payload` as JSON."""
    return Response(
        msgspec.json.encode(payload), status, headers=dict(headers or {}), media_type="application/json"
    )


async def read_bytes(request: Request, limit: int) -> bytes:
    """Reads the request's body; refuses one of more than `limit` bytes with 413 as soon as that shows."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise RefusedError(413, f"the request's body is longer than {limit} bytes", limit=limit)
    return bytes(body)


async def read_json(request: Request, shape: type[_T]) -> _T:
    """Reads the request's JSON as `shape`: 400 when it is no JSON, 422 naming the field that does not fit."""
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

    ASGI has no message for this. A response's head that no server may send comes closest: uvicorn notes that
    the connection is to be closed, refuses the head (RuntimeError) before it writes, and closes once the body
    follows. A server or a test transport that takes the head gets `ConnectionDroppedError` raised instead.
    Middleware around the app has to pass messages on as they come for this to work; where one holds back the
    head (as gzip does), the client would see a 500.
    """

    def __init__(self) -> None:
        super().__init__(status_code=_NO_RESPONSE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Drops the connection of the request in `scope`."""
        headers = [(b"connection", b"close"), (b"content-length", b"0"), (b"not a name", b"")]
        head = {"type": "http.response.start", "status": _NO_RESPONSE, "headers": headers}
        try:
            await send(head)
        except RuntimeError:
            await send({"type": "http.response.body", "body": b""})
        else:
            # Nothing is refused either when the client is gone already, and then there is nothing left to do.
            if not await Request(scope, receive).is_disconnected():
                raise ConnectionDroppedError("the demo CRM dropped the connection without an answer")
