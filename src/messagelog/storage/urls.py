"""Database URLs: which database one names, and where; and the newest version of the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from messagelog.errors import MessagelogError

SCHEMA_VERSION: Final = "0015"
"""The newest migration."""

_SQLITE: Final = "sqlite:///"
_POSTGRES: Final = ("postgresql://", "postgres://")


class UnknownDatabase(MessagelogError, ValueError):
    """A database URL that is neither SQLite's nor PostgreSQL's."""


def is_sqlite(url: str) -> bool:
    """Return whether a URL names a SQLite file."""
    return url.startswith(_SQLITE)


def sqlite_path(url: str) -> Path:
    """Return the file of a `sqlite:///` URL: relative to the working directory, or absolute with a fourth slash."""
    file = url.removeprefix(_SQLITE)
    if file in {"", ":memory:"}:
        raise UnknownDatabase("the journal needs a file: sqlite:///FILE")
    return Path(file)


def postgres_url(url: str) -> str:
    """Return a PostgreSQL URL as its driver takes it, with how its server is checked. Raises `UnknownDatabase`."""
    if not url.startswith(_POSTGRES):
        raise UnknownDatabase("the database URL must begin with sqlite:/// or postgresql://")
    from messagelog.storage.postgres.tls import with_tls  # noqa: PLC0415 - it asks PostgreSQL's driver

    return with_tls("postgresql://" + url.partition("://")[2])


def weak_mode(url: str) -> str | None:
    """Return the `sslmode` that a PostgreSQL URL asks for, if it leaves a server on another machine unchecked."""
    if is_sqlite(url):
        return None
    from messagelog.storage.postgres import tls as database_tls  # noqa: PLC0415 - as above

    return database_tls.weak_mode(url)
