"""RingCentral's ids of a user and an account, as keyed hashes: how the client names both, and how they are read.

Nobody has proved them: they are good for telling two users apart, and for nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final

from messagelog.server.auth.oauth_state import RingCentralUser
from messagelog.server.requests import context_of, query_values

if TYPE_CHECKING:
    from starlette.requests import Request

LONGEST_ID: Final = 64

_HASH: Final = re.compile(r"[0-9a-f]{64}")


def id_hash(key: bytes, name: str, value: str) -> str:
    """Return the hash of an id (`extensionId` or `accountId`): 64 hexadecimal digits that tell nobody the id."""
    return hmac.new(key, f"{name}:{value}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def user_at_start(request: Request) -> RingCentralUser:
    """Return who begins a sign-in, by the query, where ids may stand unhashed: a window sends no headers of ours."""
    query, key = query_values(request), context_of(request).account_key

    def to_hash(name: str, value: str) -> str:
        if not value or _HASH.fullmatch(value) is not None or len(value) > LONGEST_ID:
            return value[:LONGEST_ID]
        return id_hash(key, name, value)

    return RingCentralUser(
        to_hash("extensionId", query.get("rcExtensionId", "")),
        to_hash("accountId", query.get("rcAccountId", "")),
    )


def user_at_end(request: Request) -> RingCentralUser:
    """Return who ends a sign-in, by the headers that the client sends along with everything."""
    return RingCentralUser(
        request.headers.get("rc-extension-id", ""), request.headers.get("rc-account-id", "")
    )
