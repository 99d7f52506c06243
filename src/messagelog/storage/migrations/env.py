"""Runs the migrations in one transaction. On PostgreSQL a lock lets one process of several do it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from messagelog.storage.schema import metadata

_LOCK = 0x6D6C6F67  # any number of our own: "mlog"


def run() -> None:
    """Upgrades the database whose URL is in the configuration's attributes."""
    engine = sa.create_engine(context.config.attributes["url"], poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            context.configure(connection=connection, target_metadata=metadata)
            with context.begin_transaction():
                context.run_migrations()
    finally:
        engine.dispose()


run()
