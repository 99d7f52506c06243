"""A runtime with its journal, a CRM in memory, and users who are signed in."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from messagelog.connectors import Connector, Credentials
from messagelog.core import Times
from messagelog.server.context import ServerConfig
from messagelog.server.lifespan import open_context
from messagelog.storage import transactions
from support.memory_crm import Crm, Plain
from support.requests import to_log_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from messagelog.core import Answer, Runtime, User
    from messagelog.server.context import AppContext
    from messagelog.storage import LogRow, MessageRow, Store

SECRET = "a-secret-for-tests-0123456789-abcdef"


@dataclass
class RuntimeFixture:
    context: AppContext
    crm: Crm
    users: dict[str, User]

    @property
    def runtime(self) -> Runtime:
        return self.context.runtime

    @property
    def store(self) -> Store:
        return self.context.store

    async def send(self, request: dict[str, Any], user: str = "acme/ada", platform: str = "memory") -> Answer:
        """Sends a request as a user, and gives the answer."""
        return await self.runtime.submit(await self.user(user, platform), to_log_request(request))

    async def user(self, user: str = "acme/ada", platform: str = "memory") -> User:
        name = f"{platform}:{user}"
        if name not in self.users:
            connector = self.runtime.connector(platform)
            credentials = Credentials(api_key=user)
            self.users[name] = await self.context.users.sign_in(connector, credentials, "")
        return self.users[name]

    async def logs(self) -> list[LogRow]:
        """All conversation logs."""
        return [summary.log for summary in await self.store.read(lambda: transactions.list_logs(1000))]

    async def rows(self) -> dict[str, MessageRow]:
        """All `messageLogs` rows by the id that is shown (the last one of an id that several tenants have)."""
        found = {}
        for log in await self.logs():
            for held, rows in await self.store.read(
                partial(transactions.show_logs, log.key.conversation_log_id)
            ):
                found.update({held.key.display_id(row.id): row for row in rows})
        return found

    async def states(self) -> dict[str, str]:
        """The state of every row, by id."""
        return {id_: str(row.state) for id_, row in (await self.rows()).items()}


@asynccontextmanager
async def runtime_fixture(
    database_url: str,
    connector: Callable[[Crm], Connector] = Plain,
    *,
    crm: Crm | None = None,
    settings: Times | None = None,
    clock: Callable[[], int] | None = None,
    more: dict[str, Connector] | None = None,
    secrets: tuple[str, ...] = (SECRET,),
    jitter: Callable[[], float] = lambda: 0.0,
    **config_fields: Any,
) -> AsyncIterator[RuntimeFixture]:
    """A world on a database; the first of `secrets` is the newest.

    The runtime's sweeper is not started: a test that needs it sweeps. Every retry comes as early as it can, unless a
    test brings other `luck`. What else there is goes into its `ServerConfig`.
    """
    crm = crm or Crm()
    made = connector(crm)
    config = ServerConfig(
        database_url=database_url,
        secret_key=secrets[0],
        old_secret_keys=secrets[1:],
        connectors={made.name: made, **(more or {})},
        public_url="http://127.0.0.1",
        times=settings or Times(answer=5.0, call=5.0, lease=60.0),
        clock=clock,
        jitter=jitter,
        **config_fields,
    )
    async with open_context(config) as context:
        yield RuntimeFixture(context, crm, {})
