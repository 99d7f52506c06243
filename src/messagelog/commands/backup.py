"""`messagelog backup` and `messagelog restore`: a copy of the journal, and its restoration."""

from __future__ import annotations

import sqlite3
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from messagelog.commands.common import database_url_of, print_line, refuse, with_database
from messagelog.commands.options import DataOption
from messagelog.commands.tables import time_text
from messagelog.storage.sqlite.copy import BadCopy, make_copy, restore_copy
from messagelog.storage.store import UnusableFile
from messagelog.storage.urls import SCHEMA_VERSION, is_sqlite, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.storage.sqlite.copy import Copy

T = TypeVar("T")


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy, which must not exist yet.")],
    data: DataOption = None,
) -> None:
    """Copy the database into a file, while servers run. For PostgreSQL, print the command to run."""
    database_url = database_url_of(data)
    if not is_sqlite(database_url):
        from messagelog.storage.dump import dump_command  # noqa: PLC0415 - PostgreSQL's driver, which is large

        refuse(
            "The database is PostgreSQL, which its own program copies. Nothing was copied. Run:",
            with_database(lambda url: dump_command(url, str(file)), database_url),
            "The password comes from ~/.pgpass, or from PGPASSWORD.",
        )
    copied = _refuse_on_error(lambda: make_copy(sqlite_path(database_url), file))
    print_line(f"{file} is a copy of the database: {copied.size:,} bytes, {_summary_of(copied)}.")
    print_line("Keep the secret keys in another place. Neither is of use without the other.")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A copy, as `messagelog backup` makes it.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    data: DataOption = None,
) -> None:
    """Replace the database by a copy. No server may run. For PostgreSQL, print the command to run."""
    database_url = database_url_of(data)
    if not is_sqlite(database_url):
        from messagelog.storage.dump import restore_commands  # noqa: PLC0415 - as above

        refuse(
            "The database is PostgreSQL, which its own programs restore. Nothing was restored. Run:",
            *with_database(lambda url: restore_commands(url, str(file)), database_url),
            "The password comes from ~/.pgpass, or from PGPASSWORD. Then stop all servers, set MESSAGELOG_DATABASE_URL"
            " to the new database, run `messagelog migrate`, and start them.",
        )
    path = sqlite_path(database_url)

    def confirm(copy: Copy) -> None:
        if path.exists() and not yes:
            print_line(f"{file}: {_summary_of(copy)}.")
            typer.confirm(f"Put it in the place of {path}, which will be gone?", abort=True)

    restored = _refuse_on_error(lambda: restore_copy(path, file, confirm=confirm))
    print_line(f"{path} is restored: {_summary_of(restored)}.")
    if restored.version != SCHEMA_VERSION:
        print_line("Its schema is of an earlier version: run `messagelog migrate`.")


def _refuse_on_error(work: Callable[[], T]) -> T:
    """Return the result of `work`, or end the command if a file cannot be used, read or written."""
    try:
        return work()
    except (UnusableFile, BadCopy) as error:
        refuse(f"{error}")
    except OSError as error:
        refuse(f"{error.filename or 'A file'} cannot be used: {error.strerror}.")
    except sqlite3.Error as error:
        refuse(f"The database cannot be copied: {error}.")


def _summary_of(copy: Copy) -> str:
    found = f"schema {copy.version}, {copy.logs:,} conversation logs"
    if copy.changed_at is None:
        return found
    return f"{found}, the last change {time_text(copy.changed_at)}"
