"""The journal under test, on both databases, with a clock in the test's hands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from storage.journal import Clock, Journal, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def journal(database_url: str, clock: Clock) -> AsyncIterator[Journal]:
    async with opened(database_url, clock) as store:
        yield Journal(store, clock)
