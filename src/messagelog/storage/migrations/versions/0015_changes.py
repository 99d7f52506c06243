"""What may change about a logged message is kept with it, and how often it has changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of messages that were logged before, nothing is known: they have no time of their facts."""
    op.add_column("messageLogs", sa.Column("facts", sa.Text))
    op.add_column("messageLogs", sa.Column("factsAt", sa.BigInteger))
    op.add_column("messageLogs", sa.Column("changes", sa.Integer, nullable=False, server_default="0"))
