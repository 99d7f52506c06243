"""Limits of the size and time of a request's head, which uvicorn with httptools leaves open.

It also leaves open how long the rest of a body may take after the request was already answered (refused).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from messagelog.server.requests import BODY_COMPLETE

if TYPE_CHECKING:
    import asyncio


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection. It is closed if a head, or an unwanted body, does not arrive completely."""

    head_bytes: ClassVar[int] = 65_536
    """Most bytes of a request's line and headers. The query holds a token, and `/oauth-callback` a URL."""

    head_seconds: ClassVar[float] = 15.0
    """How long they may take; also how long a new connection may be silent, and an unwanted body may go on."""

    _in_head = False
    _in_message = False
    _head_so_far = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the first request."""
        super().connection_made(transport)  # type: ignore[arg-type]  # it is always a Transport
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._cancel_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; the timer goes on until the head is complete."""
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
        """Note that a request begins."""
        super().on_message_begin()
        self._in_head, self._in_message, self._head_so_far = True, True, 0

    def on_headers_complete(self) -> None:
        """Note that the head is complete."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the body is complete."""
        self._in_message = False
        self.scope["state"][BODY_COMPLETE] = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Give the rest of an answered request's body some time, in which it is read and dropped."""
        super().on_response_complete()
        if self._is_unwanted and self._head_timer is None:
            self._start_head_timer()

    @property
    def _is_unwanted(self) -> bool:
        """Whether the data that arrives belongs to a request that is already answered."""
        return self._in_message and not self._in_head and self.cycle.response_complete

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
