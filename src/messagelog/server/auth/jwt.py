"""Signed texts of ours (JWT, HS256): session tokens, and the states of OAuth. The head names the key that signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import jwt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from messagelog.storage import SigningKeys

_ALGORITHM: Final = "HS256"
_LONGEST: Final = 8_192
"""Longer texts are not ours, and are refused unread. In characters."""


@dataclass(frozen=True, slots=True)
class SignedClaims:
    """The claims of a text whose signature is good, and the id of the key that made it."""

    claims: dict[str, Any]
    key_id: str


def sign(claims: Mapping[str, Any], keys: SigningKeys) -> str:
    """Return the claims, signed with the newest key."""
    head = {"kid": keys.newest}
    return jwt.encode(dict(claims), keys.signing, algorithm=_ALGORITHM, headers=head)


def verify(text: str, keys: SigningKeys, *, issuer: str, required: Iterable[str]) -> SignedClaims | None:
    """Return the claims; None if the signature is not by one of our keys, the issuer is another, or a claim is missing.

    The time of expiry is not checked. A text that names its key is only tried with that key, an older text without a
    name with each key.
    """
    if len(text) > _LONGEST:
        return None
    for key_id in _candidate_key_ids(text, keys):
        try:
            claims = jwt.decode(
                text,
                keys.by_id[key_id],
                algorithms=[_ALGORITHM],
                issuer=issuer,
                options={
                    "require": ["exp", "iss", *required],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidSignatureError:
            continue
        except (jwt.InvalidTokenError, RecursionError):  # the latter: its claims are JSON, nested too deep
            return None
        return SignedClaims(claims, key_id)
    return None


def _candidate_key_ids(text: str, keys: SigningKeys) -> Iterable[str]:
    """Return the ids of the keys that may have made the signature."""
    try:
        head = jwt.get_unverified_header(text)
    except (jwt.InvalidTokenError, RecursionError):  # the latter: its head is JSON, nested too deep
        return ()
    if "kid" not in head:
        return keys.by_id
    key_id = head["kid"]
    return (key_id,) if key_id in keys.by_id else ()
