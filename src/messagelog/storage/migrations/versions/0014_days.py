"""The logs of a conversation are looked for: its day may be there under another label."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index by which they are found."""
    columns = ["conversationId", "tenant", "platform"]
    op.create_index("conversationLogsByConversation", "conversationLogs", columns)
