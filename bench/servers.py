"""The servers of the comparison: the peer as published, the peer with a fix, and ours."""

from __future__ import annotations

import http.client
import json
import secrets
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.journals import PeerJournal, PostgresJournal, SqliteJournal
from bench.processes import CACHE, ROOT, Child, Failed

if TYPE_CHECKING:
    from contextlib import ExitStack

    from bench.journals import Journal
    from bench.postgres import Postgres

PEER_PACKAGES: Final = ("@app-connect/core@1.7.41", "node-fetch@2")
"""The package, and one that it needs and does not depend on."""

PEER: Final = "peer"
MENDED: Final = "peer, mended"
OURS: Final = "messagelog"
OURS_SQLITE: Final = "messagelog, SQLite"

_INSTALL_SECONDS: Final = 600
_START_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Server:
    """A running server: its URL, the token of its user, and its database."""

    name: str
    child: Child
    port: int
    token: str
    journal: Journal


@dataclass(frozen=True)
class Crm:
    """The running stub CRM."""

    child: Child
    port: int

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"


def call(port: int, method: str, path: str, body: Any = None) -> Any:
    """Send a request to a process on this machine, and return the JSON of its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def install_peer() -> Path:
    """Return the folder of the peer's packages; install missing ones with npm. Raises `Failed` if that fails."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Failed("There is no Node here (node and npm are needed).")
    folder = CACHE / "peer"
    done = folder / "installed"
    wanted = " ".join(PEER_PACKAGES)
    if done.exists() and done.read_text() == wanted:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}')
    command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", *PEER_PACKAGES]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=_INSTALL_SECONDS)  # noqa: S603 - our own command
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        output = (error.stderr or b"").decode(errors="replace")[-500:]
        raise Failed(f"npm could not install {wanted}.\n{output}") from error
    done.write_text(wanted)
    return folder


def start_crm(stack: ExitStack) -> Crm:
    """Start the stub CRM."""
    child = _start(stack, "crm", [sys.executable, "-m", "bench.crm"], {})
    return Crm(child, child.json_line(_START_SECONDS)["port"])


def start_load(stack: ExitStack) -> Child:
    """Start the load generator."""
    return _start(stack, "load", [sys.executable, "-m", "bench.load"], {})


def start_peer(stack: ExitStack, folder: Path, crm: Crm, postgres: Postgres, *, mended: bool) -> Server:
    """Start the peer, as published or with its token check fixed."""
    name = MENDED if mended else PEER
    env = {
        "NODE_ENV": "production",
        "NODE_PATH": str(folder / "node_modules"),
        "TZ": "UTC",
        "DATABASE_URL": postgres.node_url("peer"),
        "BENCH_CRM_URL": crm.url,
        "BENCH_MENDED": "1" if mended else "0",
    }
    node = shutil.which("node") or "node"
    child = _start(stack, name.replace(", ", "-"), [node, str(ROOT / "bench" / "peer_server.js")], env)
    while "port" not in (json_line := child.json_line(_START_SECONDS)):
        pass  # lines of its log
    return Server(name, child, json_line["port"], json_line["token"], PeerJournal(postgres))


def start_ours(stack: ExitStack, name: str, crm: Crm, journal: PostgresJournal | SqliteJournal,
               *, profile: Path | None = None) -> Server:  # fmt: skip
    """Start our server as it is shipped; with `profile` signals make it sample itself into that file."""
    env = {
        "PYTHONPATH": str(ROOT),
        "MESSAGELOG_DATABASE_URL": journal.url,
        "MESSAGELOG_SECRET_KEY": secrets.token_hex(32),
        "MESSAGELOG_PUBLIC_URL": "http://127.0.0.1:8787",
        "MESSAGELOG_CONNECTORS": "bench.connector:BenchConnector",
        "MESSAGELOG_PORT": "0",
        "MESSAGELOG_PRIVATE_HOSTS": "127.0.0.1",
        "BENCH_CRM_URL": crm.url,
    }
    command = [str(Path(sysconfig.get_path("scripts")) / "messagelog")]
    _start(stack, "migrate", [*command, "migrate"], env).line(_START_SECONDS)
    if profile is not None:
        command = [sys.executable, "-m", "bench.sampler", str(profile)]
    child = _start(stack, name.replace(", ", "-"), [*command, "serve"], env)
    port = int(child.line(_START_SECONDS).rpartition(":")[2])
    login = {"apiKey": "bench-key", "platform": "bench", "hostname": "localhost"}
    return Server(name, child, port, call(port, "POST", "/apiKeyLogin", login)["jwtToken"], journal)


def _start(stack: ExitStack, name: str, command: list[str], env: dict[str, str]) -> Child:
    child = Child(name, command, env)
    stack.callback(child.end)
    return child
