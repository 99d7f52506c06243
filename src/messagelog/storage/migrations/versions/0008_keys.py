"""Keys of hashes are stored, so that secret keys can change and existing entries are still recognised."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_id = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """The table is empty until a server starts, which knows the secret: it stores the keys that it used so far."""
    op.create_table(
        "keys",
        sa.Column("purpose", _id, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("createdAt", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("purpose"),
    )
