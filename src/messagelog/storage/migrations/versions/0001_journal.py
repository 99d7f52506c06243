"""The journal: conversation logs, their messages, and the users of connectors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_id = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Makes the tables. Text is sealed from the start: no column ever held any in the clear."""
    op.create_table(
        "conversationLogs",
        sa.Column("tenant", _id, nullable=False),
        sa.Column("platform", _id, nullable=False),
        sa.Column("conversationLogId", _id, nullable=False),
        sa.Column("conversationId", sa.Text, nullable=False),
        sa.Column("shared", sa.Boolean, nullable=False),
        sa.Column("contactId", _id, nullable=False),
        sa.Column("contactType", sa.Text, nullable=False),
        sa.Column("contactName", sa.Text, nullable=False),
        sa.Column("pins", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("thirdPartyLogId", sa.Text),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("createdBy", sa.Text),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("blocks", sa.LargeBinary, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("dueAt", sa.BigInteger),
        sa.Column("call", sa.Text),
        sa.Column("callUser", sa.Text),
        sa.Column("callVersion", sa.BigInteger, nullable=False),
        sa.Column("callBefore", sa.Text),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("asks", sa.Integer, nullable=False),
        sa.Column("createdAt", sa.BigInteger, nullable=False),
        sa.Column("updatedAt", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("conversationLogId", "tenant", "platform"),
    )
    op.create_index(
        "conversationLogsDue",
        "conversationLogs",
        ["dueAt"],
        postgresql_where=sa.text('"dueAt" IS NOT NULL'),
        sqlite_where=sa.text('"dueAt" IS NOT NULL'),
    )
    op.create_index("conversationLogsByContact", "conversationLogs", ["contactId", "tenant", "platform"])
    op.create_index("conversationLogsByTime", "conversationLogs", ["updatedAt"])
    op.create_table(
        "messageLogs",
        sa.Column("tenant", _id, nullable=False),
        sa.Column("platform", _id, nullable=False),
        sa.Column("id", _id, nullable=False),
        sa.Column("conversationId", sa.Text, nullable=False),
        sa.Column("conversationLogId", _id, nullable=False),
        sa.Column("thirdPartyLogId", sa.Text),
        sa.Column("userId", sa.Text, nullable=False),
        sa.Column("state", _id, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("sentAt", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("entryHash", sa.LargeBinary),
        sa.Column("payload", sa.LargeBinary),
        sa.Column("createdAt", sa.BigInteger, nullable=False),
        sa.Column("updatedAt", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", "tenant", "platform"),
    )
    op.create_index(
        "messageLogsByLog", "messageLogs", ["conversationLogId", "tenant", "platform", "state", "sentAt"]
    )
    op.create_table(
        "users",
        sa.Column("tenant", _id, nullable=False),
        sa.Column("platform", _id, nullable=False),
        sa.Column("id", _id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hostname", sa.Text, nullable=False),
        sa.Column("timezone", sa.Text),
        sa.Column("timezoneOffset", sa.Text),
        sa.Column("credentials", sa.LargeBinary),
        sa.Column("createdAt", sa.BigInteger, nullable=False),
        sa.Column("updatedAt", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", "tenant", "platform"),
    )
