"""The `state` of OAuth: signed, valid once, for ten minutes and one platform; and the PKCE secret that belongs to it.

Nothing is stored when a sign-in begins, since anyone may begin as many as they like. A used state is remembered.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from messagelog.errors import MessagelogError
from messagelog.server.auth.jwt import sign, verify
from messagelog.storage import transactions

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.storage import SigningKeys, Store

_ISSUER: Final = "messagelog oauth"
_SECONDS: Final = 600
_REMEMBERED_SECONDS: Final = 3600  # longer than it is valid, since the database has a clock of its own


class BadState(MessagelogError):
    """The state is none of ours."""


class SignInRefused(MessagelogError):
    """The state is ours, but the sign-in cannot be completed with it; `words` tell the user why."""

    words: ClassVar[str]


class StaleState(SignInRefused):
    """The state has expired or was already used."""

    words = "This sign-in took too long, or was used before. Please connect again."


class OtherUser(SignInRefused):
    """One RingCentral user began the sign-in, and another one completes it."""

    words = "This sign-in was begun by another RingCentral user. Please connect again."


@dataclass(frozen=True, slots=True)
class RingCentralUser:
    """The user and the account that a client names, as hashes of `GET /userInfoHash`; empty if it names none."""

    extension: str = ""
    account: str = ""


@dataclass(frozen=True, slots=True)
class OAuthState:
    """A sign-in that has begun: its platform, and the secret (PKCE's `code_verifier`) that only we can derive."""

    platform: str
    id: str
    verifier: str = field(repr=False)

    @property
    def challenge(self) -> str:
        """PKCE's `code_challenge` (S256)."""
        return _base64url(hashlib.sha256(self.verifier.encode()).digest())


class OAuthStates:
    """Issues states, and accepts each of them once. `clock` gives epoch seconds."""

    def __init__(self, keys: SigningKeys, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._store = store
        self._clock = clock

    def issue(self, platform: str, user: RingCentralUser | None = None) -> tuple[str, OAuthState]:
        """Return a state for the authorization URL, and its meaning. `user` is who begins, if the client names them."""
        id_ = secrets.token_urlsafe(16)
        claims = {
            "iss": _ISSUER,
            "jti": id_,
            "platform": platform,
            "exp": int(self._clock()) + _SECONDS,
        }
        claims |= self._user_marks(user or RingCentralUser(), id_, self._keys.newest)
        return sign(claims, self._keys), self._state(platform, id_, self._keys.newest)

    async def take(self, text: str, user: RingCentralUser | None = None) -> OAuthState:
        """Use up a state, and return its meaning. `user` is who completes the sign-in.

        Raises `BadState`, `StaleState` and `OtherUser`; none of them uses the state up.
        """
        signed = verify(text, self._keys, issuer=_ISSUER, required=("jti",))
        if signed is None:
            raise BadState
        claims = signed.claims
        if claims["exp"] <= self._clock():
            raise StaleState
        marks = self._user_marks(user or RingCentralUser(), claims["jti"], signed.key_id)
        if any(claims.get(name, mark) != mark for name, mark in marks.items()):
            raise OtherUser  # a user who is named only once cannot be compared
        remembered = int((claims["exp"] + _REMEMBERED_SECONDS) * 1000)
        if not await self._store.write(lambda: transactions.use_state(claims["jti"], remembered)):
            raise StaleState
        return self._state(claims["platform"], claims["jti"], signed.key_id)

    def _user_marks(self, user: RingCentralUser, id_: str, key_id: str) -> dict[str, str]:
        """Return the marks of a named user in a state. They differ in every state, since the CRM sees them."""
        named = {"extension": user.extension, "account": user.account}
        key = self._keys.by_id[key_id]
        return {
            name: hashlib.blake2b(
                f"{id_}:{name}:{value}".encode("utf-8", "replace"),
                key=key,
                person=b"who begins",
                digest_size=16,
            ).hexdigest()
            for name, value in named.items()
            if value
        }

    def _state(self, platform: str, id_: str, key_id: str) -> OAuthState:
        # Derived, so that it need be neither stored nor sent through the browser.
        key = self._keys.by_id[key_id]
        secret = hashlib.blake2b(id_.encode(), key=key, person=b"pkce verifier", digest_size=32)
        return OAuthState(platform, id_, _base64url(secret.digest()))


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
