"""The proxies of `docs/how-to/deploy.md`, as they stand there.

They load, keep inside what belongs inside, and log no query.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import socket
import ssl
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from yarl import URL

from messagelog.server.openapi.pages import documentation_pages
from support.certificates import self_signed
from support.live_server import SQLITE_ONLY, live_server
from support.requests import body, message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGE: Final = Path(__file__).parents[2] / "docs" / "how-to" / "deploy.md"
SECRET: Final = "swordfish-1234"
_SECONDS = 20.0

MAIN: Final = """
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 64; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/messagelog.conf;
}}
"""
"""What Debian's own file says, as far as it matters, with everything that is written in a folder of the test's."""


def example(language: str) -> str:
    """The page's block in this language."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def replace_all(text: str, *pairs: tuple[str, str]) -> str:
    """The text with what is the example's own replaced: hosts, ports, files. All of it has to be there."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def logs_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*.log")}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def nginx(folder: Path, port: int, upstream: int) -> list[str]:
    """The command that runs the page's nginx in a folder."""
    folder.mkdir(exist_ok=True)
    certificate = self_signed(folder, "log.example.com")
    text = replace_all(
        example("nginx"),
        ("    listen [::]:443 ssl http2;\n", ""),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/log.example.com.pem", str(certificate)),
        ("/etc/ssl/private/log.example.com.key", str(certificate)),
        ("/var/log/nginx/messagelog.log", str(folder / "messagelog.log")),
        ("127.0.0.1:8787", f"127.0.0.1:{upstream}"),
    )
    (folder / "messagelog.conf").write_text(text)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]


def caddy(folder: Path, port: int, upstream: int) -> list[str]:
    """The command that runs the page's Caddy in a folder."""
    folder.mkdir(exist_ok=True)
    certificate = self_signed(folder, "log.example.com")
    text = replace_all(
        example("caddyfile"),
        ("{\n\tlog {", "{\n\tadmin off\n\tlog {"),
        (
            "log.example.com {",
            f"https://log.example.com:{port} {{\n\tbind 127.0.0.1\n\ttls {certificate} {certificate}",
        ),
        ("127.0.0.1:8787", f"127.0.0.1:{upstream}"),
    )
    (folder / "Caddyfile").write_text(text)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


PROXIES: Final = {"nginx": nginx, "caddy": caddy}

each_proxy = pytest.mark.parametrize(
    "proxy",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                shutil.which(name) is None,
                reason=f"THE EXAMPLE FOR {name} IS NOT TRIED: it is not there (as root: apt-get install -y {name})",
            ),
        )
        for name in PROXIES
    ],
)


class Outside:
    """A client behind the proxy."""

    def __init__(self, port: int, session: aiohttp.ClientSession, context: ssl.SSLContext) -> None:
        self._port, self._session, self._context = port, session, context

    async def ask(self, method: str, path: str, **more: Any) -> aiohttp.ClientResponse:
        """The answer, read; the path goes over the wire as it stands here."""
        url = URL(f"https://127.0.0.1:{self._port}{path}", encoded=True)
        headers = {"Host": f"log.example.com:{self._port}", **more.pop("headers", {})}
        async with self._session.request(
            method, url, ssl=self._context, server_hostname="log.example.com", headers=headers, **more
        ) as answer:
            await answer.read()
            return answer


@asynccontextmanager
async def through(name: str, folder: Path, upstream: int) -> AsyncIterator[Outside]:
    """The page's proxy in front of a port, until it is asked no more. It is ended by its id."""
    port = free_port()
    command = PROXIES[name](folder, port, upstream)
    with (folder / "stderr.log").open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=err,
            stderr=err,
            env={**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
        )
    context = ssl.create_default_context(cafile=str(folder / "self-log.example.com.pem"))
    try:
        await _listening(process, port, folder)
        async with aiohttp.ClientSession() as session:
            yield Outside(port, session, context)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listening(process: asyncio.subprocess.Process, port: int, folder: Path) -> None:
    async with asyncio.timeout(_SECONDS):
        while True:
            assert process.returncode is None, (folder / "stderr.log").read_text()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)  # neither of them says when it listens
                continue
            writer.close()
            return


# ---------------------------------------------------------------------------------------------- tests


@pytest.mark.skipif(
    shutil.which("nginx") is None,
    reason="THE EXAMPLE FOR nginx IS NOT TRIED: (as root: apt-get install -y nginx)",
)
async def test_debians_nginx_loads_the_example(tmp_path: Path) -> None:
    *command, _, _ = nginx(tmp_path, free_port(), free_port())
    process = await asyncio.create_subprocess_exec(
        *command, "-t", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()
    assert b"[emerg]" not in told
    assert b"test is successful" in told


INSIDE: Final = (
    "/metrics",
    "/metrics?jwtToken=x",
    "/metrics/",
    "//metrics",
    "/./metrics",
    "/isAlive/../metrics",
    "/%6detrics",
    "/openapi.json",
    *documentation_pages(),
    "/docs/",
    "/operators",
    "/operators/",
    "/operators%2fsession",
    "/operators/%73ession",
    "//operators//session",
    "/x/../operators/me",
)


@each_proxy
@SQLITE_ONLY
async def test_the_client_gets_through_and_what_is_the_operators_stays_inside(
    database_url: str, tmp_path: Path, proxy: str
) -> None:
    async with live_server(database_url, tmp_path) as here:
        upstream = int(here.url.rpartition(":")[2])
        async with through(proxy, tmp_path / proxy, upstream) as outside:
            token = await here.token()
            assert (await outside.ask("GET", "/isAlive")).status == 200
            logged = await outside.ask("POST", f"/messageLog?jwtToken={token}", json=body(message(1)))
            assert (logged.status, (await logged.json())["logIds"]) == (200, ["1"])
            assert (await outside.ask("GET", f"/user/settings?jwtToken={token}")).status == 200
            preflight = await outside.ask(
                "OPTIONS",
                "/messageLog",
                headers={"Origin": "https://page.example", "Access-Control-Request-Method": "POST"},
            )
            assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (200, "*")

            found = [route.path for route in here.app.routes if hasattr(route, "path")]
            operators = [path for path in found if path.startswith("/operators")]
            assert len(operators) > 10
            for path in (*INSIDE, *operators):
                for method in ("GET", "POST", "DELETE", "HEAD"):
                    reply = await outside.ask(method, path, headers={"Authorization": "Bearer x"})
                    assert reply.status == 404, f"{method} {path}"
                    assert "json" not in reply.headers.get("Content-Type", ""), (
                        f"{method} {path} came from the server"
                    )
            assert (await here.ask("GET", "/metrics")).status == 200, "it is there for those inside"


@each_proxy
@SQLITE_ONLY
async def test_no_query_is_in_any_log_whatever_went_wrong(
    database_url: str, tmp_path: Path, proxy: str
) -> None:
    """A query holds a session. Here it is that of a good answer, of refusals, of a server that is gone, of nonsense."""
    query = f"jwtToken={SECRET}&code={SECRET}"
    referring = {"Referer": f"https://log.example.com/x?{query}", "Authorization": f"Bearer {SECRET}"}
    folder = tmp_path / proxy
    async with live_server(database_url, tmp_path) as here:
        upstream = int(here.url.rpartition(":")[2])
        async with through(proxy, folder, upstream) as outside:
            assert (await outside.ask("GET", f"/isAlive?{query}", headers=referring)).status == 200
            assert (await outside.ask("GET", f"/user/settings?{query}")).status == 400
            assert (await outside.ask("GET", f"/nothing?{query}")).status == 404
            assert (await outside.ask("GET", f"/metrics?{query}")).status == 404
            large = await outside.ask("POST", f"/messageLog?{query}", data=io.BytesIO(b"x" * 10_500_000))
            assert large.status in {400, 413}
            assert (await outside.ask("GET", f"/isAlive?{query}&x={'y' * 20_000}")).status in {200, 400, 414}
    async with through(proxy, tmp_path / "gone", free_port()) as outside:
        assert (
            await outside.ask("POST", f"/messageLog?{query}", headers=referring, data=b"{}")
        ).status == 502
    told = logs_below(tmp_path)
    assert [path for path, text in told.items() if SECRET.encode() in text] == []
    written = b"".join(told.values())
    assert b"/isAlive" in written, "requests are logged"
