"""Servers and CRMs as processes of their own, to be killed; the client that speaks to them; what their journal says."""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import signal
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import aiohttp
import psycopg
import sqlalchemy as sa

from messagelog.storage.database import migrate
from messagelog.storage.migrate import alchemy_url
from messagelog.storage.schema import conversation_logs, message_logs, paces
from support.cli_process import running
from support.live_server import CLIENT_HEADERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from support.cli_process import RunningCommand

SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
PATIENCE = 40.0
_UNEXPECTED = re.compile(
    r"Traceback|crashed|work_failed|accept_failed|sweep_failed|connector_failed|request_failed|Warning"
)
OF_AN_OUTAGE = re.compile(r"work_failed|accept_failed|sweep_failed")
"""What a server may say while its database is away."""


@dataclass(frozen=True)
class Times:
    """How long a server's things take, in seconds. The demo's connector adds two to the lease."""

    call: float = 1.0
    lease: float = 2.5
    sweep: float = 0.1
    answer: float = 12.0


class ProcessGroup:
    """Runs processes with their output in a folder's files. Whatever still runs in the end is killed, by its id."""

    def __init__(self, folder: Path, *, outages: bool = False) -> None:
        self._folder = folder
        self._outages = outages
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if kind is None:
            assert self.complaints() == []

    def complaints(self) -> list[str]:
        """What the processes said that none of them should have to say."""
        said = itertools.chain.from_iterable(
            file.read_text().splitlines() for file in self._folder.glob("*.err")
        )
        return [
            line
            for line in said
            if _UNEXPECTED.search(line) and not (self._outages and OF_AN_OUTAGE.search(line))
        ]

    async def crm(self, name: str = "crm", *, port: int = 0) -> Crm:
        """A demo CRM whose data is in the folder `name`, once it listens."""
        process = self.run("demo-crm", "--port", str(port), "--data", str(self._folder / name))
        (url,) = re.findall(r"answers at (\S+) ", await process.wait_for_output("(keys:"))
        return Crm(process, url)

    async def server(self, database_url: str, crm_url: str, times: Times, **more: str) -> Server:
        """A server on a database and a CRM, with more settings by their names, once it listens."""
        env = {
            "MESSAGELOG_DATABASE_URL": database_url,
            "MESSAGELOG_SECRET_KEY": SECRET,
            "MESSAGELOG_PUBLIC_URL": "https://log.example.com",
            "MESSAGELOG_CONNECTORS": "demo",
            "MESSAGELOG_DEMO_CRM_URL": crm_url,
            "MESSAGELOG_PORT": "0",
            "MESSAGELOG_CALL_SECONDS": str(times.call),
            "MESSAGELOG_LEASE_SECONDS": str(times.lease),
            "MESSAGELOG_SWEEP_SECONDS": str(times.sweep),
            "MESSAGELOG_ANSWER_SECONDS": str(times.answer),
            **more,
        }
        process = self.run("serve", env=env)
        (address,) = re.findall(r"serves \S+ at (\S+)\n", await process.wait_for_output("\n"))
        return Server(process, f"http://{address}")

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> RunningCommand:
        """A command of `messagelog` in the background, which sees no settings but these."""
        return self._stack.enter_context(running(self._folder, *arguments, env=env))


@dataclass(frozen=True)
class Crm:
    """A demo CRM in a process, and its API at `url`."""

    process: RunningCommand
    url: str

    @property
    def port(self) -> int:
        """The port that it listens at."""
        port = urlsplit(self.url).port
        assert port is not None
        return port

    async def kill(self) -> None:
        """kill -9."""
        await self.process.end(signal.SIGKILL)

    async def chaos(self, key: str, **changes: Any) -> None:
        """Changes the switch of the key's tenant; without changes its CRM behaves again."""
        await self._call("POST", "/chaos", key, changes or {"reset": True})

    async def activities(self, key: str) -> list[dict[str, Any]]:
        """All activities of the key's tenant, oldest first."""
        found: list[dict[str, Any]] = await self._call("GET", "/activities", key, None)
        return found

    async def contacts(self, key: str, name: str) -> list[dict[str, Any]]:
        """The contacts of the key's tenant with a part of a name."""
        found: list[dict[str, Any]] = await self._call("GET", f"/contacts?name={name}", key, None)
        return found

    async def count(self, key: str, what: str) -> int:
        """How often something was done for the key's tenant: `creates`, `updates`, ..."""
        return int((await self._call("GET", "/stats", key, None))[what])

    async def _call(self, method: str, path: str, key: str, body: Any) -> Any:
        headers = {"authorization": f"Bearer {key}"}
        async with aiohttp.request(method, f"{self.url}{path}", json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


@dataclass(frozen=True)
class Server:
    """A server in a process. Session tokens outlive it: they are good for every server of its database."""

    process: RunningCommand
    url: str

    async def kill(self) -> None:
        """kill -9."""
        await self.process.end(signal.SIGKILL)

    async def sign_in(self, key: str, platform: str = "demo") -> str:
        """A session token, from a login with a key of the CRM."""
        form = {
            "apiKey": key,
            "platform": platform,
            "hostname": "crm.test",
            "additionalInfo": {"apiKey": key},
        }
        token: str = (await self._post("/apiKeyLogin", form, {}))["jwtToken"]
        return token

    async def try_to_log(self, body: Mapping[str, Any], token: str) -> tuple[int, Any]:
        """`POST /messageLog` of a client that gives up after 15 seconds; status and answer, whatever they are."""
        headers = {**CLIENT_HEADERS, "authorization": f"Bearer {token}"}
        timeout = aiohttp.ClientTimeout(total=15)
        url = f"{self.url}/messageLog"
        async with aiohttp.request("POST", url, json=body, headers=headers, timeout=timeout) as answer:
            return answer.status, await answer.json()

    async def ready(self) -> tuple[int, Any]:
        """`GET /readyz`: status and answer."""
        async with aiohttp.request("GET", f"{self.url}/readyz") as answer:
            return answer.status, await answer.json()

    async def log(self, body: Mapping[str, Any], token: str) -> dict[str, Any]:
        """`POST /messageLog`; raises `aiohttp.ClientError` when the server dies before it answers."""
        answer: dict[str, Any] = await self._post("/messageLog", body, {"authorization": f"Bearer {token}"})
        return answer

    async def make_contact(self, form: Mapping[str, Any], token: str) -> str:
        """`POST /contact`; the contact's id."""
        answer = await self._post("/contact", form, {"authorization": f"Bearer {token}"})
        return str(answer["contact"]["id"])

    async def _post(self, path: str, body: Any, headers: dict[str, str]) -> Any:
        sent = {**CLIENT_HEADERS, **headers}
        async with aiohttp.request("POST", self.url + path, json=body, headers=sent) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


async def until(condition: Callable[[], Awaitable[object]], what: str, *, within: float = PATIENCE) -> None:
    """Waits until a condition (a coroutine function) holds, for so many seconds at most."""
    deadline = time.monotonic() + within
    while not await condition():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        await asyncio.sleep(0.02)


# ------------------------------------------------------------------------------------------ databases


_numbers = itertools.count(1)


def postgres_database(server_url: str) -> str:
    """A new database of a PostgreSQL server, with the schema in it."""
    name = f"processes_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
    migrate(url)
    return url


def sqlite_database(template: Path, folder: Path) -> str:
    """A new SQLite file with the schema in it."""
    path = folder / "messagelog.sqlite"
    shutil.copy(template, path)
    return f"sqlite:///{path}"


def count_held_tenants(database_url: str) -> int:
    """For how many tenants a circuit or what comes after it holds requests back now."""
    engine = sa.create_engine(alchemy_url(database_url), poolclass=sa.NullPool)
    held = sa.select(sa.func.count()).where(paces.c.activeUntil > time.time() * 1000)
    try:
        with engine.connect() as connection:
            return int(connection.execute(held).scalar_one())
    finally:
        engine.dispose()


@dataclass(frozen=True)
class JournalledLog:
    """What the journal says of a conversation log: the states of its rows by their ids, and whether it is at rest."""

    rows: dict[str, str]
    at_rest: bool


def journal(database_url: str) -> dict[str, JournalledLog]:
    """All conversation logs of a database, by their ids (which tests do not use for two tenants)."""
    rows: defaultdict[str, dict[str, str]] = defaultdict(dict)
    engine = sa.create_engine(alchemy_url(database_url), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            logs = connection.execute(
                sa.select(conversation_logs.c.conversationLogId, conversation_logs.c.dueAt)
            ).all()
            columns = message_logs.c
            for log, id_, state in connection.execute(
                sa.select(columns.conversationLogId, columns.id, columns.state)
            ):
                rows[log][id_] = state
    finally:
        engine.dispose()
    return {log: JournalledLog(rows[log], at_rest=due_at is None) for log, due_at in logs}
