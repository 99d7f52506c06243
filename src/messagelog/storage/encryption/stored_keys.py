"""The stored keys of hashes. A stored hash is compared for ever, so its key outlives the secret keys.

They are derived once, at the first start, from the secret of that time, so that hashes that are in the database already
stay valid. From then on they are sealed under a secret key, like other values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from messagelog.errors import MessagelogError
from messagelog.storage import transactions
from messagelog.storage.encryption.sealer import DataKeys, SealBroken, key_id_of
from messagelog.storage.sealed_columns import SEALED

if TYPE_CHECKING:
    from messagelog.storage.encryption.sealer import Sealer
    from messagelog.storage.store import Store

_ENTRIES: Final = "entries"
_ACCOUNTS: Final = "accounts"

(_USERS,) = (column for column in SEALED if column.table == "users")
(_KEYS,) = (column for column in SEALED if column.table == "keys")


class KeysLocked(MessagelogError):
    """Stored values are sealed under secret keys that are not given. `key_ids` are their ids, in hex."""

    def __init__(self, key_ids: tuple[str, ...]) -> None:
        super().__init__(
            f"the stored keys are sealed under a secret key that is not given: {', '.join(key_ids)}"
        )
        self.key_ids = key_ids


class KeysDamaged(MessagelogError):
    """A stored key does not open with the secret key that it was sealed under: its bytes were altered."""


async def with_stored_keys(store: Store, sealer: Sealer) -> Sealer:
    """Return a sealer with the stored keys of hashes, which are made if there are none.

    Raises `KeysLocked` and `KeysDamaged`: without them entries would not be recognised, and would be written twice.
    """
    stored = await store.read(transactions.find_keys)
    if stored.keys() != {_ENTRIES, _ACCOUNTS}:
        made = sealer.derive_keys(await _find_key_in_use(store, sealer))
        sealed = {
            purpose: sealer.seal(key, *_KEYS.context(purpose))
            for purpose, key in ((_ENTRIES, made.entries), (_ACCOUNTS, made.accounts))
        }
        stored = await store.write(lambda: transactions.keep_keys(sealed))
    return sealer.with_keys(
        DataKeys(
            _open_key(sealer, _ENTRIES, stored[_ENTRIES]), _open_key(sealer, _ACCOUNTS, stored[_ACCOUNTS])
        )
    )


async def _find_key_in_use(store: Store, sealer: Sealer) -> bytes:
    """Return the id of the key that a database without stored keys was used with: most credentials are under it.

    That is the newest one, unless the secret was changed together with the upgrade.
    """
    counts = await store.read(lambda: transactions.count_sealed(_USERS))
    known = {key_id: count for key_id, count in counts.items() if key_id in sealer.key_ids}
    if counts and not known:
        raise KeysLocked(tuple(sorted(key_id.hex() for key_id in counts)))
    return max(known, key=lambda key_id: known[key_id], default=sealer.key_id)


def _open_key(sealer: Sealer, purpose: str, sealed: bytes) -> bytes:
    try:
        return sealer.open(sealed, *_KEYS.context(purpose))
    except SealBroken as error:
        if (key_id := key_id_of(sealed)) in sealer.key_ids:
            raise KeysDamaged(f"the stored key {purpose} was altered") from error
        raise KeysLocked((key_id.hex(),)) from error
