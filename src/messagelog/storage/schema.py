"""The schema of both databases, for Alembic. `messageLogs` keeps the reference's names; the rest follows them.

Times are epoch milliseconds (UTC) in both databases, so that they compare and sort alike. So do ids: by their bytes,
in PostgreSQL too, whatever its locale; an index that follows a locale breaks when the operating system's changes.
Keys begin with the id, which tells rows apart best.

`id`, `conversationLogId` and `conversationId` are what people see, as the reference has them: a group's end in
`-<contactId>`. What is unique, and looked up, is made of `messageId` and `clientLogId` (the ids without that), of
`shared` (whether it is a thread), and of `groupContactId`, which is empty where it is no group.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

_id = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _partial(name: str, where: str, *columns: str) -> sa.Index:
    """Return an index of the rows that meet a condition."""
    condition = sa.text(where)
    return sa.Index(name, *columns, postgresql_where=condition, sqlite_where=condition)


conversation_logs = sa.Table(
    "conversationLogs",
    metadata,
    sa.Column("tenant", _id, nullable=False),
    sa.Column("platform", _id, nullable=False),
    sa.Column("clientLogId", _id, nullable=False),
    sa.Column("shared", sa.Boolean, nullable=False),
    sa.Column("groupContactId", _id, nullable=False),
    sa.Column("conversationLogId", _id, nullable=False),
    sa.Column("conversationId", sa.Text, nullable=False),
    sa.Column("journal", sa.Text, nullable=False),
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
    sa.Column("bodySize", sa.Integer, nullable=False, server_default="0"),
    sa.Column("earlier", sa.Text),
    sa.Column("refusals", sa.Integer, nullable=False, server_default="0"),
    sa.Column("createdAt", sa.BigInteger, nullable=False),
    sa.Column("updatedAt", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("clientLogId", "groupContactId", "shared", "tenant", "platform"),
    _partial("conversationLogsDue", '"dueAt" IS NOT NULL', "dueAt"),
    _partial("conversationLogsDueByTenant", '"dueAt" IS NOT NULL', "platform", "tenant", "dueAt"),
    sa.Index("conversationLogsByContact", "contactId", "tenant", "platform"),
    sa.Index("conversationLogsByTime", "updatedAt"),
    sa.Index("conversationLogsByConversation", "conversationId", "tenant", "platform"),
)

# What a user's sign-in sets going again: few rows of many, and none while all is well.
_WAITING_FOR_USER = sa.text("\"state\" = 'waiting' OR \"state\" = 'unknown'")

message_logs = sa.Table(
    "messageLogs",
    metadata,
    sa.Column("tenant", _id, nullable=False),
    sa.Column("platform", _id, nullable=False),
    sa.Column("messageId", _id, nullable=False),
    sa.Column("clientLogId", _id, nullable=False),
    sa.Column("shared", sa.Boolean, nullable=False),
    sa.Column("groupContactId", _id, nullable=False),
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
    sa.Column("facts", sa.Text),
    sa.Column("factsAt", sa.BigInteger),
    sa.Column("changes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("createdAt", sa.BigInteger, nullable=False),
    sa.Column("updatedAt", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("messageId", "groupContactId", "shared", "tenant", "platform"),
    sa.Index(
        "messageLogsByLog",
        *("clientLogId", "groupContactId", "shared", "tenant", "platform"),
        *("state", "sentAt"),
    ),
    # What is logged without trouble has no reason, so that these three are small, and cost the good way nothing.
    _partial(
        "messageLogsInTrouble",
        '"reason" IS NOT NULL',
        *("updatedAt", "messageId", "groupContactId", "shared", "tenant", "platform"),
    ),
    _partial(
        "messageLogsInTroubleOf",
        '"reason" IS NOT NULL',
        *("tenant", "updatedAt", "messageId", "groupContactId", "shared", "platform"),
    ),
    _partial("messageLogsToErase", '"reason" IS NOT NULL AND "payload" IS NOT NULL', "updatedAt"),
    sa.Index(
        "messageLogsByUser",
        *("userId", "tenant", "platform", "clientLogId", "shared", "groupContactId"),
        postgresql_where=_WAITING_FOR_USER,
        sqlite_where=_WAITING_FOR_USER,
    ),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("tenant", _id, nullable=False),
    sa.Column("platform", _id, nullable=False),
    sa.Column("id", _id, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("hostname", sa.Text, nullable=False),
    sa.Column("timezone", sa.Text),
    sa.Column("timezoneOffset", sa.Text),
    sa.Column("credentials", sa.LargeBinary),
    sa.Column("sessionId", sa.Text),
    sa.Column("refreshOwner", sa.Text),
    sa.Column("refreshUntil", sa.BigInteger),
    sa.Column("signInSince", sa.BigInteger),
    sa.Column("createdAt", sa.BigInteger, nullable=False),
    sa.Column("updatedAt", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("id", "tenant", "platform"),
)

# Which tenant a name at a CRM stands for, by the host that says it: its scheme, name and port; empty where any host of
# the connector's is to be believed; without a scheme where it is what users typed before hosts were recorded.
tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("crmTenant", _id, nullable=False),
    sa.Column("platform", _id, nullable=False),
    sa.Column("host", _id, nullable=False),
    sa.Column("tenant", _id, nullable=False),
    sa.Column("createdAt", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("crmTenant", "platform", "host"),
    sa.Index("tenantsByTenant", "tenant", "platform"),
)

user_settings = sa.Table(
    "userSettings",
    metadata,
    sa.Column("tenant", _id, nullable=False),
    sa.Column("platform", _id, nullable=False),
    sa.Column("userId", _id, nullable=False),
    sa.Column("settingId", _id, nullable=False),
    sa.Column("setting", sa.Text, nullable=False),
    sa.Column("updatedAt", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("userId", "tenant", "platform", "settingId"),
)

admin_settings = sa.Table(
    "adminSettings",
    metadata,
    sa.Column("tenant", _id, nullable=False),
    sa.Column("platform", _id, nullable=False),
    sa.Column("settingId", _id, nullable=False),
    sa.Column("setting", sa.Text, nullable=False),
    sa.Column("updatedAt", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("tenant", "platform", "settingId"),
)

contacts = sa.Table(
    "contacts",
    metadata,
    sa.Column("tenant", _id, nullable=False),
    sa.Column("platform", _id, nullable=False),
    sa.Column("phoneNumber", _id, nullable=False),
    sa.Column("contacts", sa.LargeBinary, nullable=False),
    sa.Column("foundAt", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("phoneNumber", "tenant", "platform"),
    sa.Index("contactsByTime", "foundAt"),
)

new_contacts = sa.Table(
    "newContacts",
    metadata,
    sa.Column("tenant", _id, nullable=False),
    sa.Column("platform", _id, nullable=False),
    sa.Column("key", _id, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("contact", sa.LargeBinary),
    sa.PrimaryKeyConstraint("key", "tenant", "platform"),
    sa.Index("newContactsByTime", "until"),
)

oauth_states = sa.Table(
    "oauthStates",
    metadata,
    sa.Column("id", _id, nullable=False),
    sa.Column("expiresAt", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("id"),
    sa.Index("oauthStatesByEnd", "expiresAt"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("tenant", _id, nullable=False),
    sa.Column("platform", _id, nullable=False),
    sa.Column("clientLogId", _id, nullable=False),
    sa.Column("shared", sa.Boolean, nullable=False),
    sa.Column("groupContactId", _id, nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("id", _id, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("call", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("reason", sa.Text),
    sa.Column("body", sa.LargeBinary),
    sa.PrimaryKeyConstraint("id", "tenant", "platform"),
    sa.Index("attemptsByLog", "clientLogId", "groupContactId", "shared", "tenant", "platform", "fence"),
    sa.Index("attemptsByTime", "at"),
)

paces = sa.Table(
    "paces",
    metadata,
    sa.Column("tenant", _id, nullable=False),
    sa.Column("platform", _id, nullable=False),
    sa.Column("circuit", sa.Text, nullable=False),
    sa.Column("notBefore", sa.BigInteger),
    sa.Column("catchUpAt", sa.BigInteger),
    sa.Column("activeUntil", sa.BigInteger),
    sa.Column("openSince", sa.BigInteger),
    sa.Column("pace", sa.Text, nullable=False),
    sa.Column("updatedAt", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("tenant", "platform"),
    sa.Index(
        "pacesActive",
        "activeUntil",
        postgresql_where=sa.text('"activeUntil" IS NOT NULL'),
        sqlite_where=sa.text('"activeUntil" IS NOT NULL'),
    ),
)

operators = sa.Table(
    "operators",
    metadata,
    sa.Column("name", _id, nullable=False),
    sa.Column("password", sa.Text, nullable=False),
    sa.Column("roles", sa.Text, nullable=False),
    sa.Column("createdAt", sa.BigInteger, nullable=False),
    sa.Column("updatedAt", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("name"),
)

operator_sessions = sa.Table(
    "operatorSessions",
    metadata,
    sa.Column("id", _id, nullable=False),
    sa.Column("operator", _id, nullable=False),
    sa.Column("createdAt", sa.BigInteger, nullable=False),
    sa.Column("usedAt", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("id"),
    sa.Index("operatorSessionsByOperator", "operator"),
    sa.Index("operatorSessionsByTime", "createdAt"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", _id, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("operator", _id, nullable=False),
    sa.Column("act", sa.Text, nullable=False),
    sa.Column("role", sa.Text),
    sa.Column("tenant", _id),
    sa.Column("platform", _id),
    sa.Column("subject", sa.Text),
    sa.PrimaryKeyConstraint("id"),
    sa.Index("auditByTime", "at"),
    sa.Index("auditByOperator", "operator", "at"),
    sa.Index("auditByTenant", "tenant"),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("purpose", _id, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("createdAt", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("purpose"),
)

# One row: the id that this journal's external ids carry.
journal = sa.Table(
    "journal",
    metadata,
    sa.Column("id", _id, nullable=False),
    sa.Column("createdAt", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("id"),
)
