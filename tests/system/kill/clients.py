"""The clients of the conversations, and the moments at which something is killed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp

from support.process_group import count_held_tenants, journal, until
from system.kill.conversations import ABILITIES, KEYS, is_settled, problems

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from random import Random

    from support.process_group import Crm, Server
    from system.kill.conversations import Conversation

    Moment = Callable[["Clients", Sequence[Conversation], Random], Awaitable[None]]

BACKLOG = 70.0
"""Seconds: the rule is a minute, and the calls take their time."""
_SLOW_MS = 150


class Clients:
    """Those who send conversations. Some send again until they are answered, others never.

    They speak to the `server` and look into the `crm` that there are at the time.
    """

    def __init__(self, database_url: str, crm: Crm, server: Server) -> None:
        self.database_url = database_url
        self.crm = crm
        self.server = server
        self.releasing: asyncio.Task[None] | None = None
        self._tokens: dict[str, str] = {}
        self._waiting: dict[Conversation, asyncio.Task[dict[str, Any]]] = {}

    async def begin(self) -> None:
        """The CRM behaves (as its abilities are), and everybody is signed in."""
        for key in KEYS:
            await self.crm.chaos(key, reset=True, **ABILITIES[key])
            if key not in self._tokens:
                self._tokens[key] = await self.server.sign_in(key)

    async def have_sent(self, all_: Sequence[Conversation]) -> None:
        """What came before the requests that this is about."""
        past = [each for each in all_ if each.kind.past]
        requests = (self.server.log(each.request(each.kind.past), self._tokens[each.key]) for each in past)
        for answer in await asyncio.gather(*requests):
            assert answer["successful"] is True, answer

    async def at_ease(self) -> None:
        """Waits until everything is done and the CRM is called as before its outages.

        A circuit lets a few pass at first, and would not let every call be under way at the same time.
        """

        async def done() -> bool:
            return all(each.at_rest for each in journal(self.database_url).values())

        async def let_pass() -> bool:
            return not count_held_tenants(self.database_url)

        await until(done, "a CRM that is back has its backlog", within=BACKLOG)
        await until(let_pass, "the circuits are forgotten")

    def send(self, all_: Sequence[Conversation]) -> None:
        """Sends the requests that something is to happen to."""
        for each in all_:
            self._waiting[each] = asyncio.create_task(self.server.log(each.request(), self._tokens[each.key]))

    async def first_answer(self, all_: Sequence[Conversation]) -> None:
        """Waits until the first of these is answered."""
        tasks = [self._waiting[each] for each in all_]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    async def hear(self) -> list[Conversation]:
        """Waits until each has its answer, or will have none; those that send again.

        Who got no answer sends again or not, who was told that something is not logged always does.
        """
        if self.releasing is not None:
            await self.releasing
        again = []
        for each, task in self._waiting.items():
            try:
                answer = await task
            except aiohttp.ClientError:
                if each.resent:
                    again.append(each)
            else:
                if "not logged" in answer["returnMessage"]["message"]:
                    again.append(each)
                else:
                    assert answer["successful"] is True, answer
        self._waiting.clear()
        return again

    async def texts_in_crm(self) -> dict[str, str]:
        """The text of all activities, by the user's key."""
        found = await asyncio.gather(*(self.crm.activities(key) for key in KEYS))
        return {key: "\n".join(made["body"] for made in each) for key, each in zip(KEYS, found, strict=True)}

    async def judge(self, all_: Sequence[Conversation]) -> list[str]:
        """Waits until nothing is left to be done; what is not as it must be then."""

        async def settled() -> bool:
            known = journal(self.database_url)
            return all(is_settled(each, known) for each in all_)

        await until(settled, "everything is settled", within=BACKLOG)
        activities = {key: await self.crm.activities(key) for key in KEYS}
        return problems(all_, activities, journal(self.database_url))


# -------------------------------------------------------------------------------------------- moments


async def held(clients: Clients, all_: Sequence[Conversation], _random: Random) -> None:
    """The CRM has done the work of every call, and holds its answers."""
    seconds = [each for each in all_ if each.kind.held > each.kind.past + 1 and not each.kind.shared]
    await _every_crm(clients, hold=True, delay_ms=_SLOW_MS)
    clients.send(seconds)
    await until(lambda: _begun(clients, seconds), "the first of three is in the CRM")
    await _every_crm(
        clients, hold=False
    )  # the next call is slow to come, so that it meets a CRM that holds again
    await _every_crm(clients, hold=True)
    await _every_crm(clients, delay_ms=0)
    clients.send([each for each in all_ if each not in seconds])
    await until(lambda: _all_held(clients, all_), "every call is held")
    known = journal(clients.database_url)
    assert any("calling" in known[each.log_id].rows.values() for each in all_), "nobody knows yet"


async def answered(clients: Clients, all_: Sequence[Conversation], random: Random) -> None:
    """The CRM gives the answers that it held: the first are journalled, the others about to be."""
    await held(clients, all_, random)
    clients.releasing = asyncio.create_task(_every_crm(clients, hold=False))
    await clients.first_answer(all_)
    await asyncio.sleep(random.uniform(0, 0.01))


async def at_work(clients: Clients, all_: Sequence[Conversation], random: Random) -> None:
    """Everything is accepted, and the CRM takes its time for every call: any point may have been reached."""
    await _every_crm(clients, delay_ms=_SLOW_MS)
    clients.send(all_)
    await until(lambda: _accepted(clients, all_), "everything is accepted")
    await asyncio.sleep(random.uniform(0, 5 * _SLOW_MS / 1000))


async def _every_crm(clients: Clients, **changes: Any) -> None:
    await asyncio.gather(*(clients.crm.chaos(key, **changes) for key in KEYS))


async def _begun(clients: Clients, all_: Sequence[Conversation]) -> bool:
    written = await clients.texts_in_crm()
    return all(each.texts[0] in written[each.key] for each in all_)


async def _all_held(clients: Clients, all_: Sequence[Conversation]) -> bool:
    written = await clients.texts_in_crm()
    return all(each.is_held(written[each.key]) for each in all_)


async def _accepted(clients: Clients, all_: Sequence[Conversation]) -> bool:
    known = journal(clients.database_url)
    return all(
        each.log_id in known and len(known[each.log_id].rows) == (1 if each.kind.shared else each.kind.texts)
        for each in all_
    )
