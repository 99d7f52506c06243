"""Opens a database by its URL, and brings its schema up to date."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from messagelog.storage.postgres import PostgresStore
from messagelog.storage.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from messagelog.storage.port import Store

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_SQLITE: Final = "sqlite:///"
_POSTGRES: Final = ("postgresql://", "postgres://")

_migrating = threading.Lock()  # Alembic keeps the migration that runs in a global variable


class UnknownDatabase(ValueError):
    """A database URL that is neither SQLite's nor PostgreSQL's."""


async def open_store(url: str, *, clock: Callable[[], int] | None = None) -> Store:
    """The journal at `url`: `sqlite:///FILE` or `postgresql://…`. The schema must be up to date (see `migrate`).

    `clock` (epoch milliseconds) stands in for the database's own clock in tests.
    """
    if url.startswith(_SQLITE):
        return SqliteStore(sqlite_path(url), clock=clock)
    store = PostgresStore(_driver_url(url), clock=clock)
    await store.open()
    return store


def sqlite_path(url: str) -> Path:
    """The file of a `sqlite:///` URL: relative to the working directory, or absolute with a fourth slash."""
    file = url.removeprefix(_SQLITE)
    if file in {"", ":memory:"}:
        raise UnknownDatabase("the journal needs a file: sqlite:///FILE")
    return Path(file)


def migrate(url: str) -> None:
    """Brings the schema to the newest version; does nothing where it is. Makes SQLite's folder when it is missing."""
    if url.startswith(_SQLITE):
        sqlite_path(url).parent.mkdir(parents=True, exist_ok=True)
    config = _config()
    with _migrating, _engine(url) as config.attributes["engine"]:
        command.upgrade(config, "head")


def is_current(url: str) -> bool:
    """Whether the schema is at the newest version. A file that does not exist is not, and is not made."""
    if url.startswith(_SQLITE) and not sqlite_path(url).exists():
        return False
    head = ScriptDirectory.from_config(_config()).get_current_head()
    with _engine(url) as engine, engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() == head


def alchemy_url(url: str) -> sa.URL:
    """The URL as SQLAlchemy wants it: with the driver's name in it, and a file's name taken as it is."""
    if url.startswith(_SQLITE):
        return sa.URL.create("sqlite", database=str(sqlite_path(url)))
    return sa.make_url("postgresql+psycopg://" + _driver_url(url).partition("://")[2])


@contextmanager
def _engine(url: str) -> Iterator[sa.Engine]:
    """SQLAlchemy's way to the database, for the schema only."""
    engine = sa.create_engine(alchemy_url(url), poolclass=sa.NullPool)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    try:
        yield engine
    finally:
        engine.dispose()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Leaves transactions to SQLAlchemy, and the file in WAL mode, so that no store has to change it."""
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA journal_mode=WAL")


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _driver_url(url: str) -> str:
    if not url.startswith(_POSTGRES):
        raise UnknownDatabase("the database URL must begin with sqlite:/// or postgresql://")
    return "postgresql://" + url.partition("://")[2]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config
