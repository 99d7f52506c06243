"""Reads and writes settings: a user's own, and those that the operator made for all users of a tenant.

A setting is a row, so that two changes at the same time do not undo each other. Its value is JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.storage.transactions.commands import Batch, Execute, Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from messagelog.storage.transactions.commands import Params, Transaction

Settings = dict[str, str]
"""JSON by the setting's id."""


def read_settings(tenant: str, platform: str, user_id: str) -> Transaction[tuple[Settings, Settings]]:
    """Return the user's own settings, and those for all users of the tenant."""
    whose: Params = {"tenant": tenant, "platform": platform}
    own, admins = yield Batch(
        Query("user_settings", {**whose, "user": user_id}), Query("admin_settings", whose)
    )
    return dict(own), dict(admins)


def change_user_settings(
    tenant: str,
    platform: str,
    user_id: str,
    changed: Mapping[str, str],
    removed: Iterable[str],
    *,
    check: Callable[[Settings, Settings], None] | None = None,
) -> Transaction[None]:
    """Write some of a user's settings, remove others, and leave the rest alone.

    `check` is given the settings before and after; nothing is changed if it raises. Changes of one user run one after
    the other, so that it sees those of all processes.
    """
    whose: Params = {"tenant": tenant, "platform": platform, "user": user_id}
    removed = frozenset(removed)
    if check is not None:
        yield Query("lock_user", {"tenant": tenant, "platform": platform, "id": user_id})
        before = dict((yield Query("user_settings", whose)))
        after = {id_: text for id_, text in {**before, **changed}.items() if id_ not in removed}
        check(before, after)
    yield Batch(*_changes("user", whose, changed, removed))


def find_admin_settings(tenant: str, platform: str) -> Transaction[Settings]:
    """Return the settings for all users of a tenant."""
    rows = yield Query("admin_settings", {"tenant": tenant, "platform": platform})
    return dict(rows)


def change_admin_settings(
    tenant: str, platform: str, changed: Mapping[str, str], removed: Iterable[str]
) -> Transaction[None]:
    """Write some of the settings for all users of a tenant, remove others, and leave the rest alone."""
    whose: Params = {"tenant": tenant, "platform": platform}
    yield Batch(*_changes("admin", whose, changed, removed))


def _changes(kind: str, whose: Params, changed: Mapping[str, str], removed: Iterable[str]) -> list[Execute]:
    """Return the commands in the order of the ids, so that two changes of the same settings cannot deadlock."""
    kept = {setting_id: setting for setting_id, setting in changed.items() if setting_id not in set(removed)}
    return [
        Execute(f"drop_{kind}_setting", [{**whose, "setting_id": id_} for id_ in sorted(set(removed))]),
        Execute(
            f"save_{kind}_setting",
            [{**whose, "setting_id": id_, "setting": kept[id_]} for id_ in sorted(kept)],
        ),
    ]
