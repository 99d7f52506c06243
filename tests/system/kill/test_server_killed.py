"""A server that is killed with calls under way, and started again: once in the CRM, and logged, whatever it was at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.effort import ROUNDS, random_from_seed
from support.process_group import Times
from system.kill.clients import Clients, answered, at_work, held
from system.kill.conversations import conversations

if TYPE_CHECKING:
    from support.process_group import ProcessGroup
    from system.kill.clients import Moment
    from system.kill.conversations import Conversation

MOMENTS: tuple[Moment, ...] = (held, answered, at_work)
TIMES = Times(call=1.5, lease=3.5)

pytestmark = pytest.mark.timeout(120 + 60 * ROUNDS)


@pytest.mark.parametrize("database", ["sqlite_file", "postgres_of_its_own"])
async def test_a_server_that_is_killed_again_and_again(
    machine: ProcessGroup, database: str, request: pytest.FixtureRequest
) -> None:
    """Each life ends with calls under way, while those of earlier lives are being reconciled."""
    database_url: str = request.getfixturevalue(database)
    crm = await machine.crm()
    clients = Clients(database_url, crm, await machine.server(database_url, crm.url, TIMES))
    sent: list[Conversation] = []
    for number in range(ROUNDS or 1):
        for moment in MOMENTS:
            new = conversations(f"{moment.__name__} {number}")
            sent += new
            await clients.begin()
            await clients.have_sent(new)
            await moment(clients, new, random_from_seed(f"{database} {moment.__name__} {number}"))
            await clients.server.kill()
            again = await clients.hear()
            clients.server = await machine.server(database_url, crm.url, TIMES)
            clients.send(again)
    await clients.begin()
    assert await clients.hear() == [], "all who asked again were answered"
    assert await clients.judge(sent) == []
