"""Reads and writes the users of connectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.storage.rows import UserRow
from messagelog.storage.scripts.asking import Do, Fetch, Params

if TYPE_CHECKING:
    from messagelog.storage.scripts.asking import Script


def find_user(tenant: str, platform: str, id_: str) -> Script[UserRow | None]:
    """The user, or None."""
    rows = yield Fetch("find_user", {"tenant": tenant, "platform": platform, "id": id_})
    return UserRow(tenant, platform, id_, *rows[0]) if rows else None


def save_user(user: UserRow) -> Script[None]:
    """Writes the user, over what was there."""
    yield Do("save_user", [_user_params(user)])


def refresh_user(user: UserRow) -> Script[None]:
    """Writes the user's name and time zone; her credentials and all the rest stay as they are."""
    told = ("tenant", "platform", "id", "name", "timezone", "timezone_offset")
    params = _user_params(user)
    yield Do("refresh_user", [{name: params[name] for name in told}])


def _user_params(user: UserRow) -> Params:
    return {
        "tenant": user.tenant,
        "platform": user.platform,
        "id": user.id,
        "name": user.name,
        "hostname": user.hostname,
        "timezone": user.timezone,
        "timezone_offset": user.timezone_offset,
        "credentials": user.credentials,
    }
