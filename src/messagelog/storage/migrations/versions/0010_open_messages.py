"""An index of the messages that are not logged, so that they can be counted at any time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the index. It holds what is open, which is little beside what is logged."""
    is_open = sa.text("\"state\" <> 'logged'")
    op.create_index(
        "messageLogsOpen",
        "messageLogs",
        ["platform", "state"],
        postgresql_where=is_open,
        sqlite_where=is_open,
    )
