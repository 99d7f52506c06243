"""What commands share: checked settings, a database that is up to date, refusals as sentences.

`serve` uses it too, and does not load the command line's libraries: nothing here imports them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from messagelog import environment
from messagelog import settings as configuration
from messagelog.storage import StoreUnavailable, open_store
from messagelog.storage.causes import cause_of, hint_of
from messagelog.storage.database import NewerSchema, check_not_newer, schema_version
from messagelog.storage.store import UnusableFile
from messagelog.storage.urls import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from messagelog.storage import Store
    from messagelog.storage.causes import DatabaseFault

T = TypeVar("T")

_ANSWER_SECONDS = 60.0  # a person waits, and may ask for much at once


def refuse(*sentences: str) -> NoReturn:
    """End the command with the reasons on standard error."""
    for sentence in sentences:
        print(sentence, file=sys.stderr)  # noqa: T201 - the command's answer
    raise SystemExit(2)


def load_settings_file(path: Path | str | None) -> None:
    """Add the settings of a file to the environment: this file, or the one that MESSAGELOG_ENV_FILE names, or none."""
    named = path or os.environ.get(environment.ENV_FILE)
    if not named:
        return
    try:
        environment.load_env_file(named)
    except configuration.BadSettings as error:
        refuse(*error.sentences)


def require_settings(
    check: Callable[[configuration.Settings], T],
) -> tuple[configuration.Settings, T]:
    """Return the settings and the result of `check`, or end the command with every problem."""
    settings, problems = configuration.readable_settings()
    try:
        value = check(settings)
    except configuration.BadSettings as error:
        refuse(*problems, *error.sentences)
    if problems:
        refuse(*problems)
    return settings, value


def database_url_of(data: Path | None) -> str:
    """Return the URL of the database in the demo's folder `data`, else that of the settings."""
    if data is not None:
        return f"sqlite:///{data / 'messagelog.sqlite'}"
    return require_settings(configuration.validate_for_database)[1]


def check_schema(database_url: str) -> None:
    """Refuse a database that does not exist, or that has another schema than this version needs."""
    if database_url.startswith("sqlite:///") and not Path(database_url.removeprefix("sqlite:///")).exists():
        refuse("The database does not exist yet: run `messagelog migrate`.")
    version = with_database(schema_version, database_url)
    if version is None:
        refuse("The database has no schema yet: run `messagelog migrate`.")
    if version != SCHEMA_VERSION:
        with_database(lambda _: check_not_newer(version), database_url)
        refuse(
            f"The database's schema has version {version}, and this messagelog needs {SCHEMA_VERSION}:"
            " run `messagelog migrate`."
        )


def with_database(work: Callable[[str], T], database_url: str) -> T:
    """Return the result of `work`, or end the command with the reason why the database cannot be used."""
    try:
        return work(database_url)
    except UnusableFile as error:
        refuse(f"{error}")
    except NewerSchema as error:
        refuse(
            f"The database's schema has version {error.version}, and this messagelog knows none after"
            f" {SCHEMA_VERSION}: a newer one has migrated it. Run that one, or restore an earlier backup."
        )
    except Exception as error:  # noqa: BLE001 - from either driver, or from SQLAlchemy, which wraps them
        _refuse_cause(cause_of(error))


def _refuse_cause(cause: DatabaseFault) -> NoReturn:
    refuse(f"The database cannot be used ({cause}). {hint_of(cause)}")


def run_in_store(
    database_url: str, work: Callable[[Store], Awaitable[T]], *, answer_seconds: float = _ANSWER_SECONDS
) -> T:
    """Return the result of `work` with the opened store, or end the command if the database is old or unavailable."""
    check_schema(database_url)

    async def run() -> T:
        store = await open_store(database_url, answer_seconds=answer_seconds)
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(run())
    except UnusableFile as error:
        refuse(f"{error}")
    except StoreUnavailable as error:
        _refuse_cause(error.cause)


def print_line(*values: Any) -> None:
    """Print a line of the command's output."""
    print(*values, flush=True)  # noqa: T201 - the command's output
