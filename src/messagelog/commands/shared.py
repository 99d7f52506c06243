"""What commands have in common: settings that are checked, a database that is up to date, refusals as sentences.

`serve` has it in common too, and does without the command line's libraries: nothing here imports them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from messagelog import environment
from messagelog import settings as configuration
from messagelog.storage import open_store
from messagelog.storage.opening import is_current
from messagelog.storage.port import UnusableFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from messagelog.storage import Store

T = TypeVar("T")


def refuse(*sentences: str) -> NoReturn:
    """Ends the command with the reasons on standard error."""
    for sentence in sentences:
        print(sentence, file=sys.stderr)  # noqa: T201 - the command's answer
    raise SystemExit(2)


def load_settings_file(path: Path | str | None) -> None:
    """Add a file's settings to the environment: this one's, or the one that MESSAGELOG_ENV_FILE names, or none."""
    named = path or os.environ.get(environment.ENV_FILE)
    if not named:
        return
    try:
        environment.load_env_file(named)
    except configuration.BadSettings as error:
        refuse(*error.sentences)


def checked(
    check: Callable[[configuration.Settings], T],
) -> tuple[configuration.Settings, T]:
    """The settings of the environment, and what `check` makes of them; refused with every problem."""
    settings, problems = configuration.readable_settings()
    try:
        value = check(settings)
    except configuration.BadSettings as error:
        refuse(*problems, *error.sentences)
    if problems:
        refuse(*problems)
    return settings, value


def database_url_of(data: Path | None) -> str:
    """Where the database is: in the demo's folder, or where the environment says."""
    if data is not None:
        return f"sqlite:///{data / 'messagelog.sqlite'}"
    return checked(configuration.checked_for_database)[1]


def check_schema(database_url: str) -> None:
    """Refuses a database that is not there, or not up to date."""
    if database_url.startswith("sqlite:///") and not Path(database_url.removeprefix("sqlite:///")).exists():
        refuse("The database does not exist yet: run `messagelog migrate`.")
    if not with_database(is_current, database_url):
        refuse("The database's schema is not up to date: run `messagelog migrate`.")


def with_database(work: Callable[[str], T], database_url: str) -> T:
    """What `work` comes to with a database; refused where it cannot be used."""
    try:
        return work(database_url)
    except UnusableFile as error:
        refuse(f"{error}")
    except Exception as error:  # noqa: BLE001 - of either driver, or of SQLAlchemy, which wraps them
        # What drivers say may quote parts of the URL, and a password may be among them.
        cause = type(getattr(error, "orig", None) or error).__name__
        refuse(f"The database cannot be used ({cause}): is MESSAGELOG_DATABASE_URL right, and does it run?")


def in_store(database_url: str, work: Callable[[Store], Awaitable[T]]) -> T:
    """What `work` comes to with the opened journal of a database that is up to date."""
    check_schema(database_url)

    async def done() -> T:
        store = await open_store(database_url)
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(done())
    except UnusableFile as error:
        refuse(f"{error}")


def printed(*values: Any) -> None:
    """Prints a line: the command's output."""
    print(*values, flush=True)  # noqa: T201 - the command's output
