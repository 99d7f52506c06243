"""The PostgreSQL server that these tests may treat badly."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.postgres import PostgresServer
from support.process_group import ProcessGroup

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A server that no other module uses."""
    folder = Path(tempfile.mkdtemp(prefix="mlpg-"))
    server = PostgresServer(folder)
    try:
        yield server
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[ProcessGroup]:
    """Where a test runs its processes, which may tell of an outage."""
    with ProcessGroup(tmp_path, outages=True) as made:
        yield made
