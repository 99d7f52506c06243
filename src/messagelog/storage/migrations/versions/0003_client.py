"""What the client asks for besides logging: settings, contacts that were found, contacts that are being made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_id = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Makes the tables. Contacts are sealed from the start."""
    op.create_table(
        "userSettings",
        sa.Column("tenant", _id, nullable=False),
        sa.Column("platform", _id, nullable=False),
        sa.Column("userId", _id, nullable=False),
        sa.Column("settingId", _id, nullable=False),
        sa.Column("setting", sa.Text, nullable=False),
        sa.Column("updatedAt", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("userId", "tenant", "platform", "settingId"),
    )
    op.create_table(
        "adminSettings",
        sa.Column("tenant", _id, nullable=False),
        sa.Column("platform", _id, nullable=False),
        sa.Column("settingId", _id, nullable=False),
        sa.Column("setting", sa.Text, nullable=False),
        sa.Column("updatedAt", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "platform", "settingId"),
    )
    op.create_table(
        "contacts",
        sa.Column("tenant", _id, nullable=False),
        sa.Column("platform", _id, nullable=False),
        sa.Column("phoneNumber", _id, nullable=False),
        sa.Column("contacts", sa.LargeBinary, nullable=False),
        sa.Column("foundAt", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("phoneNumber", "tenant", "platform"),
    )
    op.create_index("contactsByTime", "contacts", ["foundAt"])
    op.create_table(
        "newContacts",
        sa.Column("tenant", _id, nullable=False),
        sa.Column("platform", _id, nullable=False),
        sa.Column("key", _id, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("contact", sa.LargeBinary),
        sa.PrimaryKeyConstraint("key", "tenant", "platform"),
    )
    op.create_index("newContactsByTime", "newContacts", ["until"])
