"""`messagelog demo`: the server, a CRM of its own over real HTTP, and users who are signed in already."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shlex
import shutil
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from messagelog.connectors import ConnectorError, Credentials
from messagelog.connectors.demo import DemoConnector
from messagelog.errors import MessagelogError
from messagelog.server import create_app
from messagelog.server.asgi.uvicorn_server import UvicornServer, bind_socket, run, url_host
from messagelog.server.context import ServerConfig
from messagelog.storage import KeysLocked, Sealer, open_store, with_stored_keys
from messagelog.storage.database import migrate, serve_alone
from messagelog.storage.sqlite.file import PRIVATE_FOLDER, make_private, make_private_folder
from messagelog.testing.demo_crm import API_KEYS, create_demo_crm

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from messagelog.server import AppContext

_MOUNT: Final = "/demo-crm"
_KEY_FILE: Final = "secret-key"


class UnusableFolder(MessagelogError):
    """The demo's data cannot be kept in this folder; the text says why."""


def serve_demo(host: str, port: int, data: Path) -> None:
    """Serve the demo until it is stopped; its data stays in `data`.

    Raises `UnusableFolder`, `CannotListen`, and `UnusableFile` while another demo serves from this folder.
    """
    _make_folder(data)
    database_url = f"sqlite:///{data / 'messagelog.sqlite'}"
    with serve_alone(database_url):
        migrate(database_url)
        secret = _load_or_create_secret(data / _KEY_FILE)
        asyncio.run(_check_secret(database_url, secret, data))
        listener = bind_socket(host, port)
        url = _url(host, listener)
        connector = DemoConnector(f"{url}{_MOUNT}/api")
        connector_host = urlsplit(url).hostname or ""
        config = ServerConfig(
            database_url=database_url,
            secret_key=secret,
            connectors={connector.name: connector},
            public_url=url,
            private_hosts=frozenset({connector_host}),
        )
        crm = create_demo_crm(data / "demo-crm.sqlite")
        app = create_app(config, mounts={_MOUNT: crm}, start_at_once=False)

        async def welcome() -> None:
            tokens = await _session_tokens(app.state.context, connector)
            print(_welcome(url, data, tokens), flush=True)  # noqa: T201 - the command's output

        run(UvicornServer(app, welcome), listener)


def serve_demo_crm(host: str, port: int, data: Path) -> None:
    """Serve the demo CRM alone at `/demo-crm`, until it is stopped. Raises `UnusableFolder` and `CannotListen`."""
    _make_folder(data)
    listener = bind_socket(host, port)
    crm = create_demo_crm(data / "demo-crm.sqlite")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with crm.router.lifespan_context(crm):
            yield

    app = Starlette(routes=[Mount(_MOUNT, crm)], lifespan=lifespan)
    url = f"{_url(host, listener)}{_MOUNT}/api"
    print(f"the demo CRM answers at {url} (keys: {', '.join(API_KEYS)})", flush=True)  # noqa: T201 - the output
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5)
    run(uvicorn.Server(config), listener)


def _make_folder(data: Path) -> None:
    try:
        make_private_folder(data)
        if (data / _KEY_FILE).exists():
            data.chmod(PRIVATE_FOLDER)  # an earlier version may have made it
    except OSError as error:
        raise UnusableFolder(f"The folder {data} cannot be made: {error.strerror}.") from error


async def _check_secret(database_url: str, secret: str, data: Path) -> None:
    store = await open_store(database_url)
    try:
        await with_stored_keys(store, Sealer(secret))
    except KeysLocked as error:
        raise UnusableFolder(f"The file secret-key in {data} is not the one of its database.") from error
    finally:
        await store.close()


def _url(host: str, listener: socket.socket) -> str:
    """Return the URL at which this machine reaches a server that listens at `host`."""
    reachable = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound here
    return f"http://{url_host(reachable)}:{listener.getsockname()[1]}"


def _load_or_create_secret(path: Path) -> str:
    """Return the demo's own secret key, which is made at the first start and readable by its owner only."""
    if not path.exists():
        made = path.with_suffix(".new")
        made.unlink(missing_ok=True)  # left by a start that was cut short
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        made.replace(path)
    make_private(path)
    return path.read_text().strip()


async def _session_tokens(context: AppContext, connector: DemoConnector) -> dict[str, str]:
    """Return what to show for each of the demo's users: the session token, or why there is none.

    Users who signed in at an earlier start do not sign in again: the CRM may have been set to fail.
    """
    shown = {}
    for key, person in API_KEYS.items():
        user = await context.users.find(person.tenant, connector.name, person.id)
        try:
            if user is None or not user.connected:
                user = await context.users.sign_in(connector, Credentials(api_key=key), "localhost")
            shown_value = context.tokens.issue(user)
        except ConnectorError as error:
            shown_value = f"not signed in: {error.meaning}"
        shown[f"{person.name} (tenant {person.tenant}, key {key})"] = shown_value
    return shown


def _welcome(url: str, data: Path, tokens: dict[str, str]) -> str:
    key, token = next(iter(API_KEYS)), next(iter(tokens.values()))
    folder = shlex.quote(str(data))
    return f"""\
messagelog demo: {url}   (data in {folder}, stop with Ctrl-C)

Log a message:
  curl -s {url}/messageLog -H 'Authorization: Bearer {token}' -d {shlex.quote(json.dumps(_EXAMPLE))}

See the activity in the demo CRM:
  curl -s {url}{_MOUNT}/api/activities -H 'Authorization: Bearer {key}'

See what messagelog knows of it:
  {command_name(sys.argv[0])} logs --data {folder}

Make the demo CRM lose every answer, and have it behave again:
  curl -s {url}{_MOUNT}/api/chaos -H 'Authorization: Bearer {key}' -d '{{"lose_response_rate": 1}}'
  curl -s {url}{_MOUNT}/api/chaos -H 'Authorization: Bearer {key}' -d '{{"reset": true}}'

Session tokens of the demo's users:
""" + "\n".join(f"  {name}: {shown_value}" for name, shown_value in tokens.items())


def command_name(started: str, path: str | None = None) -> str:
    """Return how to start a command again in a shell: by its name if `path` leads to it, else as it was started.

    `path` is the environment's unless it is given.
    """
    if Path(started).name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m messagelog"
    found = shutil.which(Path(started).name, path=path)
    if found is not None and Path(started).exists() and Path(found).samefile(started):
        return Path(started).name
    return shlex.quote(started)


_EXAMPLE: Final[dict[str, Any]] = {
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
