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
_MOST_CHECKED: Final = 4096


@dataclass(frozen=True, slots=True)
class Claims:
    """Whom a token stands for."""

    tenant: str
    platform: str
    id: str


class Tokens:
    """Issues tokens and reads them. `clock` gives epoch seconds."""

    def __init__(self, key: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock
        self._checked: OrderedDict[str, tuple[Claims, int]] = OrderedDict()

    def issue(self, user: User) -> str:
        """A token for the user, for two weeks from now."""
        now = int(self._clock())
        claims = {
            "iss": _ISSUER,
            "id": user.id,
            "platform": user.platform,
            "tenant": user.tenant,
            "iat": now,
            "exp": now + _SECONDS,
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def read(self, token: str) -> Claims | None:
        """Whom the token stands for; None when it is forged, expired, of another issuer, or no token at all.

        A signature that was found good is not checked again; when the token expires is.
        """
        checked = self._checked.get(token) or self._check(token)
        if checked is None:
            return None
        claims, expires = checked
        if expires <= self._clock():
            self._checked.pop(token, None)
            return None
        return claims

    def _check(self, token: str) -> tuple[Claims, int] | None:
        """Claims and end of a token whose signature is good."""
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
        expires = claims["exp"]
        if not (isinstance(tenant, str) and isinstance(platform, str) and isinstance(id_, str)):
            return None
        if not isinstance(expires, int):
            return None
        self._checked[token] = checked = Claims(tenant, platform, id_), expires
        if len(self._checked) > _MOST_CHECKED:
            self._checked.popitem(last=False)
        return checked
