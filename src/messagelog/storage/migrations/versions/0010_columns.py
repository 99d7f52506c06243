"""What is unique is made of columns, not of a text with a contact's id in it; and the journal has an id.

Rows keep what is shown of them, what they were sealed with, and the idempotency keys of their calls. Of a group all of
these hold the contact's id, which is taken out of the ids here for the columns that make the key.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_LOG_KEY = ("clientLogId", "groupContactId", "shared", "tenant", "platform")
_ROW_KEY = ("messageId", "groupContactId", "shared", "tenant", "platform")

_id = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Copies the tables whose keys are others now: what refers to a conversation log before the logs themselves."""
    _find_groups()
    _copy("messageLogs", _messages(), _ROW_KEY, "held", _WITH_LOG)
    _copy("attempts", _attempts(), ("id", "tenant", "platform"), "held", _WITH_LOG)
    _copy("conversationLogs", _logs(), _LOG_KEY, "log", _WITH_GROUP)
    op.drop_table("groups")
    _index()
    journal = op.create_table(
        "journal",
        sa.Column("id", _id, nullable=False),
        sa.Column("createdAt", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(journal, [{"id": secrets.token_hex(4), "createdAt": int(time.time() * 1000)}])


# ---------------------------------------------------------------------------------------------- groups


def _ends(text: str, end: str) -> str:
    """Whether a text ends in a hyphen and a contact's id. LIKE would take characters of the id for its own."""
    behind = f"SUBSTR({text}, LENGTH({text}) - LENGTH({end}))"
    return f"(LENGTH({text}) > LENGTH({end}) + 1 AND {behind} = '-' || {end})"


_BOTH_END = " AND ".join(_ends(text, '"contactId"') for text in ('"conversationLogId"', '"conversationId"'))
_OF_CONTACT = f"""
    INSERT INTO "groups" ("tenant", "platform", "conversationLogId", "contactId")
    SELECT "tenant", "platform", "conversationLogId", "contactId"
    FROM "conversationLogs" AS log
    WHERE NOT "shared" AND "contactId" <> '' AND {_BOTH_END}
      AND NOT EXISTS (
        SELECT 1 FROM "messageLogs" AS held
        WHERE held."conversationLogId" = log."conversationLogId" AND held."tenant" = log."tenant"
          AND held."platform" = log."platform" AND NOT {_ends('held."id"', 'log."contactId"')})
"""  # noqa: S608 - our own names
# To give a log to another contact made another generation of it.
_PERHAPS_LINKED = """
    SELECT log."tenant", log."platform", log."conversationLogId", log."conversationId"
    FROM "conversationLogs" AS log
    LEFT JOIN "groups" AS found
      ON found."conversationLogId" = log."conversationLogId" AND found."tenant" = log."tenant"
     AND found."platform" = log."platform"
    WHERE NOT log."shared" AND log."generation" > 1 AND found."contactId" IS NULL
"""
_MESSAGES = """
    SELECT "id" FROM "messageLogs"
    WHERE "conversationLogId" = :log AND "tenant" = :tenant AND "platform" = :platform
"""
_LINKED = """
    INSERT INTO "groups" ("tenant", "platform", "conversationLogId", "contactId")
    VALUES (:tenant, :platform, :log, :contact)
"""


def _find_groups() -> None:
    """Record which logs are a group's, and their contact.

    The ids of such a log, of its conversation and of all its messages end in the contact's. One that was given to
    another contact has kept the ids that it had: there all of them end in the contact.
    """
    op.create_table(
        "groups",
        sa.Column("tenant", _id, nullable=False),
        sa.Column("platform", _id, nullable=False),
        sa.Column("conversationLogId", _id, nullable=False),
        sa.Column("contactId", _id, nullable=False),
        sa.PrimaryKeyConstraint("conversationLogId", "tenant", "platform"),
    )
    connection = op.get_bind()
    connection.execute(sa.text(_OF_CONTACT))
    for tenant, platform, log_id, conversation_id in connection.execute(sa.text(_PERHAPS_LINKED)).all():
        key = {"tenant": tenant, "platform": platform, "log": log_id}
        messages = list(connection.execute(sa.text(_MESSAGES), key).scalars())
        contact = _common_end([conversation_id, log_id, *messages]) if messages else None
        if contact is not None:
            connection.execute(sa.text(_LINKED), {**key, "contact": contact})


def _common_end(ids: list[str]) -> str | None:
    """The longest text that all of these end in behind a hyphen; None where there is none."""
    shortest = min(ids, key=len)
    for at, character in enumerate(shortest):
        end = shortest[at:]
        if at > 0 and character == "-" and len(end) > 1 and all(each.endswith(end) for each in ids):
            return end[1:]
    return None


# ------------------------------------------------------------------------------------------- the copies

_GROUP = """
    LEFT JOIN "groups" AS found
      ON found."conversationLogId" = {of}."conversationLogId" AND found."tenant" = {of}."tenant"
     AND found."platform" = {of}."platform"
"""
_WITH_GROUP = _GROUP.format(of="log")
_WITH_LOG = (
    _GROUP.format(of="held")
    + """
    LEFT JOIN "conversationLogs" AS log
      ON log."conversationLogId" = held."conversationLogId" AND log."tenant" = held."tenant"
     AND log."platform" = held."platform"
"""
)
_CONTACT = """COALESCE(found."contactId", '')"""
_SHARED = 'COALESCE(log."shared", false)'


def _without_contact(text: str) -> str:
    """An id without the contact's, where the log is a group's."""
    kept = f'LENGTH({text}) - LENGTH(found."contactId") - 1'
    return f'CASE WHEN found."contactId" IS NULL THEN {text} ELSE SUBSTR({text}, 1, {kept}) END'


Columns = list[tuple[sa.Column[Any], str]]
"""Columns, each with the value that it gets; nothing if it keeps its old one."""


def _copy(name: str, columns: Columns, key: tuple[str, ...], alias: str, joined: str) -> None:
    """Make a new table, and fill it from the old one."""
    made = f"{name}New"
    op.create_table(made, *(column for column, _ in columns), sa.PrimaryKeyConstraint(*key))
    names = ", ".join(f'"{column.name}"' for column, _ in columns)
    values = ", ".join(value or f'{alias}."{column.name}"' for column, value in columns)
    op.execute(f'INSERT INTO "{made}" ({names}) SELECT {values} FROM "{name}" AS {alias} {joined}')  # noqa: S608 - our own names
    op.drop_table(name)
    op.rename_table(made, name)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f'ALTER INDEX "{made}_pkey" RENAME TO "{name}_pkey"')


def _id_column(name: str, value: str = "") -> tuple[sa.Column[Any], str]:
    return sa.Column(name, _id, nullable=False), value


def _column(
    name: str, type_: type[sa.types.TypeEngine[Any]], *, null: bool = False, default: str | None = None
) -> tuple[sa.Column[Any], str]:
    return sa.Column(name, type_, nullable=null, server_default=default), ""


def _messages() -> Columns:
    return [
        _id_column("tenant"),
        _id_column("platform"),
        _id_column("messageId", _without_contact('held."id"')),
        *_log_key("held"),
        _id_column("id"),
        _column("conversationId", sa.Text),
        _id_column("conversationLogId"),
        _column("thirdPartyLogId", sa.Text, null=True),
        _column("userId", sa.Text),
        _id_column("state"),
        _column("reason", sa.Text, null=True),
        _column("sentAt", sa.BigInteger),
        _column("version", sa.BigInteger),
        _column("entryHash", sa.LargeBinary, null=True),
        _column("payload", sa.LargeBinary, null=True),
        _column("createdAt", sa.BigInteger),
        _column("updatedAt", sa.BigInteger),
    ]


def _attempts() -> Columns:
    return [
        _id_column("tenant"),
        _id_column("platform"),
        *_log_key("held"),
        _column("fence", sa.BigInteger),
        _id_column("id"),
        _column("at", sa.BigInteger),
        _column("call", sa.Text),
        _column("error", sa.Text),
        _column("status", sa.Integer, null=True),
        _column("reason", sa.Text, null=True),
        _column("body", sa.LargeBinary, null=True),
    ]


def _logs() -> Columns:
    return [
        _id_column("tenant"),
        _id_column("platform"),
        *_log_key("log"),
        _id_column("conversationLogId"),
        _column("conversationId", sa.Text),
        (
            sa.Column("journal", sa.Text, nullable=False),
            "''",
        ),  # their keys are from the time before journals had an id
        _id_column("contactId"),
        _column("contactType", sa.Text),
        _column("contactName", sa.Text),
        _column("pins", sa.Text),
        _column("state", sa.Text),
        _column("reason", sa.Text, null=True),
        _column("thirdPartyLogId", sa.Text, null=True),
        _column("generation", sa.Integer),
        _column("createdBy", sa.Text, null=True),
        _column("version", sa.BigInteger),
        _column("blocks", sa.LargeBinary),
        _column("owner", sa.Text, null=True),
        _column("fence", sa.BigInteger),
        _column("dueAt", sa.BigInteger, null=True),
        _column("call", sa.Text, null=True),
        _column("callUser", sa.Text, null=True),
        _column("callVersion", sa.BigInteger),
        _column("callBefore", sa.Text, null=True),
        _column("tries", sa.Integer),
        _column("asks", sa.Integer),
        _column("bodySize", sa.Integer, default="0"),
        _column("earlier", sa.Text, null=True),
        _column("refusals", sa.Integer, default="0"),
        _column("createdAt", sa.BigInteger),
        _column("updatedAt", sa.BigInteger),
    ]


def _log_key(of: str) -> Columns:
    """The columns that find a conversation log, beside tenant and platform."""
    return [
        _id_column("clientLogId", _without_contact(f'{of}."conversationLogId"')),
        (sa.Column("shared", sa.Boolean, nullable=False), _SHARED),
        _id_column("groupContactId", _CONTACT),
    ]


# ------------------------------------------------------------------------------------------- the indexes


def _index() -> None:
    due, trouble = '"dueAt" IS NOT NULL', '"reason" IS NOT NULL'
    _partial("conversationLogsDue", "conversationLogs", due, "dueAt")
    _partial("conversationLogsDueByTenant", "conversationLogs", due, "platform", "tenant", "dueAt")
    op.create_index("conversationLogsByContact", "conversationLogs", ["contactId", "tenant", "platform"])
    op.create_index("conversationLogsByTime", "conversationLogs", ["updatedAt"])
    op.create_index("messageLogsByLog", "messageLogs", [*_LOG_KEY, "state", "sentAt"])
    after = ("updatedAt", "messageId", "groupContactId", "shared")
    _partial("messageLogsInTrouble", "messageLogs", trouble, *after, "tenant", "platform")
    _partial("messageLogsInTroubleOf", "messageLogs", trouble, "tenant", *after, "platform")
    _partial("messageLogsToErase", "messageLogs", f'{trouble} AND "payload" IS NOT NULL', "updatedAt")
    waiting = "\"state\" = 'waiting' OR \"state\" = 'unknown'"
    of_user = ("userId", "tenant", "platform", "clientLogId", "shared", "groupContactId")
    _partial("messageLogsByUser", "messageLogs", waiting, *of_user)
    op.create_index("attemptsByLog", "attempts", [*_LOG_KEY, "fence"])
    op.create_index("attemptsByTime", "attempts", ["at"])


def _partial(name: str, table: str, where: str, *columns: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, list(columns), postgresql_where=condition, sqlite_where=condition)
