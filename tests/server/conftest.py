"""The server that most tests speak to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.live_server import live_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.live_server import LiveServer


@pytest.fixture
async def here(database_url: str, tmp_path: Path) -> AsyncIterator[LiveServer]:
    """A server on an empty database, with a demo CRM that behaves."""
    async with live_server(database_url, tmp_path) as running:
        yield running
