import asyncio
import logging
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.types import Message, Scope

from messagelog.testing.demo_crm import ConnectionDroppedError, create_demo_crm, serve_demo_crm

NOTE = b'{"contact_id": "c-1", "subject": "SMS", "body": "Hello"}'
POST = (
    b"POST /demo-crm/api/activities HTTP/1.1\r\nHost: crm\r\nAuthorization: Bearer demo-ada\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(NOTE), NOTE)
)


async def all_that_is_said(url: str, request: bytes) -> bytes:
    """What the server sends in answer to a request until it closes the connection."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(request)
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(("key", "rows"), [("drop_request_rate", 0), ("lose_response_rate", 1)])
async def test_a_dropped_connection_closes_without_a_byte_or_a_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str, rows: int
) -> None:
    async with serve_demo_crm(tmp_path / "crm.db") as server, server.api_client() as ada:
        await ada.chaos(**{key: 1})
        assert await all_that_is_said(server.url, POST) == b""
        await ada.chaos(reset=True)
        assert len((await ada.ask("GET", "/api/activities")).body) == rows
        assert (await all_that_is_said(server.url, POST.replace(b"Host", b"Connection: close\r\nHost")))[
            :12
        ] == (b"HTTP/1.1 201")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_client_that_leaves_amid_its_request_leaves_no_trace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve_demo_crm(tmp_path / "crm.db") as server, server.api_client() as ada:
        address = urlsplit(server.url)
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(POST[:-5])
        await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()
        assert (await ada.ask("GET", "/api/activities")).body == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_in_process_a_dropped_connection_is_raised(tmp_path: Path) -> None:
    app = create_demo_crm(tmp_path / "crm.db")
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def call(method: str, path: str, body: bytes) -> None:
        scope: Scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer demo-ada")],
        }
        messages: asyncio.Queue[Message] = asyncio.Queue()
        messages.put_nowait({"type": "http.request", "body": body})
        await app(scope, messages.get, send)

    await call("POST", "/api/chaos", b'{"lose_response_rate": 1}')
    with pytest.raises(ConnectionDroppedError):
        await call("POST", "/api/activities", NOTE)
    sent.clear()
    await call("GET", "/api/activities/a-1", b"")
    assert sent[0]["status"] == 200
    app.state.store.close()
