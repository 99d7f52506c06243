"""Opens a database by its URL, and tells whether its schema is up to date.

A process does not load what it does not need, to save memory: the driver of the other database, and Alembic and
SQLAlchemy, which only a migration needs.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from messagelog.errors import MessagelogError
from messagelog.storage.store import ANSWER_SECONDS
from messagelog.storage.urls import SCHEMA_VERSION, is_sqlite, postgres_url, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.storage.store import CheckedStore


class NewerSchema(MessagelogError):
    """A database was migrated by a newer messagelog; `version` is the version of its schema."""

    def __init__(self, version: str) -> None:
        super().__init__(
            f"the database's schema has version {version}, and this messagelog knows none after {SCHEMA_VERSION}"
        )
        self.version = version


async def open_store(
    url: str, *, clock: Callable[[], int] | None = None, answer_seconds: float = ANSWER_SECONDS
) -> CheckedStore:
    """Open the journal at `url`: `sqlite:///FILE` or `postgresql://…`. The schema must be up to date (see `migrate`).

    `clock` (epoch milliseconds) stands in for the database's own clock in tests. `answer_seconds` is how long the
    database may take for an answer. Raises `StoreUnavailable` if it cannot be used.
    """
    if is_sqlite(url):
        from messagelog.storage.sqlite.store import SqliteStore  # noqa: PLC0415 - one of the two databases

        return SqliteStore(sqlite_path(url), clock=clock, answer_seconds=answer_seconds)
    from messagelog.storage.postgres.store import PostgresStore  # noqa: PLC0415 - as above

    store = PostgresStore(postgres_url(url), clock=clock, answer_seconds=answer_seconds)
    await store.open()
    return store


def serve_alone(url: str) -> ExitStack:
    """Be the one server of a SQLite file until what is returned is closed. PostgreSQL is for any number of them.

    Raises `UnusableFile` where there is one already. The lock ends with the process, however that ends.
    """
    if not is_sqlite(url):
        return ExitStack()
    from messagelog.storage.sqlite import file as sqlite_file  # noqa: PLC0415 - as above

    return sqlite_file.serve_alone(sqlite_path(url))


def migrate(url: str) -> None:
    """Bring the schema to the newest version; do nothing if it is newest. Makes SQLite's folder if it is missing.

    Raises `NewerSchema`.
    """
    from messagelog.storage.migrate import upgrade  # noqa: PLC0415 - large, and a server never migrates

    check_not_newer(schema_version(url))
    upgrade(url)


def check_not_newer(version: str | None) -> None:
    """Raise `NewerSchema` for a version that this messagelog does not know. Versions are numbers of four digits."""
    if version is not None and version > SCHEMA_VERSION:
        raise NewerSchema(version)


def schema_version(url: str) -> str | None:
    """Return the schema's version, None if there is none. A file that does not exist is not made."""
    if is_sqlite(url):
        from messagelog.storage.sqlite.store import version_of  # noqa: PLC0415 - one of the two databases

        path = sqlite_path(url)
        return version_of(path) if path.exists() else None
    from messagelog.storage.postgres import store as postgres  # noqa: PLC0415 - as above

    return postgres.version_of(postgres_url(url))
