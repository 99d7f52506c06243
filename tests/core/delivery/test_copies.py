"""A copy of a database, given an id of its own, on the same CRM: it takes nothing that is the original's."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from messagelog.connectors import Unavailable
from messagelog.core import Times
from messagelog.core.admin.inbox import Inbox, key_of
from messagelog.core.operators.accounts import local_operator
from messagelog.storage import AuditEntry, open_store, transactions
from messagelog.storage.urls import sqlite_path
from support.crash_campaign import Clock
from support.memory_crm import Crm, Finding, Plain, ReadingKeys, Upserting, lost
from support.requests import MAYA, OMAR, body, message, thread
from support.run_until_idle import run_until_idle
from support.runtime_fixture import RuntimeFixture, runtime_fixture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from messagelog.connectors import ConnectorError
    from support.memory_crm import Call

ENTRY = AuditEntry("local:maintainer", "new_journal_id", "administer")
BOTH = (MAYA, OMAR)
QUICK = Times(answer=0.2, call=5.0, lease=60.0)
"""What the CRM does not answer is not waited for: the clock stands still until it is put forward."""

LOGGED = (
    body(message(1, "day one"), conversation="day"),
    body(message(2, "group one"), conversation="group", correspondents=BOTH),
    thread("thread one"),
)
"""What the original has logged."""
NEXT = (
    body(message(1, "day one"), message(3, "day two"), conversation="day"),
    body(message(2, "group one"), message(4, "group two"), conversation="group", correspondents=BOTH),
    thread("thread one", "thread two"),
)
"""The same conversations, with something new."""
UNDER_WAY = (
    body(message(5, "lost"), conversation="lost"),
    body(message(6, "away"), conversation="away"),
    body(message(7, "lost group"), conversation="lost-group", correspondents=BOTH),
)
"""What the original has begun: the first and the last are in the CRM, though it does not know that."""


def befalls(here: RuntimeFixture) -> None:
    def before(call: Call) -> ConnectorError | None:
        return Unavailable("no connection") if "away" in _text(call) else None

    def after(call: Call) -> ConnectorError | None:
        return lost(call) if "lost" in _text(call) else None

    here.crm.before, here.crm.after = before, after


def _text(call: Call) -> str:
    return " ".join(each.text for each in call.log.messages) if call.log is not None else ""


async def settle(here: RuntimeFixture) -> None:
    await run_until_idle(here.runtime, here.store, here.crm.now, here.runtime.sweep)


@asynccontextmanager
async def original_and_copy(
    database_url: str, tmp_path: Path, connector: Callable[[Crm], Plain]
) -> AsyncIterator[tuple[RuntimeFixture, RuntimeFixture]]:
    """A server with work under way, and one on a copy of its database that has an id of its own."""
    crm, clock = Crm(), Clock()
    crm.now = clock
    copied = f"sqlite:///{tmp_path / 'copy.sqlite'}"
    # The first wait of a retry is longer than anybody waits here.
    async with runtime_fixture(
        database_url, connector, crm=crm, clock=clock, settings=QUICK, jitter=lambda: 1.0
    ) as original:
        for request in LOGGED:
            await original.send(request)
        befalls(original)
        for request in UNDER_WAY:
            await original.send(request)
        crm.before = crm.after = None
        await original.runtime.idle()
        before = await original.store.read(transactions.read_journal_id)
        shutil.copy(sqlite_path(database_url), sqlite_path(copied))
        for log in ("-wal", "-shm"):
            shutil.copy(f"{sqlite_path(database_url)}{log}", f"{sqlite_path(copied)}{log}")
        store = await open_store(copied, clock=clock)
        await store.write(lambda: transactions.part_from_original("0123abcd", ENTRY))
        await store.close()
        async with runtime_fixture(
            copied, connector, crm=crm, clock=clock, settings=QUICK, jitter=lambda: 1.0
        ) as copy:
            assert await copy.store.read(transactions.read_journal_id) == "0123abcd" != before
            yield original, copy


CONNECTORS = pytest.mark.parametrize("connector", [Finding, ReadingKeys, Upserting])
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def texts(crm: Crm) -> list[str]:
    """What all activities say, each text as often as it is there."""
    said = [text for request in (*LOGGED, *NEXT, *UNDER_WAY) for text in _texts(request)]
    bodies = [f"{each.body}\n" for each in crm.activities.values()]
    return sorted(text for text in set(said) for body_ in bodies for _ in range(body_.count(f"{text}\n")))


def _texts(request: dict[str, Any]) -> list[str]:
    info = request["logInfo"]
    return [each.get("subject") or each["text"] for each in info.get("entities") or info["messages"]]


@SQLITE
@CONNECTORS
async def test_a_copy_goes_on_with_nothing_of_the_originals(
    database_url: str, tmp_path: Path, connector: Callable[[Crm], Plain]
) -> None:
    async with original_and_copy(database_url, tmp_path, connector) as (original, copy):
        calls = len(copy.crm.calls)
        await copy.user()
        await settle(copy)
        assert len(copy.crm.calls) == calls, "it asks the CRM nothing"
        states = await copy.states()
        assert set(states.values()) == {"logged", "failed"}
        (failed,) = {row.reason for row in (await copy.rows()).values() if row.state == "failed"}
        assert failed == "copied: the journal that this one is a copy of goes on with it"
        await settle(original)
        assert set((await original.states()).values()) == {"logged"}
        assert texts(original.crm) == sorted(text for each in (*LOGGED, *UNDER_WAY) for text in _texts(each))


@SQLITE
@CONNECTORS
async def test_a_copy_adds_nothing_to_the_originals_activities(
    database_url: str, tmp_path: Path, connector: Callable[[Crm], Plain]
) -> None:
    async with original_and_copy(database_url, tmp_path, connector) as (original, copy):
        await settle(original)
        before = {each.id: each.body for each in copy.crm.activities.values()}
        copy.crm.after = lost
        for request in NEXT:
            await copy.send(request)
        copy.crm.after = None
        await settle(copy)
        assert {id_: copy.crm.activities[id_].body for id_ in before} == before
        made = [each for id_, each in copy.crm.activities.items() if id_ not in before]
        assert sorted("".join(each.body.splitlines()[-1:]).strip() for each in made) == [
            "day two",
            "group two",
            "thread two",
        ]
        held = {log.third_party_log_id for log in await copy.logs()} - {None}
        assert held == {each.id for each in made}
        for request in NEXT:
            await original.send(request)
        await settle(original)
        assert texts(original.crm).count("day two") == 2, "each server has logged it for itself"


@SQLITE
@CONNECTORS
async def test_what_a_copy_let_go_of_can_be_tried_again(
    database_url: str, tmp_path: Path, connector: Callable[[Crm], Plain]
) -> None:
    """When it was no copy after all, or the original is gone."""
    async with original_and_copy(database_url, tmp_path, connector) as (_, copy):
        inbox = Inbox(copy.store, local_operator("maintainer"))
        entries = (await inbox.entries()).entries
        assert {entry.cause for entry in entries} == {"copied"}
        for entry in entries:
            await inbox.retry(key_of(entry))
        await settle(copy)
        assert set((await copy.states()).values()) == {"logged"}
        activities = [log.third_party_log_id for log in await copy.logs() if log.third_party_log_id]
        assert len(set(activities)) == len(UNDER_WAY)
