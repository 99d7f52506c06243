"""Statements that fill tables with logged messages, as unevenly spread as real ones.

A few conversations have hundreds of messages, most have a few: the conversation of a row is a number between 0 and 1
to the power of three, times the number of conversations. The rows of a conversation are spread over the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import sqlalchemy as sa

from messagelog.storage import schema

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_OLD_CONVERSATION: Final = 8_500_000_000_000
"""The first number of conversations that were filled in."""

Dialect = Literal["postgres", "sqlite"]

_MESSAGES_PER_CONVERSATION: Final = 5

_NUMBERS: Final[dict[Dialect, str]] = {
    "postgres": "WITH numbers AS (SELECT generate_series(1::bigint, {rows}) AS n)",
    "sqlite": "WITH RECURSIVE numbers AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})",
}
# Knuth's multiplicative hash: a number between 0 and 1 that looks random, and is the same every time.
_KNUTH: Final = 2_654_435_761
_CHANCES: Final = (
    "SELECT n, CAST((n * 2654435761) % 4294967296 AS double precision) / 4294967296 AS chance FROM numbers"
)
_MADE: Final[dict[Dialect, str]] = {
    "postgres": "SELECT n, {first} + floor(chance * chance * chance * {conversations})::bigint AS c FROM chances",
    "sqlite": "SELECT n, {first} + CAST(chance * chance * chance * {conversations} AS integer) AS c FROM chances",
}

_PEER_ROWS: Final = {
    "id": "'7' || n",
    "platform": "'bench'",
    "conversationId": "'' || c",
    "conversationLogId": "c || '/7/13/2026'",
    "thirdPartyLogId": "'old-' || c",
    "userId": "'u-1-bench'",
    "createdAt": "now()",
    "updatedAt": "now()",
}
_OUR_ROWS: Final = {
    "tenant": "'bench'",
    "platform": "'bench'",
    "messageId": "'7' || n",
    "clientLogId": "c || '/7/13/2026'",
    "id": "'7' || n",
    "conversationId": "'' || c",
    "conversationLogId": "c || '/7/13/2026'",
    "thirdPartyLogId": "'old-' || c",
    "userId": "'u-1'",
    "state": "'logged'",
    "sentAt": "1780000000000 + n",
    "createdAt": "1780000000000 + n",
    "updatedAt": "1780000000000 + n",
}
_OUR_LOGS: Final = {
    "tenant": "'bench'",
    "platform": "'bench'",
    "clientLogId": "c || '/7/13/2026'",
    "conversationLogId": "c || '/7/13/2026'",
    "conversationId": "'' || c",
    "contactId": "'c-1'",
    "contactType": "'contact'",
    "contactName": "'Maya Patel'",
    "pins": """'{"format":"text/plain","zone":"UTC","locale":"en","template":1}'""",
    "state": "'open'",
    "thirdPartyLogId": "'old-' || c",
    "generation": "1",
    "createdBy": "'u-1'",
    "createdAt": "1780000000000 + c",
    "updatedAt": "1780000000000 + c",
}


def peer_rows(rows: int) -> str:
    """Return the statement that fills the peer's table."""
    return _insert("messageLogs", _PEER_ROWS, rows, "postgres")


def our_rows(rows: int, dialect: Dialect) -> tuple[str, str]:
    """Return the statements that fill our tables."""
    blobs = {"postgres": "decode(md5({n}::text), 'hex')", "sqlite": "randomblob(16)"}
    messages = _OUR_ROWS | {"entryHash": blobs[dialect].format(n="n")}
    return (
        _insert("conversationLogs", _complete(schema.conversation_logs, _OUR_LOGS, dialect), rows, dialect),
        _insert("messageLogs", _complete(schema.message_logs, messages, dialect), rows, dialect),
    )


def old_conversation(row: int, rows: int) -> int:
    """Return the conversation of a row, one of those that were filled in."""
    chance = (row * _KNUTH) % 2**32 / 2**32
    return FIRST_OLD_CONVERSATION + int(chance * chance * chance * _conversations(rows))


def _conversations(rows: int) -> int:
    return max(1, rows // _MESSAGES_PER_CONVERSATION)


def _complete(table: sa.Table, values: Mapping[str, str], dialect: Dialect) -> dict[str, str]:
    """Return the values, and empty ones for all other columns that must not be null."""
    rest = {
        column.name: _empty(column, dialect)
        for column in table.columns
        if not column.nullable and column.name not in values
    }
    return {**values, **rest}


def _empty(column: sa.Column[object], dialect: Dialect) -> str:
    match column.type:
        case sa.Boolean():
            return "false"
        case sa.LargeBinary():
            return "''::bytea" if dialect == "postgres" else "x''"
        case sa.Integer():
            return "0"
    return "''"


def _insert(table: str, values: Mapping[str, str], rows: int, dialect: Dialect) -> str:
    made = _MADE[dialect].format(conversations=_conversations(rows), first=FIRST_OLD_CONVERSATION)
    columns = ", ".join(f'"{name}"' for name in values)
    # A table of conversations has each of them once, since it has no values of messages.
    chosen = f"SELECT DISTINCT {', '.join(values.values())} FROM made"  # noqa: S608 - our own words above
    numbers = f"{_NUMBERS[dialect].format(rows=rows)}, chances AS ({_CHANCES}), made AS ({made})"
    insert = f'INSERT INTO "{table}" ({columns})'
    return f"{numbers} {insert} {chosen}" if dialect == "postgres" else f"{insert} {numbers} {chosen}"
