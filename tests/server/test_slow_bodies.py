"""A body that does not come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from fastapi import Request

from messagelog.server.http import Refused, read_body

if TYPE_CHECKING:
    from starlette.types import Message


async def test_a_body_that_does_not_come_is_not_waited_for_without_end() -> None:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(Refused) as refused:
        await read_body(Request({"type": "http", "headers": []}, receive), 100, seconds=0)
    assert (refused.value.status, refused.value.text) == (408, "body: it took too long to arrive")
