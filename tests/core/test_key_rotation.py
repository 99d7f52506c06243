"""Secret keys change under a runtime: what was logged before is recognised, and what waits is logged."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from messagelog.core import Times
from messagelog.storage import KeysDamaged, KeysLocked, Sealer, open_store, with_stored_keys
from messagelog.storage.encryption.rotation import count_by_key, rotate
from storage.journal import Clock, everything, run_sql
from support.memory_crm import Crm, Finding, lost
from support.requests import body, message
from support.runtime_fixture import SECRET, runtime_fixture
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from messagelog.storage import Store

NEW = "the secret key that comes after, 0123456789"
LATER = "the secret key that comes last of all, 987"
FAST = Times(answer=0.3, call=5, lease=60)
PLACES = ("text 1", "text 2", "text 3")


@asynccontextmanager
async def stores(url: str, count: int = 1) -> AsyncIterator[list[Store]]:
    opened: list[Store] = [await open_store(url) for _ in range(count)]
    try:
        yield opened
    finally:
        for store in opened:
            await store.close()


async def rotated(url: str, secret: str, *old: str) -> None:
    async with stores(url) as (store,):
        await rotate(store, Sealer(secret, old))
        counts = await count_by_key(store)
    assert {key_id for of_table in counts.values() for key_id in of_table} <= {Sealer(secret).key_id}


async def amended(url: str, crm: Crm, *secrets: str) -> str:
    """The activity, after a message was added whose time lies between two that were logged before."""
    async with runtime_fixture(url, crm=crm, secrets=secrets) as here:
        answer = await here.send(body(message(1), message(2), message(3)))
        assert set(answer.log_ids) <= {"1", "2", "3"}
        await here.runtime.idle()
        assert set((await here.states()).values()) == {"logged"}
    return crm.only.body


async def logged_before(url: str, crm: Crm) -> None:
    async with runtime_fixture(url, crm=crm) as here:
        await here.send(body(message(1), message(3)))


def thread(number: int) -> dict[str, Any]:
    """Three messages of a conversation of their own."""
    messages = (message(number * 100 + place, text) for place, text in enumerate(PLACES))
    return body(*messages, conversation=f"c{number}")


def in_order(text: str) -> bool:
    places = [text.find(each) for each in PLACES]
    return places == sorted(places) and [text.count(each) for each in PLACES] == [1, 1, 1]


async def test_entries_of_before_a_rotation_are_recognised_after_it(database_url: str) -> None:
    crm = Crm()
    await logged_before(database_url, crm)
    async with runtime_fixture(database_url, crm=crm, secrets=(NEW, SECRET)) as between:
        await between.send(body(message(1), message(3)))
    await rotated(database_url, NEW, SECRET)
    assert in_order(await amended(database_url, crm, NEW))
    await rotated(database_url, LATER, NEW)
    assert in_order(await amended(database_url, crm, LATER)), "and after the next one"
    assert crm.count("create") == 1
    assert crm.count("update") == 2


async def test_without_the_stored_keys_they_are_not(database_url: str) -> None:
    """What the test above would see if a rotation changed the keys of hashes."""
    crm = Crm()
    await logged_before(database_url, crm)
    run_sql(database_url, 'DELETE FROM "keys"')
    run_sql(database_url, 'UPDATE "users" SET "credentials" = NULL')
    assert not in_order(await amended(database_url, crm, NEW))


async def test_a_secret_that_changed_together_with_the_upgrade_is_found_out(database_url: str) -> None:
    """A database from before there were stored keys, and the first start has two secrets already."""
    crm = Crm()
    await logged_before(database_url, crm)
    run_sql(database_url, 'DELETE FROM "keys"')
    assert in_order(await amended(database_url, crm, NEW, LATER, SECRET))


async def test_what_waits_is_logged_after_a_rotation(database_url: str) -> None:
    crm, clock = Crm(before=lost), Clock()
    async with runtime_fixture(database_url, Finding, crm=crm, settings=FAST, clock=clock) as here:
        await here.send(body(message(1, "it waits")))
        assert await here.states() == {"1": "unknown"}
    crm.before = None
    await rotated(database_url, NEW, SECRET)
    async with runtime_fixture(
        database_url, Finding, crm=crm, secrets=(NEW,), settings=FAST, clock=clock
    ) as again:
        clock.forward(10_000)
        assert await again.runtime.sweep() == 1
        await again.runtime.idle()
        await again.send(body(message(1, "it waits"), message(2, "it comes after")))
        assert set((await again.states()).values()) == {"logged"}
    assert (crm.only.body.count("it waits"), crm.only.body.count("it comes after")) == (1, 1)


async def test_a_rotation_while_messages_are_logged_loses_none(database_url: str) -> None:
    """Servers with the new secret and with the old one work on, as they do while one after the other is restarted."""
    crm = Crm(delay=0.002)
    both = (SECRET, NEW), (NEW, SECRET)
    async with (
        runtime_fixture(database_url, crm=crm, secrets=both[0], settings=FAST) as one,
        runtime_fixture(database_url, crm=crm, secrets=both[1], settings=FAST) as other,
        stores(database_url) as (store,),
    ):
        for here in (one, other):
            await here.user()
        requests = [
            asyncio.create_task(here.send(thread(number))) for number in range(12) for here in (one, other)
        ]
        while not all(request.done() for request in requests):
            await rotate(store, Sealer(NEW, [SECRET]), batch=3)
            await asyncio.sleep(
                0
            )  # SQLite's reads are done within a turn of the loop, and others want theirs
        await asyncio.gather(*requests)
        await one.runtime.idle()
        await other.runtime.idle()
        assert set((await one.states()).values()) == {"logged"}
    assert len(crm.activities) == 12
    assert all(in_order(activity.body) for activity in crm.activities.values())
    await rotated(database_url, NEW, SECRET)


# ---------------------------------------------------------------------------------------------- starting


async def test_all_who_start_at_once_have_the_same_keys(database_url: str) -> None:
    """Even when one of them has another newest secret already: the first to write decides."""
    sealers = [Sealer(SECRET, [NEW]), Sealer(NEW, [SECRET])] * 3
    async with stores(database_url, len(sealers)) as opened:
        keyed = await asyncio.gather(*map(with_stored_keys, opened, sealers))
    assert len({(each.entry_key, each.account_key) for each in keyed}) == 1
    assert keyed[0].entry_key in {Sealer(SECRET).entry_key, Sealer(NEW).entry_key}


async def test_a_first_start_keeps_the_keys_that_were_used_so_far(database_url: str) -> None:
    async with stores(database_url) as (store,):
        keyed = await with_stored_keys(store, Sealer(SECRET))
        assert (keyed.entry_key, keyed.account_key) == (Sealer(SECRET).entry_key, Sealer(SECRET).account_key)
        again = await with_stored_keys(store, Sealer(NEW, [LATER, SECRET]))
        assert (again.entry_key, again.account_key) == (keyed.entry_key, keyed.account_key)


@pytest.mark.parametrize("stored", [True, False], ids=["keys are stored", "a database of before"])
async def test_nothing_starts_with_another_secret(database_url: str, stored: bool) -> None:
    async with runtime_fixture(database_url) as here:
        await here.user()
    if not stored:
        run_sql(database_url, 'DELETE FROM "keys"')
    before = everything(database_url), run_sql(database_url, 'SELECT * FROM "keys"')
    with pytest.raises(KeysLocked) as locked:
        async with runtime_fixture(database_url, secrets=(NEW, LATER)):
            pass
    assert locked.value.key_ids == (Sealer(SECRET).key_id.hex(),)
    assert SECRET not in str(locked.value)
    assert (everything(database_url), run_sql(database_url, 'SELECT * FROM "keys"')) == before


async def test_nothing_starts_when_an_old_secret_was_taken_away_too_early(database_url: str) -> None:
    """Even when the rotation had come as far as to the stored keys."""
    async with runtime_fixture(database_url) as here:
        await here.user()
    async with runtime_fixture(database_url, secrets=(NEW, SECRET)):
        pass
    with pytest.raises(KeysLocked):
        async with runtime_fixture(database_url, secrets=(NEW,)):
            pass
    await rotated(database_url, NEW, SECRET)
    async with runtime_fixture(database_url, secrets=(NEW,)):
        pass


async def test_an_altered_key_is_told_from_another_secret(database_url: str) -> None:
    async with stores(database_url) as (store,):
        await with_stored_keys(store, Sealer(SECRET))
        run_sql(
            database_url,
            'UPDATE "keys" SET "sealed" = (SELECT "sealed" FROM "keys" AS other WHERE other."purpose" = \'accounts\')',
        )
        with pytest.raises(KeysDamaged, match="entries"):
            await with_stored_keys(store, Sealer(SECRET))


async def test_sessions_at_the_crm_go_on(database_url: str) -> None:
    crm = Crm()
    async with runtime_fixture(database_url, crm=crm) as here:
        user = await here.user()
        await here.send(body(message(1)))
    await rotated(database_url, NEW, SECRET)
    async with runtime_fixture(database_url, crm=crm, secrets=(NEW,)) as after:
        after.users["memory:acme/ada"] = user
        assert (await after.send(body(message(2)))).log_ids == ["2"]
        await until(lambda: crm.count("update") == 1)
