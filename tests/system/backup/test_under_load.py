"""Copies are made while a server works, it is killed, and one is restored: what was in it is in the CRM, once."""

from __future__ import annotations

import asyncio
import signal
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from messagelog.storage.urls import sqlite_path
from support.effort import ROUNDS
from support.live_server import ADA
from support.process_group import Times, journal
from system.kill.clients import Clients, at_work
from system.kill.conversations import conversations

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.process_group import JournalledLog, ProcessGroup
    from system.kill.conversations import Conversation

TIMES: Final = Times(call=1.5, lease=3.5)
KILLS: Final = 3
LONGEST: Final = 1.5
"""How long (seconds) a command may work before it is killed: it is done after about one."""

pytestmark = pytest.mark.timeout(240 + 120 * ROUNDS)


async def kill_and_finish(
    machine: ProcessGroup, random: Random, env: dict[str, str], *arguments: str
) -> None:
    """Runs a command that is killed some time or other, a few times; then once to its end."""
    for _ in range(KILLS):
        process = machine.run(*arguments, env=env)
        await asyncio.sleep(random.uniform(0, LONGEST))
        if process.process.poll() is None:
            await process.end(signal.SIGKILL)
    last = machine.run(*arguments, env=env)
    code = await last.wait_for_exit()
    assert code == 0 or "exists already" in last.err.read_text(), last.err.read_text()


def is_known(each: Conversation, copied: Mapping[str, JournalledLog]) -> bool:
    """Whether a copy knows so much of a conversation that nothing of it may be doubled.

    All its messages are in it. A CRM that neither knows our keys nor shows what was added cannot tell that a message
    which waits in the copy was sent after the copy was made.
    """
    rows = copied[each.log_id].rows if each.log_id in copied else {}
    whole = len(rows) == (1 if each.kind.shared else each.kind.texts)
    return whole and (each.key == ADA or "planned" not in rows.values())


async def test_a_copy_of_a_server_at_work_that_is_restored_after_its_death(
    machine: ProcessGroup, sqlite_file: str, tmp_path: Path
) -> None:
    env = {"MESSAGELOG_DATABASE_URL": sqlite_file}
    crm = await machine.crm()
    clients = Clients(sqlite_file, crm, await machine.server(sqlite_file, crm.url, TIMES))
    known: list[Conversation] = []
    for number in range(ROUNDS or 2):
        random = Random(f"backup {number}")
        new = conversations(f"in the copy {number}")
        await clients.begin()
        await clients.have_sent(new)
        await at_work(clients, new, random)
        copy = tmp_path / f"copy {number}"
        await kill_and_finish(machine, random, env, "backup", str(copy))
        await at_work(clients, conversations(f"after the copy {number}"), random)
        await clients.server.kill()
        await clients.hear()
        copied = journal(f"sqlite:///{copy}")
        await kill_and_finish(machine, random, env, "restore", str(copy), "--yes")
        assert journal(sqlite_file) == copied
        assert not sqlite_path(sqlite_file).with_name("messagelog.sqlite-restore").exists()
        clients.server = await machine.server(sqlite_file, crm.url, TIMES)
        known += [each for each in new if is_known(each, copied)]
        await clients.begin()
        clients.send([each for each in known if each.resent])
        while again := await clients.hear():
            clients.send(again)
    assert len(known) >= len(new), "the copies knew too little for this to be about anything"
    assert await clients.judge(known) == []
