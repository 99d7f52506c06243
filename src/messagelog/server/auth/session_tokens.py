"""The session tokens of the client: JWT, HS256, two weeks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cachetools import LRUCache

from messagelog.server.auth.jwt import sign, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.core import User
    from messagelog.storage import SigningKeys

_ISSUER: Final = "messagelog"
_SECONDS: Final = 14 * 24 * 3600
_RENEW_SECONDS: Final = 7 * 24 * 3600
_MOST_CACHED: Final = 4096


@dataclass(frozen=True, slots=True)
class Claims:
    """The user and the session of a token, its end (epoch seconds), and the key that signed it.

    `session_id` is empty in tokens that are older than sessions.
    """

    tenant: str
    platform: str
    id: str
    session_id: str
    expires: int
    key_id: str


class SessionTokens:
    """Issues tokens and reads them. `clock` gives epoch seconds."""

    def __init__(self, keys: SigningKeys, *, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._clock = clock
        self._cache: LRUCache[str, Claims] = LRUCache(_MOST_CACHED)

    def issue(self, user: User) -> str:
        """Return a token for the user, valid for two weeks from now."""
        now = int(self._clock())
        claims = {
            "iss": _ISSUER,
            "id": user.id,
            "platform": user.platform,
            "tenant": user.tenant,
            "sid": user.session_id,
            "iat": now,
            "exp": now + _SECONDS,
        }
        return sign(claims, self._keys)

    def read(self, token: str) -> Claims | None:
        """Return the claims of a token; None if it is forged, expired, of another issuer, or no token at all.

        A good signature is not verified again; the time of expiry is checked each time.
        """
        claims = self._cache.get(token) or self._verify(token)
        if claims is None:
            return None
        if claims.expires <= self._clock():
            self._cache.pop(token, None)
            return None
        return claims

    def renewal(self, user: User, claims: Claims) -> str | None:
        """Return a new token if this one ends within a week, or an old key has signed it; None otherwise."""
        old = claims.key_id != self._keys.newest
        return self.issue(user) if old or claims.expires - self._clock() <= _RENEW_SECONDS else None

    def _verify(self, token: str) -> Claims | None:
        """Return the claims of a token, and cache them if its signature is good."""
        signed = verify(token, self._keys, issuer=_ISSUER, required=("iat",))
        if signed is None:
            return None
        claims = signed.claims
        tenant, platform, id_ = claims.get("tenant"), claims.get("platform"), claims.get("id")
        session_id, expires = claims.get("sid", ""), claims["exp"]
        if not (isinstance(tenant, str) and isinstance(platform, str) and isinstance(id_, str)):
            return None
        if not (isinstance(session_id, str) and isinstance(expires, int)):
            return None
        verified = Claims(tenant, platform, id_, session_id, expires, signed.key_id)
        self._cache[token] = verified
        return verified
