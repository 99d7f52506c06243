"""A claim's lease outlasts all work under it, so that no process takes over from another that is at work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from messagelog.core import Times
from support.live_server import SQLITE_ONLY
from support.memory_crm import Crm, Plain
from support.requests import MAYA, OMAR, body, message
from support.runtime_fixture import runtime_fixture

if TYPE_CHECKING:
    from messagelog.connectors import Contact, Session


@pytest.mark.parametrize(("call", "lease"), [(20.0, 40.0), (20.0, 39.0), (1.0, 2.0)])
def test_a_lease_that_two_calls_outlast_is_refused(call: float, lease: float) -> None:
    with pytest.raises(ValueError, match="the lease must outlast two calls"):
        Times(call=call, lease=lease)


def test_what_a_lease_has_beyond_two_calls_is_its_margin() -> None:
    assert Times(call=1.0, lease=2.5).lease == 2.5
    assert Times(call=1.0, lease=2.5).run_within_lease == 0.25, "a run leaves half of it"
    assert Times().run_within_lease == 1.0


class SlowSearch(Plain):
    """A CRM whose search for contacts never answers."""

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        await asyncio.Event().wait()
        return []


@SQLITE_ONLY
async def test_what_is_looked_up_before_a_call_takes_no_longer_than_a_call(database_url: str) -> None:
    async with runtime_fixture(
        database_url, SlowSearch, crm=Crm(), settings=Times(call=0.1, lease=60.0)
    ) as here:
        async with asyncio.timeout(2.0):
            answer = await here.send(body(message(1, "to both"), correspondents=(MAYA, OMAR)))
        assert answer.log_ids == ["1-c-1"]
        assert here.crm.only.body.count("to both") == 1
