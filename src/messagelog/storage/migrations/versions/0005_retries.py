"""Work that waits for its user to sign in again, and how often a log's calls were refused in a row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_WAITING_FOR_USER = sa.text("\"state\" = 'waiting' OR \"state\" = 'unknown'")


def upgrade() -> None:
    """No user has to sign in again because of earlier errors, and nothing waits for it."""
    op.add_column("conversationLogs", sa.Column("refusals", sa.Integer, nullable=False, server_default="0"))
    op.add_column("users", sa.Column("signInSince", sa.BigInteger))
    op.create_index(
        "messageLogsByUser",
        "messageLogs",
        ["userId", "tenant", "platform", "conversationLogId"],
        postgresql_where=_WAITING_FOR_USER,
        sqlite_where=_WAITING_FOR_USER,
    )
