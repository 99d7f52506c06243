"""Test tools for authors of connectors: the parts of a server for one connector, and a demo CRM."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from messagelog.connectors import Connector
    from messagelog.server.context import AppContext

__all__ = ["open_test_context"]

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@asynccontextmanager
async def open_test_context(
    connector: Connector, folder: Path, *, media_hosts: frozenset[str] = frozenset()
) -> AsyncIterator[AppContext]:
    """Open the parts of a server for one connector, with an SQLite journal in `folder`; close them at the end.

    `context.users.sign_in` signs a user in, and `context.runtime.submit` logs a request. The journal may be there from
    an earlier test. The CRM may be at a loopback address, as the demo CRM is, or a public one; `media_hosts` are the
    hosts from which files of messages may be downloaded.
    """
    # The demo CRM is in this room too, and its process needs no server.
    from messagelog.server.context import ServerConfig  # noqa: PLC0415 - as above
    from messagelog.server.lifespan import open_context  # noqa: PLC0415 - as above
    from messagelog.storage.database import migrate  # noqa: PLC0415 - as above

    database_url = f"sqlite:///{folder / 'journal.sqlite'}"
    migrate(database_url)
    config = ServerConfig(
        database_url=database_url,
        secret_key="only-for-tests-of-connectors-0123456789",  # noqa: S106 - it seals nothing but a test's journal
        connectors={connector.name: connector},
        public_url="http://127.0.0.1",
        media_hosts=media_hosts,
        private_hosts=_LOOPBACK,
    )
    async with open_context(config) as context:
        yield context
