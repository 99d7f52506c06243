"""What is known of activities that have become full: how much stands in one, and which ones it goes on from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the two columns; the logs that are there have one activity each."""
    op.add_column("conversationLogs", sa.Column("bodySize", sa.Integer, nullable=False, server_default="0"))
    op.add_column("conversationLogs", sa.Column("earlier", sa.Text))
