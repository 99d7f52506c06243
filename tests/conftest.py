"""Databases for the tests: SQLite in a file of its own, and a real PostgreSQL from a wheel."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import hypothesis
import psycopg
import pytest
import uvloop

from messagelog.storage import open_store
from messagelog.storage.database import migrate
from messagelog.storage.schema import metadata
from support import COUNTS, MATRIX
from support.effort import PROVE, SEED
from support.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from messagelog.storage import Store

_LOOPS: Final = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
_LOOP: Final = os.environ.get("MESSAGELOG_LOOP", "uvloop")

# A journal keeps its id, which its migration has made.
_FULL_TABLES = " UNION ALL ".join(
    f"SELECT '{name}' WHERE EXISTS (SELECT FROM \"{name}\")"  # noqa: S608 - our own names
    for name in metadata.tables
    if name != "journal"
)
"""Asks which tables have rows: to truncate one takes longer than most tests need for all that they write."""

# A busy machine is not a defect: no test is about how long an example takes.
hypothesis.settings.register_profile("messagelog", deadline=None)
hypothesis.settings.load_profile("messagelog")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that accepts what the composed texts have become."""
    parser.addoption("--update-snapshots", action="store_true", help="write tests/compose/snapshots anew")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server of this test process, at TCP, with the schema in it."""
    folder = Path(tempfile.mkdtemp(prefix="mlpg-"))
    server = PostgresServer(folder)
    try:
        migrate(server.url)
        yield server.url
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema in it and nothing else."""
    path = tmp_path_factory.mktemp("template") / "messagelog.sqlite"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty, migrated database: each test that asks for it runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        path = tmp_path / "messagelog.sqlite"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("postgres_url")
    with psycopg.connect(url, autocommit=True) as connection:
        full = ", ".join(f'"{name}"' for (name,) in connection.execute(_FULL_TABLES.encode()))
        if full:
            connection.execute(f"TRUNCATE {full}".encode())
    return url


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """The journal in an empty database."""
    opened = await open_store(database_url)
    yield opened
    await opened.close()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop of a test: the one that ships, or the one that MESSAGELOG_LOOP names. Some run on both."""
    chosen = ("uvloop", "asyncio") if item.get_closest_marker("both_loops") else (_LOOP,)
    return {name: _LOOPS[name] for name in chosen}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what the tests have counted, for people to read."""
    _print_lost_connections(terminalreporter)
    _print_schedules(terminalreporter)


def _print_lost_connections(terminalreporter: pytest.TerminalReporter) -> None:
    """How servers came through lost connections: what was sent, how often it was refused, and the seconds it took."""
    rows = [
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == MATRIX
    ]
    if not rows:
        return
    terminalreporter.section("lost connections: all delivered once, no restart")
    shape = "{:<30} {:<8} {:>13} {:>8} {:>15} {:>14}"
    heads = ("way", "server", "conversations", "refused", "delivered after", "SIGTERM to end")
    for row in (heads, *sorted(rows)):
        terminalreporter.write_line(shape.format(*row))


def _print_schedules(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints how the schedules of the crash campaign ended: for each kind of CRM, over scenarios and databases."""
    if PROVE:
        terminalreporter.section(f"drawn with MESSAGELOG_SEED={SEED}")
    ended: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == COUNTS:
                _, kind, counts = value
                ended[kind].update(counts)
    if not ended:
        return
    terminalreporter.section("schedules of crashes, by how they ended")
    for kind, counts in ended.items():
        told = ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items()))
        terminalreporter.write_line(f"{kind}: {told}")
    terminalreporter.write_line(
        f"{sum(map(Counter.total, ended.values())):,} in all, none doubled, none lost"
    )
