"""Sessions that can be ended, one refresh of credentials at a time, and the states of OAuth that were used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_id = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Existing users keep an empty session, which is that of the tokens they hold: no user is signed out."""
    op.add_column("users", sa.Column("sessionId", sa.Text))
    op.add_column("users", sa.Column("refreshOwner", sa.Text))
    op.add_column("users", sa.Column("refreshUntil", sa.BigInteger))
    op.create_table(
        "oauthStates",
        sa.Column("id", _id, nullable=False),
        sa.Column("expiresAt", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("oauthStatesByEnd", "oauthStates", ["expiresAt"])
