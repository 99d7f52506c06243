"""RingCentral's ids of a user and an account as keyed hashes, by which the client names both.

They are not proved: they can tell two users apart, and serve for nothing else.
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
    """Return the keyed hash of an id (`extensionId` or `accountId`): 64 hexadecimal digits."""
    return hmac.new(key, f"{name}:{value}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def user_at_start(request: Request) -> RingCentralUser:
    """Return who begins a sign-in, from the query: a window sends no headers of ours, and its ids may be unhashed."""
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
    """Return who completes a sign-in, from the headers that the client sends with each request."""
    return RingCentralUser(
        request.headers.get("rc-extension-id", ""), request.headers.get("rc-account-id", "")
    )
