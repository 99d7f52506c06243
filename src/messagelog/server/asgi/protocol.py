"""The head of a request: how long it may be, and how long it may take. uvicorn with httptools leaves both open.

So it does with a body that nobody waits for any more, since the request was answered (refused) before its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from messagelog.server.requests import BODY_COMPLETE

if TYPE_CHECKING:
    import asyncio


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection. It is closed when a head, or an unwanted body, does not come to its end."""

    head_bytes: ClassVar[int] = 65_536
    """How long a request's line and headers may be. The query holds a token, and `/oauth-callback` a URL."""

    head_seconds: ClassVar[float] = 15.0
    """How long they may take, how long a new connection may say nothing, and the rest of a body that is not read."""

    _in_head = False
    _in_message = False
    _head_so_far = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins to wait for the first request."""
        super().connection_made(transport)  # type: ignore[arg-type]  # it is always a Transport
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no longer."""
        self._cancel_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads on; after that the head is whole, or the patience goes on."""
        super().data_received(data)
        if not self._in_head:
            if not self._is_unwanted and self._head_timer is not None:
                self._cancel_head_timer()
            return
        self._head_so_far += len(data)
        if self._head_so_far > self.head_bytes:
            self.transport.close()
        elif self._head_timer is None:
            self._start_head_timer()

    def on_message_begin(self) -> None:
        """The parser says that a request begins."""
        super().on_message_begin()
        self._in_head, self._in_message, self._head_so_far = True, True, 0

    def on_headers_complete(self) -> None:
        """The parser says that the head is whole."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The parser says that the body is whole."""
        self._in_message = False
        self.scope["state"][BODY_COMPLETE] = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is out: what is left of its request's body is read and dropped, for a while."""
        super().on_response_complete()
        if self._is_unwanted and self._head_timer is None:
            self._start_head_timer()

    @property
    def _is_unwanted(self) -> bool:
        """Whether what comes belongs to a request that is answered already."""
        return self._in_message and not self._in_head and self.cycle.response_complete

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
