"""HTTP/1.1 of the load generator and the stub CRM: keep-alive, and bodies of a known length."""

from __future__ import annotations

import re

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"


class NoLength(ValueError):
    """A message whose head does not say how long its body is."""


def take(buffer: bytearray) -> tuple[bytes, bytes] | None:
    """Take the first complete message out of the received bytes: head and body; None while there is none."""
    end = buffer.find(_END_OF_HEAD)
    if end < 0:
        return None
    head = bytes(buffer[:end])
    length = _LENGTH.search(head)
    if length is None and not head.startswith(b"GET "):
        raise NoLength(head[:80].decode("latin-1"))
    start = end + len(_END_OF_HEAD)
    stop = start + (int(length[1]) if length else 0)
    if len(buffer) < stop:
        return None
    body = bytes(buffer[start:stop])
    del buffer[:stop]
    return head, body
