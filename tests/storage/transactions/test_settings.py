"""Settings are kept one by one, for a user and for all users of a tenant."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from messagelog.storage import transactions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from messagelog.storage import Store

ADA = ("acme", "crm", "u-ada")


async def change(
    store: Store,
    changed: Mapping[str, str],
    removed: Iterable[str] = (),
    who: tuple[str, str, str] = ADA,
) -> None:
    await store.write(lambda: transactions.change_user_settings(*who, changed, removed))


async def read(store: Store, who: tuple[str, str, str] = ADA) -> tuple[dict[str, str], dict[str, str]]:
    return await store.read(lambda: transactions.read_settings(*who))


async def test_nobody_has_settings_at_first(store: Store) -> None:
    assert await read(store) == ({}, {})


async def test_a_change_leaves_other_settings_alone(store: Store) -> None:
    await change(store, {"a": "1", "b": "2"})
    await change(store, {"b": "3", "c": "4"})
    assert (await read(store))[0] == {"a": "1", "b": "3", "c": "4"}


async def test_a_removed_setting_is_gone_even_if_it_is_written_too(store: Store) -> None:
    await change(store, {"a": "1", "b": "2"})
    await change(store, {"a": "5"}, ["a", "never there"])
    assert (await read(store))[0] == {"b": "2"}


async def test_users_tenants_and_platforms_have_their_own(store: Store) -> None:
    await change(store, {"a": "1"})
    for other in (("acme", "crm", "u-otto"), ("globex", "crm", "u-ada"), ("acme", "other", "u-ada")):
        assert await read(store, other) == ({}, {})
        await change(store, {"a": "2"}, who=other)
    assert (await read(store))[0] == {"a": "1"}


async def test_the_operators_settings_are_for_all_users_of_a_tenant(store: Store) -> None:
    await store.write(lambda: transactions.change_admin_settings("acme", "crm", {"a": "1", "b": "2"}, ()))
    await store.write(lambda: transactions.change_admin_settings("acme", "crm", {"a": "3"}, ["b"]))
    assert await store.read(lambda: transactions.find_admin_settings("acme", "crm")) == {"a": "3"}
    assert await read(store) == ({}, {"a": "3"})
    assert await read(store, ("acme", "crm", "u-otto")) == ({}, {"a": "3"})
    assert await read(store, ("globex", "crm", "u-ada")) == ({}, {})


async def test_changes_at_once_do_not_undo_each_other(store: Store) -> None:
    both = {"a": "1", "b": "1"}
    await asyncio.gather(
        *(change(store, {**dict(reversed(both.items())), f"s{n}": str(n)}) for n in range(10)),
        *(change(store, {**both, f"t{n}": str(n)}) for n in range(10)),
    )
    own, _ = await read(store)
    assert own.keys() == {"a", "b"} | {f"{letter}{n}" for letter in "st" for n in range(10)}
