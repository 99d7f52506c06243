"""A CRM that is killed while it is being called, and comes back: what became of the calls is found out, once each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.effort import ROUNDS, random_from_seed
from support.process_group import Times
from system.kill.clients import Clients, at_work, held
from system.kill.conversations import conversations

if TYPE_CHECKING:
    from support.process_group import ProcessGroup
    from system.kill.clients import Moment
    from system.kill.conversations import Conversation

MOMENTS: tuple[Moment, ...] = (held, at_work)
TIMES = Times(call=1.5, lease=3.5)
OUTAGES = max(1, ROUNDS // 3)
"""How often: after each, the circuits are waited for."""

pytestmark = pytest.mark.timeout(120 + 200 * OUTAGES)


@pytest.mark.parametrize("database", ["sqlite_file", "postgres_of_its_own"])
async def test_a_crm_that_is_killed_and_comes_back(
    machine: ProcessGroup, database: str, request: pytest.FixtureRequest
) -> None:
    database_url: str = request.getfixturevalue(database)
    crm = await machine.crm()
    clients = Clients(database_url, crm, await machine.server(database_url, crm.url, TIMES))
    sent: list[Conversation] = []
    for number in range(OUTAGES):
        for moment in MOMENTS:
            new = conversations(f"{moment.__name__} {number}")
            sent += new
            await clients.begin()
            await clients.have_sent(new)
            await clients.at_ease()
            await moment(clients, new, random_from_seed(f"{database} {moment.__name__} {number}"))
            await clients.crm.kill()
            clients.crm = await machine.crm(port=crm.port)
            await clients.begin()
            while again := await clients.hear():
                clients.send(again)
    clients.send([each for each in sent if each.resent])
    assert await clients.hear() == []
    assert await clients.judge(sent) == []
