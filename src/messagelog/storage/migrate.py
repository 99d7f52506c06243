"""Brings a database's schema up to date, with Alembic."""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from messagelog.storage.sqlite.file import holding, make_private_folder
from messagelog.storage.sqlite.wal import begin_counting, count_transaction
from messagelog.storage.urls import is_sqlite, postgres_url, sqlite_path

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

MIGRATIONS: Final = Path(__file__).parent / "migrations"

_migrating = threading.Lock()  # Alembic keeps the migration that runs in a global variable


def upgrade(url: str, version: str = "head") -> None:
    """Run the migrations that are missing, up to a version. Makes SQLite's folder if it is missing."""
    file = sqlite_path(url) if is_sqlite(url) else None
    if file is not None:
        make_private_folder(file.parent)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    held = nullcontext() if file is None else holding(file)
    with _migrating, held, _engine(url) as config.attributes["engine"]:
        command.upgrade(config, version)


def alchemy_url(url: str) -> sa.URL:
    """Return the URL for SQLAlchemy: with the driver's name in it, and the name of a file unchanged."""
    if is_sqlite(url):
        return sa.URL.create("sqlite", database=str(sqlite_path(url)))
    return sa.make_url("postgresql+psycopg://" + postgres_url(url).partition("://")[2])


@contextmanager
def _engine(url: str) -> Iterator[sa.Engine]:
    """Open SQLAlchemy's engine for the database, to change its schema."""
    engine = sa.create_engine(alchemy_url(url), poolclass=sa.NullPool, connect_args=_options(url))
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    try:
        yield engine
    finally:
        engine.dispose()


def _options(url: str) -> dict[str, Any]:
    """Return options that a PostgreSQL URL leaves out. A migration has no time limit."""
    if is_sqlite(url):
        return {}
    from messagelog.storage.postgres.connections import missing_options  # noqa: PLC0415 - it loads PostgreSQL's driver

    return missing_options(postgres_url(url))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Leave transactions to SQLAlchemy, and the file in WAL mode, so that no store has to change it."""
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA journal_mode=WAL")


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    dbapi_connection = cast("sqlite3.Connection", connection.connection.dbapi_connection)
    begin_counting(dbapi_connection)
    count_transaction(dbapi_connection)
