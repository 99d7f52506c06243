"""A database of the release before is upgraded while calls are under way: rows keep their meaning, and work goes on.

The dumps were written by that release: `support/release_dumps.py` says how.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import pytest

from messagelog.core.admin.inbox import Inbox
from messagelog.core.delivery import payload as payloads
from messagelog.core.delivery.attempts import open_body
from messagelog.core.delivery.prepare import idempotency_key
from messagelog.core.operators.accounts import local_operator
from messagelog.storage import LogKey, Sealer, open_store, transactions
from messagelog.storage.migrate import upgrade
from messagelog.storage.records.journal import LogKind, LogState, RowState
from messagelog.storage.transactions.mapping import key_params, row_from
from messagelog.storage.urls import sqlite_path
from storage.journal import run_sql
from support.crash_campaign import Clock
from support.memory_crm import Activity, Crm
from support.release_dumps import (
    CONNECTORS,
    DAY,
    FOLDER,
    GROUP,
    HAPPENS,
    THREAD,
    VOICEMAIL,
    Release,
    Scene,
    text_of,
)
from support.requests import JORDAN, LATER, MAYA
from support.run_until_idle import run_until_idle
from support.runtime_fixture import SECRET, RuntimeFixture, runtime_fixture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from messagelog.connectors import Connector
    from messagelog.storage import LogRow, MessageRow, Store

BEFORE = "0009"

SHOWN = {
    "messageLogs": '"tenant", "platform", "id", "conversationId", "conversationLogId", "thirdPartyLogId", "userId",'
    ' "state", "reason", "sentAt", "version", "entryHash", "payload", "createdAt", "updatedAt"',
    "conversationLogs": '"tenant", "platform", "conversationLogId", "conversationId", "shared", "contactId",'
    ' "contactType", "contactName", "pins", "state", "reason", "thirdPartyLogId", "generation", "createdBy",'
    ' "version", "blocks", "owner", "fence", "dueAt", "call", "callUser", "callVersion", "callBefore", "tries",'
    ' "asks", "bodySize", "earlier", "refusals", "createdAt", "updatedAt"',
    "attempts": '"tenant", "platform", "fence", "id", "at", "call", "error", "status", "reason", "body"',
}
"""What a table held before, which is all there afterwards."""


@pytest.fixture
def dumped(fresh_url: str) -> tuple[str, Release]:
    """A database as the release before has left it, and what belongs to it."""
    name = "sqlite" if fresh_url.startswith("sqlite") else "postgres"
    dump = (FOLDER / f"{BEFORE}.{name}.sql").read_text()
    release = msgspec.json.decode((FOLDER / f"{BEFORE}.{name}.json").read_bytes(), type=Release)
    if name == "sqlite":
        sqlite_path(fresh_url).parent.mkdir(parents=True)
        with closing(sqlite3.connect(sqlite_path(fresh_url))) as connection:
            connection.executescript(dump)
    else:
        with psycopg.connect(fresh_url, autocommit=True) as session:
            session.execute(dump.encode())
    return fresh_url, release


def held(url: str) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: sorted(run_sql(url, f'SELECT {columns} FROM "{table}"'), key=repr)  # noqa: S608 - our own names
        for table, columns in SHOWN.items()
    }


@asynccontextmanager
async def upgraded(url: str) -> AsyncIterator[Store]:
    upgrade(url)
    store = await open_store(url)
    try:
        yield store
    finally:
        await store.close()


async def logs_of(store: Store, release: Release) -> dict[str, tuple[Scene, LogRow, list[MessageRow]]]:
    """The one log of each scene, by the scene's name, its rows with their text."""
    logs = {each.log.key.tenant: each.log for each in await store.read(lambda: transactions.list_logs(1000))}
    found = {}
    for scene in release.scenes:
        log = logs[scene.name]
        reading = partial(transactions.find_logs_of_contact, scene.name, scene.platform, log.contact_id)
        ((log, rows),) = await store.read(reading)
        found[scene.name] = scene, log, rows
    return found


# ------------------------------------------------------------------------------------- what stays as it was


def test_everything_that_was_there_is_there(dumped: tuple[str, Release]) -> None:
    url, release = dumped
    before = held(url)
    states = Counter(row[7] for row in before["messageLogs"])
    assert states.keys() == set(RowState), "rows in every state"
    assert {scene.texts[-1].partition(":")[0] for scene in release.scenes} >= set(HAPPENS)
    upgrade(url)
    assert held(url) == before


async def test_each_row_is_known_by_its_kind_and_contact(dumped: tuple[str, Release]) -> None:
    url, release = dumped
    async with upgraded(url) as store:
        for scene, log, rows in (await logs_of(store, release)).values():
            assert log.key == key_of(scene)
            assert log.key.conversation_log_id == log.key.display_id(log.key.client_log_id)
            assert rows
            assert all(row.client_log_id == log.key.client_log_id for row in rows)
            ids = [row.id for row in rows]
            known = await store.read(
                partial(transactions.look_up_everywhere, log.key, ids, "", None, with_facts=False)
            )
            assert known.contact_id == log.contact_id, "looked up by the columns"
            assert known.unlogged == {row.id for row in rows if row.state is not RowState.LOGGED}
    kept = run_sql(url, 'SELECT "id", "messageId", "groupContactId" FROM "messageLogs"')
    assert all(id_ == (f"{message}-{contact}" if contact else message) for id_, message, contact in kept)
    of_logs = run_sql(
        url,
        """SELECT COUNT(*) FROM "attempts" AS held
           JOIN "conversationLogs" AS log
             ON log."clientLogId" = held."clientLogId" AND log."groupContactId" = held."groupContactId"
            AND log."shared" = held."shared" AND log."tenant" = held."tenant" AND log."platform" = held."platform" """,
    )
    assert of_logs == run_sql(url, 'SELECT COUNT(*) FROM "attempts"')


def key_of(scene: Scene) -> LogKey:
    """The key of a scene's log."""
    info = scene.requests[-1]["logInfo"]
    # One that was linked before is still called by the contact that it was sent for.
    contact = "c-1" if scene.kind == GROUP else ""
    return LogKey(scene.name, scene.platform, info["conversationLogId"], scene.kind == THREAD, contact)


async def test_what_was_sealed_opens(dumped: tuple[str, Release]) -> None:
    url, release = dumped
    sealer, opened = Sealer(SECRET), 0
    async with upgraded(url) as store:
        for _, log, _ in (await logs_of(store, release)).values():
            for state in RowState:
                for row in await store.read(partial(_rows_in, log.key, state)):
                    if row.payload is not None:
                        assert payloads.open_payload(sealer, log.key, row).contact_type == "contact"
                        opened += 1
            for attempt in await store.read(partial(transactions.list_attempts, log.key)):
                if attempt.body is not None:
                    assert open_body(sealer, log.key, attempt.id, attempt.body)
    assert opened == sum(row[12] is not None for row in held(url)["messageLogs"])


def _rows_in(key: LogKey, state: RowState) -> transactions.Transaction[list[MessageRow]]:
    rows = yield transactions.Query("rows_in_state", {**key_params(key), "state": state, "limit": 100})
    return [row_from(row) for row in rows]


async def test_a_call_that_was_under_way_keeps_its_key(dumped: tuple[str, Release]) -> None:
    url, release = dumped
    compared = 0
    async with upgraded(url) as store:
        for scene, log, rows in (await logs_of(store, release)).values():
            assert log.journal == ""
            under_way = [row for row in rows if row.state in {RowState.CALLING, RowState.UNKNOWN}]
            if under_way:
                texts = [text for text in scene.texts if text in release.keys]
                assert idempotency_key(log, under_way) == release.keys[texts[-1]]
                compared += 1
    assert compared > 50


async def test_the_journal_has_an_id_of_its_own(dumped: tuple[str, Release]) -> None:
    url, _ = dumped
    async with upgraded(url) as store:
        assert len(await store.read(transactions.read_journal_id)) == 8


# ----------------------------------------------------------------------------------------- what goes on


@asynccontextmanager
async def going_on(url: str, release: Release) -> AsyncIterator[tuple[RuntimeFixture, Clock]]:
    """A server on the upgraded database, half an hour later, and the CRM as it was."""
    upgrade(url)
    clock = Clock()
    clock.now = release.now + 1_800_000
    activities = [Activity(**each) for each in release.activities]
    crm = Crm({each.id: each for each in activities}, now=clock, _ids=count(len(activities) + 1))
    first, *others = (each(crm) for each in CONNECTORS)
    more: dict[str, Connector] = {each.name: each for each in others}
    async with runtime_fixture(url, lambda _: first, crm=crm, clock=clock, more=more) as here:
        yield here, clock


PARKED = ("plain",)
"""A connector whose lost creates cannot be reconciled."""


async def test_what_was_under_way_goes_on_once(dumped: tuple[str, Release]) -> None:
    url, release = dumped
    async with going_on(url, release) as (here, clock):
        await run_until_idle(here.runtime, here.store, clock, here.runtime.sweep)
        for scene in release.scenes:
            await here.user(f"{scene.name}/ada", scene.platform)
        await run_until_idle(here.runtime, here.store, clock, here.runtime.sweep)
        for scene, log, rows in (await logs_of(here.store, release)).values():
            states = {row.state for row in rows}
            if "refused" in scene.texts[-1].partition(":")[0]:
                assert RowState.FAILED in states or scene.link == "linked and retried"
            elif scene.platform in PARKED and scene.texts[0].startswith(("lost", "calling")):
                assert states == {RowState.PARKED}
                assert log.state is LogState.PARKED
            else:
                assert states == {RowState.LOGGED}, scene.name
        keys = {text_of(call): call.log.idempotency_key for call in here.crm.calls if call.log is not None}
        assert {
            text: key for text, key in keys.items() if text in release.keys
        }.items() <= release.keys.items()
        assert_once(here.crm, release, unsure=True)


async def test_what_is_sent_again_is_known(dumped: tuple[str, Release]) -> None:
    """The client sends all of it again: nothing is logged a second time, and what had failed is logged."""
    url, release = dumped
    async with going_on(url, release) as (here, clock):
        for scene in release.scenes:
            await here.user(f"{scene.name}/ada", scene.platform)
        await run_until_idle(here.runtime, here.store, clock, here.runtime.sweep)
        for scene in release.scenes:
            for request in scene.requests:
                if not scene.link:
                    await here.send(request, f"{scene.name}/ada", scene.platform)
        await run_until_idle(here.runtime, here.store, clock, here.runtime.sweep)
        assert_once(here.crm, release, unsure=False)
        states = Counter(str(row.state) for row in (await logged_rows(here)))
        assert states.keys() == {"logged", "parked", "failed"}, (
            "of those that were linked, one has failed still"
        )
        assert states["failed"] == 2


NEWS = {DAY: "Not delivered", VOICEMAIL: "Please call me back."}
"""What a record says by now that it did not say when it was sent."""


async def test_news_of_what_was_under_way_comes_once(dumped: tuple[str, Release]) -> None:
    """While calls are unknown the day is sent again, to rows that have no facts: each text has failed by now."""
    url, release = dumped
    scenes = [scene for scene in release.scenes if scene.kind in NEWS and not scene.link]
    async with going_on(url, release) as (here, clock):
        for _ in range(2):
            for scene in scenes:
                await here.send(with_news(scene), f"{scene.name}/ada", scene.platform)
            for scene in release.scenes:
                await here.user(f"{scene.name}/ada", scene.platform)
            await run_until_idle(here.runtime, here.store, clock, here.runtime.sweep)
        assert_once(here.crm, release, unsure=True)
        for scene, log, rows in (await logs_of(here.store, release)).values():
            if scene not in scenes:
                continue
            bodies = [each.body for each in here.crm.activities.values() if each.tenant == scene.name]
            assert len(bodies) <= 1, scene.name
            told = sum(body.count(NEWS[scene.kind]) for body in bodies)
            if log.state is LogState.PARKED:
                assert scene.platform in PARKED
                assert told <= len(scene.texts)
            else:
                assert {row.state for row in rows} == {RowState.LOGGED}, scene.name
                assert told == len(scene.texts), scene.name


def with_news(scene: Scene) -> dict[str, Any]:
    """What the client sends of a scene when texts have failed, and a voicemail is transcribed."""
    made = scene.requests[-1]
    for each in made["logInfo"]["messages"]:
        each["lastModifiedTime"] += LATER
        if scene.kind == VOICEMAIL:
            each["transcript"] = NEWS[VOICEMAIL]
        else:
            each |= {"direction": "Outbound", "messageStatus": "DeliveryFailed"}
            each["from"], each["to"] = JORDAN, [MAYA]
    return made


async def logged_rows(here: RuntimeFixture) -> list[MessageRow]:
    held = [
        await here.store.read(
            partial(transactions.find_logs_of_contact, log.key.tenant, log.key.platform, log.contact_id)
        )
        for log in await here.logs()
    ]
    return [row for logs in held for _, rows in logs for row in rows]


def assert_once(crm: Crm, release: Release, *, unsure: bool) -> None:
    """Each text stands in the CRM once; what was refused, or is parked, perhaps not."""
    for scene in release.scenes:
        bodies = "\n".join(each.body for each in crm.activities.values() if each.tenant == scene.name)
        for text in scene.texts:
            happens = text.partition(":")[0]
            found = bodies.count(text)
            if (happens == "refused" and (unsure or scene.link == "linked")) or scene.platform in PARKED:
                assert found <= 1, text
            else:
                assert found == 1, text
        made = [each for each in crm.activities.values() if each.tenant == scene.name]
        assert len(made) <= 1, scene.name


async def test_a_group_that_was_linked_before_is_moved_when_it_is_linked_again(
    dumped: tuple[str, Release],
) -> None:
    url, release = dumped
    (scene,) = (each for each in release.scenes if each.link == "linked" and each.kind == GROUP)
    async with going_on(url, release) as (here, clock):
        inbox = Inbox(here.store, local_operator("maintainer"), here.context.sealer)
        before = key_of(scene)
        assert before.kind is LogKind.GROUP
        decided = await inbox.link(before, "c-2", "Omar Reyes")
        after = before._replace(group_contact_id="c-2")
        assert decided.conversation_log_id == after.conversation_log_id
        await inbox.retry(after)
        await run_until_idle(here.runtime, here.store, clock, here.runtime.sweep)
        (activity,) = (each for each in here.crm.activities.values() if each.tenant == scene.name)
        assert (activity.contact_id, scene.texts[0] in activity.body) == ("c-2", True)


# ---------------------------------------------------------------------------------- what is a group, and what not


@dataclass(frozen=True)
class Old:
    """A log of the release before: its ids, its contact, and the ids of its messages."""

    log: str
    conversation: str
    contact: str
    messages: tuple[str, ...]
    shared: bool = False
    generation: int = 1

    def insert(self, url: str) -> None:
        run_sql(
            url,
            f"""INSERT INTO "conversationLogs" ("tenant", "platform", "conversationLogId", "conversationId", "shared",
                "contactId", "contactType", "contactName", "pins", "state", "generation", "version", "blocks", "fence",
                "callVersion", "tries", "asks", "createdAt", "updatedAt")
                VALUES ('acme', 'crm', {quoted(self.log)}, {quoted(self.conversation)}, {str(self.shared).lower()},
                {quoted(self.contact)}, 'contact', '', '{{}}', 'open', {self.generation}, 0, '', 1, 0, 0, 0, 1, 1)""",  # noqa: S608 - our own values
        )
        for id_ in self.messages:
            run_sql(
                url,
                f"""INSERT INTO "messageLogs" ("tenant", "platform", "id", "conversationId", "conversationLogId",
                    "userId", "state", "sentAt", "version", "createdAt", "updatedAt") VALUES ('acme', 'crm',
                    {quoted(id_)}, {quoted(self.conversation)}, {quoted(self.log)}, 'ada', 'logged', 1, 0, 1, 1)""",  # noqa: S608 - as above
            )


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


DAY_LOG = "777/7/13/2026"


@pytest.mark.parametrize(
    ("old", "client_log_id", "contact"),
    [
        pytest.param(
            Old(f"{DAY_LOG}-c-1", "777-c-1", "c-1", ("900-c-1", "901-c-1")), DAY_LOG, "c-1", id="a group"
        ),
        pytest.param(
            Old(f"{DAY_LOG}-%_", "777-%_", "%_", ("900-%_",)), DAY_LOG, "%_", id="characters of LIKE"
        ),
        pytest.param(
            Old(f"{DAY_LOG}-c-1", "777-c-1", "c-1", ()), DAY_LOG, "c-1", id="a group without messages"
        ),
        pytest.param(
            Old(f"{DAY_LOG}-c-1", "777-c-1", "c-2", ("900-c-1",), generation=2),
            DAY_LOG,
            "c-1",
            id="a group that was linked",
        ),
        pytest.param(
            Old("777-1/7/13/2026", "777-1", "1", ("9-1",)),
            "777-1/7/13/2026",
            "",
            id="a hyphen in all but one",
        ),
        pytest.param(
            Old("777-c-1", "777-c-1", "c-1", ("900",)),
            "777-c-1",
            "",
            id="ids that end so, and messages do not",
        ),
        pytest.param(
            Old("777-2026-07-14", "777-2026-07-14", "c-2", ("900",), generation=2),
            "777-2026-07-14",
            "",
            id="one that was linked, and is no group",
        ),
        pytest.param(
            Old("777-c-1", "777-c-1", "c-1", ("777-c-1",), shared=True), "777-c-1", "", id="a thread"
        ),
        pytest.param(
            Old("777", "777-c-1", "c-1", ("900",)), "777", "", id="only the conversation's id ends so"
        ),
        pytest.param(Old("-c-1", "-c-1", "c-1", ("-c-1",)), "-c-1", "", id="nothing before the contact"),
    ],
)
def test_a_log_is_a_groups_when_all_its_ids_end_in_the_contact(
    fresh_url: str, old: Old, client_log_id: str, contact: str
) -> None:
    upgrade(fresh_url, BEFORE)
    old.insert(fresh_url)
    upgrade(fresh_url)
    ((*log, shown),) = run_sql(
        fresh_url,
        'SELECT "clientLogId", "shared", "groupContactId", "conversationLogId" FROM "conversationLogs"',
    )
    assert (log, shown) == ([client_log_id, old.shared, contact], old.log)
    rows = run_sql(
        fresh_url, 'SELECT "id", "messageId", "clientLogId", "shared", "groupContactId" FROM "messageLogs"'
    )
    assert sorted(rows) == sorted(
        (id_, id_.removesuffix(f"-{contact}") if contact else id_, client_log_id, old.shared, contact)
        for id_ in old.messages
    )


def test_a_message_without_a_log_stays(fresh_url: str) -> None:
    upgrade(fresh_url, BEFORE)
    Old(DAY_LOG, "777", "c-1", ("900",)).insert(fresh_url)
    run_sql(fresh_url, 'DELETE FROM "conversationLogs"')
    upgrade(fresh_url)
    assert run_sql(fresh_url, 'SELECT "messageId", "clientLogId", "groupContactId" FROM "messageLogs"') == [
        ("900", DAY_LOG, "")
    ]
