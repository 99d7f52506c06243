"""`messagelog demo`: the server, a CRM of its own over real HTTP, and users who are signed in already."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import uvicorn

from messagelog.connectors import Credentials
from messagelog.connectors.demo import DemoConnector
from messagelog.server import create_app
from messagelog.server.assembly import Parts
from messagelog.server.serving import Serving, bound_socket, run
from messagelog.storage.opening import migrate
from messagelog.testing.demo_crm import API_KEYS, create_demo_crm

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI

_MOUNT = "/demo-crm"
_TIMES_TRIED = 50


def serve_demo(host: str, port: int, data: Path) -> None:
    """Serves the demo until it is stopped; its data stays in the folder `data`."""
    data.mkdir(parents=True, exist_ok=True)
    database_url = f"sqlite:///{data / 'messagelog.sqlite'}"
    migrate(database_url)
    listener = _listening(host, port)
    url = f"http://{_reachable(host)}:{listener.getsockname()[1]}"
    connector = DemoConnector(f"{url}{_MOUNT}/api")
    crm = create_demo_crm(data / "demo-crm.sqlite")
    parts = Parts(
        database_url=database_url,
        secret_key=_kept_secret(data / "secret-key"),
        connectors={connector.name: connector},
        public_url=url,
    )
    app = create_app(parts, mounts={_MOUNT: crm}, start_at_once=False)

    async def ready() -> None:
        _print_welcome(url, data, await _signed_in(app, connector))

    run(Serving(app, ready), listener)


def serve_demo_crm(host: str, port: int, data: Path) -> None:
    """Serves the demo CRM alone at `/demo-crm`, until it is stopped."""
    from starlette.applications import Starlette  # noqa: PLC0415 - only this command mounts it alone
    from starlette.routing import Mount  # noqa: PLC0415 - as above

    data.mkdir(parents=True, exist_ok=True)
    listener = _listening(host, port)
    app = Starlette(routes=[Mount(_MOUNT, create_demo_crm(data / "demo-crm.sqlite"))])
    url = f"http://{_reachable(host)}:{listener.getsockname()[1]}{_MOUNT}/api"
    print(f"the demo CRM answers at {url} (keys: {', '.join(API_KEYS)})", flush=True)  # noqa: T201 - the command's output
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


def _listening(host: str, port: int) -> socket.socket:
    try:
        return bound_socket(host, port)
    except OSError as error:
        _refuse(f"Cannot listen at {host}:{port}: {error.strerror}. Choose another port with --port.")


def _reachable(host: str) -> str:
    """The address at which this machine reaches a server that listens at `host`."""
    if host in {"0.0.0.0", "", "::"}:  # noqa: S104 - recognised, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _kept_secret(path: Path) -> str:
    """The demo's own secret key: made at the first start, readable by its owner only."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass  # made at an earlier start: kept, so that what was sealed then can be opened
    return path.read_text().strip()


async def _signed_in(app: FastAPI, connector: DemoConnector) -> dict[str, str]:
    """A session token for each of the demo's users, who sign in with their API keys."""
    assembly = app.state.assembly
    tokens = {}
    for key in API_KEYS:
        user = await assembly.users.sign_in(connector, Credentials(api_key=key), "localhost")
        tokens[f"{user.name} (tenant {user.tenant}, key {key})"] = assembly.tokens.issue(user)
    return tokens


def _print_welcome(url: str, data: Path, tokens: dict[str, str]) -> None:
    token = next(iter(tokens.values()))
    body = json.dumps(_EXAMPLE)
    lines = [
        f"messagelog demo: {url}   (data in {data}, stop with Ctrl-C)",
        "",
        "Log a message:",
        f"  curl -s '{url}/messageLog?jwtToken={token}' -H 'Content-Type: application/json' -d '{body}'",
        "",
        "See the activity in the demo CRM:",
        f"  curl -s {url}{_MOUNT}/api/activities -H 'Authorization: Bearer {next(iter(API_KEYS))}'",
        "",
        "See what messagelog knows of it:",
        f"  messagelog logs --data {data}",
        "",
        "Session tokens of the demo's users:",
        *(f"  {name}: {token}" for name, token in tokens.items()),
    ]
    print("\n".join(lines), flush=True)  # noqa: T201 - the command's output


_EXAMPLE = {
    "logInfo": {
        "conversationLogId": "8031152018338945839/7/13/2026",
        "conversationId": "8031152018338945839",
        "messages": [
            {
                "id": 6424569001,
                "type": "SMS",
                "direction": "Inbound",
                "creationTime": 1783998000000,
                "subject": "Can you send the renewal options?",
                "from": {"phoneNumber": "+14155550142", "name": "Maya Patel"},
                "to": [{"phoneNumber": "+14155550101", "name": "Jordan Lee"}],
            }
        ],
        "self": {"phoneNumber": "+14155550101", "name": "Jordan Lee"},
        "correspondents": [{"phoneNumber": "+14155550142", "name": "Maya Patel"}],
    },
    "contactId": "c-1",
    "contactName": "Maya Patel",
    "contactType": "contact",
}


def _refuse(sentence: str) -> NoReturn:
    print(sentence, file=sys.stderr)  # noqa: T201 - the command's answer
    raise SystemExit(2)
