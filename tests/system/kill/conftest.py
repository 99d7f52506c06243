"""Processes and databases of the tests that kill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.process_group import ProcessGroup, postgres_database, sqlite_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[ProcessGroup]:
    """Where a test runs its processes."""
    with ProcessGroup(tmp_path) as made:
        yield made


@pytest.fixture
def sqlite_file(sqlite_template: Path, tmp_path: Path) -> str:
    """A journal in a file."""
    return sqlite_database(sqlite_template, tmp_path)


@pytest.fixture
def postgres_of_its_own(postgres_url: str) -> str:
    """A journal in PostgreSQL, in a database that no other test uses."""
    return postgres_database(postgres_url)
