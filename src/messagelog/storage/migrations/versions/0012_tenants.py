"""Which host says that a user belongs to a tenant."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_id = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

_RECORD: tuple[str, ...] = ("audit",)  # it names tenants that were erased
_UNKNOWN = "?"  # no name of a host


def upgrade() -> None:
    """Record each host at which a user of a tenant signed in as one of this tenant's; tenants keep their names.

    Until now the host was what the user typed: which host that is a connector knows, at the next sign-in. A tenant
    without users has none: only an operator can say where it is.
    """
    op.create_table(
        "tenants",
        sa.Column("crmTenant", _id, nullable=False),
        sa.Column("platform", _id, nullable=False),
        sa.Column("host", _id, nullable=False),
        sa.Column("tenant", _id, nullable=False),
        sa.Column("createdAt", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("crmTenant", "platform", "host"),
    )
    op.create_index("tenantsByTenant", "tenants", ["tenant", "platform"])
    now = int(time.time() * 1000)
    _record('SELECT DISTINCT "tenant", "platform", "hostname", "tenant" FROM "users"', now)
    for table in _tables_of_tenants():
        seen = f'SELECT DISTINCT "tenant", "platform" FROM "{table}"'  # noqa: S608 - the names of our own tables
        _record(
            f'SELECT seen."tenant", seen."platform", \'{_UNKNOWN}\', seen."tenant" FROM ({seen}) AS seen'  # noqa: S608 - as above
            ' WHERE NOT EXISTS (SELECT 1 FROM "tenants" AS known'
            ' WHERE known."tenant" = seen."tenant" AND known."platform" = seen."platform")',
            now,
        )


def _record(rows: str, now: int) -> None:
    selected = f"SELECT found.*, {now} FROM ({rows}) AS found"  # noqa: S608 - a number and our own text
    op.execute(f'INSERT INTO "tenants" ("crmTenant", "platform", "host", "tenant", "createdAt") {selected}')


def _tables_of_tenants() -> list[str]:
    """The tables whose rows belong to a tenant, whatever they are by now."""
    inspector = sa.inspect(op.get_bind())
    found = []
    for table in sorted(inspector.get_table_names()):
        names = {column["name"] for column in inspector.get_columns(table)}
        if {"tenant", "platform"} <= names and table not in {"tenants", *_RECORD}:
            found.append(table)
    return found
