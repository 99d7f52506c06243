"""RingCentral's ids of a user and an account, as keyed hashes: how the client names both, and how it is read."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final

from messagelog.server.http import assembly_of, query_values
from messagelog.server.states import RingCentralUser

if TYPE_CHECKING:
    from starlette.requests import Request

LONGEST_ID: Final = 64

_HASH: Final = re.compile(r"[0-9a-f]{64}")


def hashed_id(key: bytes, name: str, value: str) -> str:
    """Return the hash of an id (`extensionId` or `accountId`): 64 hexadecimal digits that tell nobody the id."""
    return hmac.new(key, f"{name}:{value}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def named_user(request: Request) -> RingCentralUser:
    """Return who a request says it is of, by its headers or else by its query, where an id may stand unhashed.

    Nobody has proved it: it is good for telling two users apart, and for nothing else.
    """
    query = query_values(request)

    def named(what: str) -> str:
        said = request.headers.get(f"rc-{what}-id") or query.get(f"rc{what.capitalize()}Id", "")
        if not said or _HASH.fullmatch(said) is not None or len(said) > LONGEST_ID:
            return said[:LONGEST_ID]
        return hashed_id(assembly_of(request).account_key, f"{what}Id", said)

    return RingCentralUser(named("extension"), named("account"))
