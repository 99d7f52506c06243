"""Runs the migrations in one transaction, so that there is never half a schema; one process of several does it.

PostgreSQL holds a lock for the others to wait at. SQLite is told to begin a writing transaction: its driver would
otherwise commit each statement by itself.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from messagelog.storage.schema import metadata

_LOCK = 0x6D6C6F67  # any number of our own: "mlog"


def run() -> None:
    """Upgrade the database whose engine is in the configuration's attributes."""
    engine: sa.Engine = context.config.attributes["engine"]
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        context.configure(connection=connection, target_metadata=metadata)
        with context.begin_transaction():
            context.run_migrations()


run()
