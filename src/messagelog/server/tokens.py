"""The session tokens of the client: JWT, HS256, two weeks."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import jwt

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.core import User

_ALGORITHM: Final = "HS256"
_ISSUER: Final = "messagelog"
_SECONDS: Final = 14 * 24 * 3600
_RENEWED_SECONDS: Final = 7 * 24 * 3600
_MOST_CHECKED: Final = 4096


@dataclass(frozen=True, slots=True)
class Claims:
    """Whom a token stands for, in which session of hers, until when (epoch seconds).

    Tokens of before there were sessions that end have none: an empty one.
    """

    tenant: str
    platform: str
    id: str
    session_id: str
    expires: int


class Tokens:
    """Issues tokens and reads them. `clock` gives epoch seconds."""

    def __init__(self, key: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock
        self._checked: OrderedDict[str, Claims] = OrderedDict()

    def issue(self, user: User) -> str:
        """A token for the user, for two weeks from now."""
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
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def read(self, token: str) -> Claims | None:
        """Whom the token stands for; None when it is forged, expired, of another issuer, or no token at all.

        A signature that was found good is not checked again; when the token expires is.
        """
        claims = self._checked.get(token) or self._check(token)
        if claims is None:
            return None
        if claims.expires <= self._clock():
            self._checked.pop(token, None)
            return None
        return claims

    def renewed(self, user: User, claims: Claims) -> str | None:
        """A new token in place of one that ends within a week; None while that is far off."""
        return self.issue(user) if claims.expires - self._clock() <= _RENEWED_SECONDS else None

    def _check(self, token: str) -> Claims | None:
        """The claims of a token whose signature is good."""
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                issuer=_ISSUER,
                options={"require": ["exp", "iat", "iss"], "verify_exp": False, "verify_iat": False},
            )
        except (
            jwt.InvalidTokenError,
            RecursionError,
        ):  # the latter: its head is JSON that is nested too deep
            return None
        tenant, platform, id_ = claims.get("tenant"), claims.get("platform"), claims.get("id")
        session_id, expires = claims.get("sid", ""), claims["exp"]
        if not (isinstance(tenant, str) and isinstance(platform, str) and isinstance(id_, str)):
            return None
        if not (isinstance(session_id, str) and isinstance(expires, int)):
            return None
        self._checked[token] = checked = Claims(tenant, platform, id_, session_id, expires)
        if len(self._checked) > _MOST_CHECKED:
            self._checked.popitem(last=False)
        return checked
