"""`messagelog keys`: what is sealed under which secret key, and its rotation to the newest key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import Progress

from messagelog import settings as configuration
from messagelog.commands.common import print_line, refuse, require_settings, run_in_store
from messagelog.commands.options import JsonOption
from messagelog.commands.secret_keys import run_with_keys, sealer_of
from messagelog.commands.tables import print_json, print_table
from messagelog.storage import Sealer, with_stored_keys
from messagelog.storage.encryption.rotation import count_by_key, rotate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from messagelog.storage import Store
    from messagelog.storage.encryption.rotation import RotationResult

keys_app = typer.Typer(
    help="Show what is sealed under which secret key, and rotate it.", no_args_is_help=True
)

Counts = dict[str, dict[bytes, int]]


@keys_app.command("list")
def list_keys(*, json_: JsonOption = False) -> None:
    """List the keys by their ids, and how many values of each table are sealed under each."""
    database_url, sealer = _settings()
    counts = run_in_store(database_url, count_by_key)
    if json_:
        print_json(
            [
                {
                    "keyId": key_id.hex(),
                    "secret": _key_age(sealer, key_id),
                    "signsTokens": key_id == sealer.key_id,
                    "sealed": {table: of_table.get(key_id, 0) for table, of_table in counts.items()},
                }
                for key_id in _key_ids(sealer, counts)
            ]
        )
    else:
        _print_keys(sealer, counts)


@keys_app.command("rotate")
def rotate_keys() -> None:
    """Seal again what is under an old key, with the newest. Servers may run; it may be stopped, and repeated."""
    database_url, sealer = _settings()
    rotated, counts = run_with_keys(lambda: run_in_store(database_url, lambda store: _rotate(store, sealer)))
    for each in rotated:
        print_line(f"{each.table}: {each.resealed} sealed again")
    _print_keys(sealer, counts)
    if left := _remaining(sealer, counts):
        refuse(*left)


async def _rotate(store: Store, sealer: Sealer) -> tuple[list[RotationResult], Counts]:
    """Rotate, with a progress bar on a terminal. Make the stored keys of hashes first if there are none."""
    await with_stored_keys(store, sealer)
    before = await count_by_key(store)
    total = sum(
        count for of_table in before.values() for key_id, count in of_table.items() if key_id != sealer.key_id
    )
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("Sealing again", total=total)
        rotated = await rotate(store, sealer, progress=lambda count: bar.advance(task, count))
    return rotated, await count_by_key(store)


def _settings() -> tuple[str, Sealer]:
    settings, database_url = require_settings(configuration.validate_for_keys)
    return database_url, sealer_of(settings)


def _print_keys(sealer: Sealer, counts: Counts) -> None:
    print_table(
        ("key id", "secret", "signs tokens", *counts),
        [
            (
                key_id.hex(),
                _key_age(sealer, key_id),
                "yes" if key_id == sealer.key_id else "no",
                *(str(of_table.get(key_id, 0)) for of_table in counts.values()),
            )
            for key_id in _key_ids(sealer, counts)
        ],
    )


def _key_ids(sealer: Sealer, counts: Counts) -> list[bytes]:
    """Return the ids of the given secrets, the newest first, then others that something is sealed under."""
    unknown = {key_id for each in counts.values() for key_id in each} - set(sealer.key_ids)
    return [*sealer.key_ids, *sorted(unknown)]


def _key_age(sealer: Sealer, key_id: bytes) -> str:
    if key_id == sealer.key_id:
        return "newest"
    return "old" if key_id in sealer.key_ids else "unknown"


def _remaining(sealer: Sealer, counts: Mapping[str, Mapping[bytes, int]]) -> list[str]:
    """Return sentences about what is not under the newest key after a rotation."""
    sentences = []
    for table, of_table in counts.items():
        for key_id, count in sorted(of_table.items()):
            which, why = _key_age(sealer, key_id), "no secret that is given opens them."
            if which == "newest":
                continue
            if which == "old":
                why = "a server still seals with it, or their bytes were altered."
            sentences.append(f"{table}: {count} sealed under the {which} key {key_id.hex()} still: {why}")
    return sentences
