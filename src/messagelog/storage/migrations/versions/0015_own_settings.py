"""Settings of language and time zone get ids of our own: the client has a setting `language` itself."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0009"
branch_labels = None
depends_on = None

_RENAMED = {"language": "messagelogLanguage", "timezone": "messagelogTimezone"}


def upgrade() -> None:
    """Take over what users and operators stored under the old ids, where the new ones are not there yet."""
    for old, new in _RENAMED.items():
        for table, whose in (("userSettings", ("userId",)), ("adminSettings", ())):
            same = "".join(
                f' AND other."{column}" = "{table}"."{column}"' for column in ("tenant", "platform", *whose)
            )
            op.execute(
                f"""UPDATE "{table}" SET "settingId" = '{new}' WHERE "settingId" = '{old}' AND NOT EXISTS (
                    SELECT 1 FROM "{table}" AS other WHERE other."settingId" = '{new}'{same})"""  # noqa: S608 - constants
            )
