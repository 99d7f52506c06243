"""`messagelog migrate`: the database's schema, brought to the newest version."""

from __future__ import annotations

from messagelog.commands.common import database_url_of, print_line, with_database
from messagelog.storage import database


def migrate() -> None:
    """Bring the database's schema to the newest version."""
    with_database(database.migrate, database_url_of(None))
    print_line("The database is up to date.")
