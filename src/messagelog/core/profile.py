"""What the CRM says of a user, brought up to date without a new sign-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.storage import UserRow, scripts

if TYPE_CHECKING:
    from messagelog.connectors import UserInfo
    from messagelog.core.users import User
    from messagelog.storage import Store


async def refresh_profile(store: Store, user: User, info: UserInfo) -> bool:
    """Keeps the name and the time zone that the CRM says now; False, and nothing kept, when it means somebody else.

    Credentials stay as they are.
    """
    if (info.tenant, info.id) != (user.tenant, user.id):
        return False
    offset = None if info.timezone_offset is None else str(info.timezone_offset)
    row = UserRow(user.tenant, user.platform, user.id, info.name, user.hostname, info.timezone, offset, None)
    await store.write(lambda: scripts.refresh_user(row))
    return True
