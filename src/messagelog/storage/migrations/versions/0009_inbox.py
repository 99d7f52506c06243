"""What a person decides about: the calls that failed, and indexes of the rows that are in trouble."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_id = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

# Which messages came after their log was parked could not be told from the reason before.
_BEHIND = """
    UPDATE "messageLogs" SET "reason" = 'behind: one before it is parked (' || "reason" || ')'
    WHERE "state" = 'parked' AND "reason" NOT LIKE 'behind:%' AND "createdAt" > (
        SELECT log."updatedAt" FROM "conversationLogs" AS log
        WHERE log."conversationLogId" = "messageLogs"."conversationLogId"
          AND log."tenant" = "messageLogs"."tenant" AND log."platform" = "messageLogs"."platform")
"""


def upgrade() -> None:
    """Nothing is known of earlier calls."""
    op.create_table(
        "attempts",
        sa.Column("tenant", _id, nullable=False),
        sa.Column("platform", _id, nullable=False),
        sa.Column("conversationLogId", _id, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("id", _id, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("call", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("reason", sa.Text),
        sa.Column("body", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", "tenant", "platform"),
    )
    op.create_index("attemptsByLog", "attempts", ["conversationLogId", "tenant", "platform", "fence"])
    op.create_index("attemptsByTime", "attempts", ["at"])
    op.execute(_BEHIND)
    trouble, erasable = '"reason" IS NOT NULL', '"reason" IS NOT NULL AND "payload" IS NOT NULL'
    _index("messageLogsInTrouble", trouble, "updatedAt", "id", "tenant", "platform")
    _index("messageLogsInTroubleOf", trouble, "tenant", "updatedAt", "id", "platform")
    _index("messageLogsToErase", erasable, "updatedAt")


def _index(name: str, where: str, *columns: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "messageLogs", list(columns), postgresql_where=condition, sqlite_where=condition)
