"""Request ids: each answer carries one as `x-request-id`, and so does each log line that a request leads to.

A proxy's id is kept, so that its lines and ours can be matched. With an access log each answer is a line too, without
the query, which holds the client's token.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Final

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars

if TYPE_CHECKING:
    from starlette.types import Message, Scope, Send

_HEADER: Final = b"x-request-id"
_GIVEN: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_LONGEST_PATH: Final = 200

_log = structlog.get_logger(__name__)


class Exchange:
    """One request and its answer: its id, and the line of the access log."""

    __slots__ = ("_began", "_id", "_scope", "_send", "_status")

    def __init__(self, scope: Scope, send: Send, *, timed: bool) -> None:
        self._scope = scope
        self._send = send
        self._status = 0
        self._began = time.monotonic() if timed else None
        given = next((value for name, value in scope["headers"] if name == _HEADER), b"")
        self._id = given if _GIVEN.fullmatch(given) else os.urandom(12).hex().encode()
        clear_contextvars()  # each request has a task of its own, which begins with its connection's context
        bind_contextvars(request_id=self._id.decode())

    async def send(self, message: Message) -> None:
        """Send a part of the answer, the request's id in its head."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [*message.get("headers", ()), (_HEADER, self._id)]
        await self._send(message)

    def end(self) -> None:
        """Write the line of the access log, where there is one."""
        if self._began is not None:
            path = self._scope["path"][:_LONGEST_PATH]
            ms = round((time.monotonic() - self._began) * 1000, 1)
            _log.info("answered", method=self._scope["method"], path=path, status=self._status, ms=ms)
