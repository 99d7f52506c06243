"""Since when a tenant's CRM is away: what fails meanwhile is no try of the conversation log that was tried with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """An outage of today begins now, for all that is known."""
    op.add_column("paces", sa.Column("openSince", sa.BigInteger))
