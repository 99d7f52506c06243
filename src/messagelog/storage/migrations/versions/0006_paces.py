"""The pace of each tenant at each CRM, and an index by which no tenant's waiting logs hide another's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_id = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """No tenant's pace is known at first: nothing has been counted."""
    op.create_table(
        "paces",
        sa.Column("tenant", _id, nullable=False),
        sa.Column("platform", _id, nullable=False),
        sa.Column("circuit", sa.Text, nullable=False),
        sa.Column("notBefore", sa.BigInteger),
        sa.Column("catchUpAt", sa.BigInteger),
        sa.Column("activeUntil", sa.BigInteger),
        sa.Column("pace", sa.Text, nullable=False),
        sa.Column("updatedAt", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "platform"),
    )
    active = sa.text('"activeUntil" IS NOT NULL')
    op.create_index("pacesActive", "paces", ["activeUntil"], postgresql_where=active, sqlite_where=active)
    due = sa.text('"dueAt" IS NOT NULL')
    op.create_index(
        "conversationLogsDueByTenant",
        "conversationLogs",
        ["platform", "tenant", "dueAt"],
        postgresql_where=due,
        sqlite_where=due,
    )
