"""Opens a database by its URL, and brings its schema up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from messagelog.storage.postgres import PostgresStore
from messagelog.storage.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.storage.port import Store

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_SQLITE: Final = "sqlite:///"
_POSTGRES: Final = ("postgresql://", "postgres://")


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
    return Path(url.removeprefix(_SQLITE))


def migrate(url: str) -> None:
    """Brings the schema to the newest version; does nothing where it is. Makes SQLite's folder when it is missing."""
    if url.startswith(_SQLITE):
        sqlite_path(url).parent.mkdir(parents=True, exist_ok=True)
    config = _config(url)
    command.upgrade(config, "head")


def is_current(url: str) -> bool:
    """Whether the schema is at the newest version."""
    head = ScriptDirectory.from_config(_config(url)).get_current_head()
    engine = sa.create_engine(alchemy_url(url), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision() == head
    finally:
        engine.dispose()


def alchemy_url(url: str) -> str:
    """The URL as SQLAlchemy wants it, with the driver's name in it."""
    if url.startswith(_SQLITE):
        return url
    return "postgresql+psycopg://" + _driver_url(url).partition("://")[2]


def _driver_url(url: str) -> str:
    if not url.startswith(_POSTGRES):
        raise UnknownDatabase("the database URL must begin with sqlite:/// or postgresql://")
    return "postgresql://" + url.partition("://")[2]


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["url"] = alchemy_url(url)
    return config
