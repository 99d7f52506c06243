"""What is stored sealed: message text and CRM credentials, with AES-256-GCM, bound to the row they belong to."""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_FORMAT: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_HEAD: Final = 1 + _KEY_ID_BYTES


class SealBroken(Exception):
    """Sealed bytes that this secret cannot open: another secret, another row, or altered bytes."""


class Sealer:
    """Seals and opens with keys derived from the server's secret.

    A sealed value is: format (1 byte), key id (4), nonce (12), ciphertext and tag. The context (table, tenant,
    platform, id) is authenticated with it, so that a value copied to another row does not open there.
    """

    def __init__(self, secret: str) -> None:
        self._key_id = _derived(secret, b"messagelog key id", _KEY_ID_BYTES)
        self._cipher = AESGCM(_derived(secret, b"messagelog seal", 32))
        self.entry_key = _derived(secret, b"messagelog entry hash", 32)
        self.state_key = _derived(secret, b"messagelog oauth state", 32)
        self.token_key = _derived(secret, b"messagelog session token", 32)
        self.audit_key = _derived(secret, b"messagelog audit pseudonym", 32)
        self.account_key = _derived(secret, b"messagelog account hash", 32)

    def seal(self, text: bytes, *context: str) -> bytes:
        """The sealed form of `text`, to be opened with the same context only."""
        nonce = os.urandom(_NONCE_BYTES)
        return _FORMAT + self._key_id + nonce + self._cipher.encrypt(nonce, text, _bound(context))

    def open(self, sealed: bytes, *context: str) -> bytes:
        """The text; `SealBroken` when the secret, the context or the bytes are not those of the sealing."""
        sealed = bytes(sealed)
        if sealed[:1] != _FORMAT or sealed[1:_HEAD] != self._key_id:
            raise SealBroken("it was sealed with another secret key")
        nonce, ciphertext = sealed[_HEAD : _HEAD + _NONCE_BYTES], sealed[_HEAD + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, ciphertext, _bound(context))
        except (InvalidTag, ValueError) as error:  # ValueError: cut off within the nonce
            raise SealBroken("its bytes were altered, or it belongs to another row") from error


def _bound(context: tuple[str, ...]) -> bytes:
    """One text that no other context shares: each part with its length before it."""
    return b"".join(b"%d:%s" % (len(part := text.encode()), part) for text in context)


def _derived(secret: str, purpose: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=purpose).derive(secret.encode())
