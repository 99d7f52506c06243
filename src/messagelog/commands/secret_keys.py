"""The secret keys of the settings, compared with those that the database was used with."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, TypeVar

from messagelog.commands.common import refuse, run_in_store
from messagelog.storage import KeysDamaged, KeysLocked, Sealer, transactions, with_stored_keys
from messagelog.storage.store import ANSWER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.settings import Settings
    from messagelog.storage import Store

T = TypeVar("T")


def check_database(database_url: str, settings: Settings) -> None:
    """Refuse a database that a server cannot work with: it has other secret keys, or cannot be written."""
    sealer = sealer_of(settings)

    async def check(store: Store) -> None:
        await with_stored_keys(store, sealer)
        await store.write(lambda: transactions.probe(uuid.uuid4().hex, b""))

    run_with_keys(lambda: run_in_store(database_url, check, answer_seconds=ANSWER_SECONDS))


def open_sealer(database_url: str, sealer: Sealer) -> Sealer:
    """Return a sealer with the database's stored keys, or end the command if it was used with other secret keys."""
    return run_with_keys(lambda: run_in_store(database_url, lambda store: with_stored_keys(store, sealer)))


def run_with_keys(work: Callable[[], T]) -> T:
    """Return the result of `work`, or end the command with a remedy if the stored keys do not open."""
    try:
        return work()
    except KeysLocked as error:
        refuse(
            f"The database was used with another secret key (key id {', '.join(error.key_ids)}), and without it"
            " nothing that is stored can be opened.",
            "Add that secret to MESSAGELOG_OLD_SECRET_KEYS, and remove it when `messagelog keys rotate` is done.",
        )
    except KeysDamaged as error:
        refuse(f"The database is damaged: {error}. Restore the table keys from a backup.")


def sealer_of(settings: Settings) -> Sealer:
    """Return a sealer with the settings' secret keys, or end the command if two of them have the same id."""
    try:
        return Sealer(settings.secret_key, settings.old_secrets)
    except ValueError as error:
        refuse(f"MESSAGELOG_OLD_SECRET_KEYS: {error}.")
