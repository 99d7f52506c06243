"""The servers that the tests of a module share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from support.process_group import ProcessGroup, postgres_database
from system.processes.cluster import start_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from system.processes.cluster import Cluster


@pytest.fixture(scope="module")
def cluster(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Four servers that the tests of a module share: conversations have ids of their own."""
    with ProcessGroup(tmp_path_factory.mktemp("cluster")) as machine:
        yield asyncio.run(start_cluster(machine, postgres_database(postgres_url)))
