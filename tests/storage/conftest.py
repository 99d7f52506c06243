"""The journal under test, on both databases, with a clock in the test's hands."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from storage.journal import Clock, Journal, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def journal(database_url: str, clock: Clock) -> AsyncIterator[Journal]:
    async with opened(database_url, clock) as store:
        yield Journal(store, clock)


@pytest.fixture
def fresh_postgres(postgres_url: str) -> Iterator[str]:
    """A database of the test's own, without any tables."""
    name = f"fresh_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        url = sa.make_url(postgres_url).set(database=name)
        yield url.render_as_string(hide_password=False)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(params=["sqlite", "postgres"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a database that is not migrated; the file's folder does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'folder' / 'of its own' / '100% journal.sqlite'}"
    url: str = request.getfixturevalue("fresh_postgres")
    return url
