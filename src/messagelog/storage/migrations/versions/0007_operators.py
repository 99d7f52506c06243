"""Operators: their accounts, their sessions, and a record of what they looked at and did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_id = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Makes the tables. There is no operator at first."""
    op.create_table(
        "operators",
        sa.Column("name", _id, nullable=False),
        sa.Column("password", sa.Text, nullable=False),
        sa.Column("roles", sa.Text, nullable=False),
        sa.Column("createdAt", sa.BigInteger, nullable=False),
        sa.Column("updatedAt", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "operatorSessions",
        sa.Column("id", _id, nullable=False),
        sa.Column("operator", _id, nullable=False),
        sa.Column("createdAt", sa.BigInteger, nullable=False),
        sa.Column("usedAt", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("operatorSessionsByOperator", "operatorSessions", ["operator"])
    op.create_index("operatorSessionsByTime", "operatorSessions", ["createdAt"])
    op.create_table(
        "audit",
        sa.Column("id", _id, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("operator", _id, nullable=False),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("role", sa.Text),
        sa.Column("tenant", _id),
        sa.Column("platform", _id),
        sa.Column("subject", sa.Text),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("auditByTime", "audit", ["at"])
    op.create_index("auditByOperator", "audit", ["operator", "at"])
    op.create_index("auditByTenant", "audit", ["tenant"])
