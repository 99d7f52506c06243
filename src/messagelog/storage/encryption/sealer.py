"""Seals message text and CRM credentials with AES-256-GCM, bound to the row that they belong to."""

from __future__ import annotations

import copy
import functools
import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from messagelog.errors import MessagelogError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FORMAT: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_HEAD: Final = 1 + _KEY_ID_BYTES


class SealBroken(MessagelogError):
    """Sealed bytes that cannot be opened: another secret key, another row, or altered bytes."""


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """Keys for one purpose, each derived from a secret, by the secret's key id in hex; `newest` signs."""

    newest: str
    by_id: Mapping[str, bytes] = field(repr=False)

    @property
    def signing(self) -> bytes:
        """The key that signs."""
        return self.by_id[self.newest]


@dataclass(frozen=True, slots=True)
class DataKeys:
    """Keys of hashes that stay in the database, or with clients, for longer than a secret may."""

    entries: bytes = field(repr=False)
    accounts: bytes = field(repr=False)


class Sealer:
    """Seals with a key derived from the newest secret, and opens with those of the old ones too.

    A sealed value is: format (1 byte), key id (4), nonce (12), ciphertext and tag. The context (table, tenant,
    platform, id) is authenticated with it, so that a value copied to another row does not open there.

    `entry_key` and `account_key` come from the newest secret until `keyed` puts the stored ones in their place.
    """

    def __init__(self, secret: str, old_secrets: Sequence[str] = ()) -> None:
        self._secrets: dict[bytes, str] = {}
        for each in (secret, *old_secrets):
            if self._secrets.setdefault(_key_id(each), each) != each:
                raise ValueError("two secret keys have the same key id: choose another one")
        self._ciphers = {
            id_: AESGCM(_derive(each, b"messagelog seal", 32)) for id_, each in self._secrets.items()
        }
        self.key_id = _key_id(secret)
        self._cipher = self._ciphers[self.key_id]
        self.token_keys = self._signing_keys(b"messagelog session token")
        self.state_keys = self._signing_keys(b"messagelog oauth state")
        derived = self.derive_keys(self.key_id)
        self.entry_key, self.account_key = derived.entries, derived.accounts

    @property
    def key_ids(self) -> tuple[bytes, ...]:
        """The ids of all keys that can open, the newest first."""
        return tuple(self._secrets)

    @property
    def audit_key(self) -> bytes:
        """The key of pseudonyms in the audit's record, which stay as they are when a secret is changed."""
        return hashlib.blake2b(b"messagelog audit pseudonym", key=self.account_key, digest_size=32).digest()

    def with_keys(self, keys: DataKeys) -> Sealer:
        """The same with these keys of hashes."""
        made = copy.copy(self)
        made.entry_key, made.account_key = keys.entries, keys.accounts
        return made

    def derive_keys(self, key_id: bytes) -> DataKeys:
        """Return the keys of hashes as they were derived from one of the secrets before they were stored."""
        secret = self._secrets[key_id]
        return DataKeys(
            _derive(secret, b"messagelog entry hash", 32), _derive(secret, b"messagelog account hash", 32)
        )

    def seal(self, text: bytes, *context: str) -> bytes:
        """Return the sealed form of `text`, to be opened with the same context only."""
        nonce = os.urandom(_NONCE_BYTES)
        return _FORMAT + self.key_id + nonce + self._cipher.encrypt(nonce, text, _encode_context(context))

    def open(self, sealed: bytes, *context: str) -> bytes:
        """Return the text. Raises `SealBroken` for an unknown key id, another context, or altered bytes."""
        sealed = bytes(sealed)
        cipher = self._ciphers.get(sealed[1:_HEAD])
        if cipher is None or sealed[:1] != _FORMAT:
            raise SealBroken("it was sealed with another secret key")
        nonce, ciphertext = sealed[_HEAD : _HEAD + _NONCE_BYTES], sealed[_HEAD + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, ciphertext, _encode_context(context))
        except (InvalidTag, ValueError) as error:  # ValueError: cut off within the nonce
            raise SealBroken("its bytes were altered, or it belongs to another row") from error

    def _signing_keys(self, purpose: bytes) -> SigningKeys:
        keys = {id_.hex(): _derive(secret, purpose, 32) for id_, secret in self._secrets.items()}
        return SigningKeys(self.key_id.hex(), keys)


def key_id_of(sealed: bytes) -> bytes:
    """Return the id of the key that a value says it was sealed under."""
    return sealed[1:_HEAD]


def _key_id(secret: str) -> bytes:
    """Return the id by which a sealed value names its secret key; the secret cannot be computed from it."""
    return _derive(secret, b"messagelog key id", _KEY_ID_BYTES)


@functools.lru_cache(maxsize=1024)  # what is sealed is mostly opened a moment later
def _encode_context(context: tuple[str, ...]) -> bytes:
    """Return a text that differs for every context: each part follows its length."""
    return b"".join(b"%d:%s" % (len(part := text.encode()), part) for text in context)


def _derive(secret: str, purpose: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=purpose).derive(secret.encode())
