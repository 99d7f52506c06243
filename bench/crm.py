"""The stub CRM: a process of its own that makes activities at once, and records the messages in each.

    GET   /me                the owner of the API key
    POST  /activities        makes an activity: 201 {"id"}
    PATCH /activities/ID     adds to it: 200 {"id"}
    GET   /activities/ID     its text: {"id", "body"}
    GET   /seen              {"activities": {ID: [number, ...]}, "created", "updated", "unknown"}
    POST  /forget            empties it

A message is recognised by the number in its text (`ref-…`), so the record shows what was really written.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any, Final, cast

import uvloop

from bench.wire import take

_REFERENCE: Final = re.compile(rb"ref-(\d{13})")
_REASONS: Final = {200: b"OK", 201: b"Created", 404: b"Not Found"}
_ME: Final = {"id": "u-1", "name": "Jordan Lee", "tenant": "bench", "timezone": "America/Los_Angeles"}


class CrmRecord:
    """The contents of the CRM. `unknown` counts additions to activities that do not exist."""

    def __init__(self) -> None:
        self.activities: dict[str, list[int]] = {}
        self.texts: dict[str, list[bytes]] = {}
        self.created = self.updated = self.unknown = 0

    def create(self, body: bytes) -> bytes:
        """Make an activity, and return the answer."""
        self.created += 1
        id_ = str(len(self.activities) + 1)
        self.activities[id_] = _numbers(body)
        self.texts[id_] = [body]
        return _answer(201, b'{"id":"%s"}' % id_.encode())

    def update(self, id_: str, body: bytes) -> bytes:
        """Add to an activity, and return the answer. Activities that were filled in (`old-…`) exist, and are empty."""
        if id_.startswith("old-"):
            self.activities.setdefault(id_, [])
        activity = self.activities.get(id_)
        if activity is None:
            self.unknown += 1
            return _answer(404, b'{"error":"no such activity"}')
        self.updated += 1
        activity += _numbers(body)
        self.texts.setdefault(id_, []).append(body)
        return _answer(200, b'{"id":"%s"}' % id_.encode())

    def read(self, id_: str) -> bytes:
        """Return the answer with an activity's text."""
        if id_ not in self.texts:
            return _answer(404, b'{"error":"no such activity"}')
        written = [json.loads(each) for each in self.texts[id_]]
        body = "\n".join(each.get("body") or each.get("append") or "" for each in written)
        return _answer(200, json.dumps({"id": id_, "body": body}).encode())

    def to_json(self) -> dict[str, Any]:
        """Return the contents as JSON."""
        return {
            "activities": self.activities,
            "created": self.created,
            "updated": self.updated,
            "unknown": self.unknown,
        }


class Connection(asyncio.Protocol):
    """One connection of a server, or of the benchmark itself."""

    record = CrmRecord()

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for answers."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every complete request at once."""
        self._buffer += data
        while (message := take(self._buffer)) is not None and self._transport is not None:
            self._transport.write(self._handle(*message))

    def _handle(self, head: bytes, body: bytes) -> bytes:
        method, path, _ = head.split(b" ", 2)
        match method, path:
            case b"POST", b"/activities":
                return self.record.create(body)
            case b"PATCH", _ if path.startswith(b"/activities/"):
                return self.record.update(path.removeprefix(b"/activities/").decode(), body)
            case b"GET", _:
                return self._read(path)
            case b"POST", b"/forget":
                Connection.record = CrmRecord()
                return _answer(200, b"{}")
        return _answer(404, b"{}")

    def _read(self, path: bytes) -> bytes:
        if path == b"/me":
            return _answer(200, json.dumps(_ME).encode())
        if path == b"/seen":
            return _answer(200, json.dumps(self.record.to_json()).encode())
        return self.record.read(path.removeprefix(b"/activities/").decode())


def _numbers(body: bytes) -> list[int]:
    return [int(number) for number in _REFERENCE.findall(body)]


def _answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        _REASONS[status],
        len(body),
        body,
    )


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
