"""No statement reads a whole table: its time must not grow with what was ever logged."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from messagelog.storage.postgres.connections import SETTINGS
from messagelog.storage.sql import load
from messagelog.storage.urls import sqlite_path
from storage.journal import START, run_sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from messagelog.storage.sql import Dialect

WALKS = {
    "next_due": "PostgreSQL reads the first entry of the index of those that wait",
    "list_logs": "the newest are read from the end of an index on their time, as many as are asked for",
}
"""Statements that go through an index from an end, without looking anything up in it."""

ONE_ROW = "journal"
"""A table that has one row, which is read whole."""

SMALL = ("messageLogsInTrouble", "messageLogsInTroubleOf", "messageLogsToErase")
"""Indexes of what met with trouble, which is little: to read one from end to end is to read that, not the table."""

EITHER_WAY = {
    "logs_of_message": "people ask for it; with next to nothing in the tables it may begin at the logs"
}
"""Statements whose plan PostgreSQL may turn round in a nearly empty database."""

_OF_TENANT = "a tenant is erased so seldom that no index waits for it, and these tables are small"

_OF_COPY = "the whole of a copied database, while no server runs on it"

SCANS: dict[str, str] = {
    "drop_users_of_tenant": _OF_TENANT,
    "drop_user_settings_of_tenant": _OF_TENANT,
    "drop_contacts_of_tenant": _OF_TENANT,
    "drop_new_contacts_of_tenant": _OF_TENANT,
    "move_users": "a CRM moves so seldom that no index waits for it",
    "let_go_of_rows": _OF_COPY,
    "let_go_of_logs": _OF_COPY,
}
"""Statements that read a whole table, and why they may."""

FOR_PEOPLE = ("count_sealed_", "list_users", "list_tenants", "count_logs", "count_inbox", "count_audit")
"""How statements begin that the command line asks and no server does, but once in a database's life. They read a whole
table to count it, or all users for those of one tenant, and the databases differ in how they do.
"""

VALUES: dict[str, Any] = {
    "tenant": "tenant-7",
    "platform": "crm",
    "log": "log-1007",
    "id": "1007-2",
    "ids": ["1007-1", "1007-2", "2007-3", "none"],
    "state": "planned",
    "limit": 50,
    "user": "ada",
    "third_party_log_id": "a-1007",
    "contact_id": "c-7",
    "conversation": "conversation-1007",
    "gone": "a-1007",
    "now": START + 10_000,
    "entry_hash": b"hash",
    "payload": b"sealed",
    "credentials": b"sealed",
    "blocks": b"",
    "contacts": b"sealed",
    "contact": b"sealed",
    "number": "+1415555007",
    "key": "key-7",
    "setting_id": "setting-7",
    "phoneNumber": "+1415555007",
    "key_id": b"\1\2\3\4",
    "before": b"sealed",
    "sealed": b"sealed",
    "forget": True,
    "every": False,
    "plain": True,
    "all_tenants": False,
    "busy": ["crm/tenant-1"],
    "erase": True,
    "done": True,
    "shared": False,
    "after_shared": False,
    "group_contact": "",
    "messageId": "1007-2",
    "groupContactId": "",
    "at": START,
    "since": START,
    "cause": "rejected",
    "keep": 20,
    "status": 422,
    "all_platforms": False,
    **dict.fromkeys(
        (
            "sent_at",
            "facts_at",
            "changes",
            "version",
            "call_version",
            "generation",
            "fence",
            "due_at",
            "due_in",
            "tries",
            "asks",
            "body_size",
            "refusals",
            "until",
            "expires_at",
            "not_before",
            "catch_up_at",
            "active_until",
            "open_since",
            "settle_ms",
        ),
        1,
    ),
    "name": "operator-7",
    "after": "operator-7",
    "operator": "operator-7",
    "session": "session-7",
    **dict.fromkeys(
        ("age_ms", "idle_ms", "hold_ms", "lease_ms", "longest_ms", "asked_at"), START - 1_700_000_000_000
    ),
}
"""A value for each parameter; text where nothing is said here."""

FILL = (
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
    INSERT INTO "conversationLogs" (
        "tenant", "platform", "clientLogId", "shared", "groupContactId", "conversationLogId", "conversationId",
        "journal", "contactId", "contactType", "contactName", "pins", "state", "thirdPartyLogId", "generation",
        "version", "blocks", "fence", "dueAt", "callVersion", "tries", "asks", "createdAt", "updatedAt")
    SELECT 'tenant-' || (i % 20), 'crm', 'log-' || i, i < 0, '', 'log-' || i, 'conversation-' || i, '5eed0001',
        'c-' || (i % 400), 'contact', 'a name',
        '{}', 'open', 'a-' || i, 1, 0, '', 1, CASE WHEN i % 50 = 0 THEN 1800000000000 + i END, 0, 0, 0,
        1700000000000 + i, 1700000000000 + i
    FROM n
    """,
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
    INSERT INTO "messageLogs" (
        "tenant", "platform", "messageId", "clientLogId", "shared", "groupContactId", "id", "conversationId",
        "conversationLogId", "thirdPartyLogId", "userId", "state", "reason", "sentAt", "version", "createdAt",
        "updatedAt")
    SELECT 'tenant-' || ((i / 3) % 20), 'crm', (i / 3) || '-' || (i % 3), 'log-' || (i / 3), i < 0, '',
        (i / 3) || '-' || (i % 3), 'conversation-' || (i / 3), 'log-' || (i / 3),
        'a-' || (i / 3), 'ada', CASE WHEN i % 40 = 0 THEN 'planned' ELSE 'logged' END,
        CASE WHEN i % 40 = 0 THEN 'unavailable: no' END, 1700000000000 + i, 0, 1700000000000 + i, 1700000000000 + i
    FROM n
    """,
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    INSERT INTO "users" ("tenant", "platform", "id", "name", "hostname", "createdAt", "updatedAt")
    SELECT 'tenant-' || (i % 20), 'crm', 'user-' || i, 'a name', '', 1, 1 FROM n
    """,
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
    INSERT INTO "tenants" ("crmTenant", "platform", "host", "tenant", "createdAt")
    SELECT 'tenant-' || i, 'crm', 'https://crm-' || i || '.test', 'tenant-' || i, 1 FROM n
    """,
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    INSERT INTO "oauthStates" ("id", "expiresAt") SELECT 'state-' || i, 1800000000000000 + i FROM n
    """,
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000)
    INSERT INTO "userSettings" ("tenant", "platform", "userId", "settingId", "setting", "updatedAt")
    SELECT 'tenant-' || ((i / 20) % 20), 'crm', 'user-' || (i / 20), 'setting-' || (i % 20), '{}', 1 FROM n
    """,
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
    INSERT INTO "adminSettings" ("tenant", "platform", "settingId", "setting", "updatedAt")
    SELECT 'tenant-' || (i / 20), 'crm', 'setting-' || (i % 20), '{}', 1 FROM n
    """,
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
    INSERT INTO "contacts" ("tenant", "platform", "phoneNumber", "contacts", "foundAt")
    SELECT 'tenant-' || (i % 20), 'crm', '+1415555' || i, '', 1700000000000 + i FROM n
    """,
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
    INSERT INTO "keys" ("purpose", "sealed", "createdAt") SELECT 'purpose-' || i, '', 1 FROM n
    """,
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
    INSERT INTO "paces" ("tenant", "platform", "circuit", "activeUntil", "pace", "updatedAt")
    SELECT 'tenant-' || i, 'crm', 'closed', CASE WHEN i % 50 = 0 THEN 1800000000000 + i END, '{}', 1
    FROM n
    """,
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
    INSERT INTO "newContacts" ("tenant", "platform", "key", "state", "owner", "until")
    SELECT 'tenant-' || (i % 20), 'crm', 'key-' || i, 'made', 'somebody', 1700000000000 + i FROM n
    """,
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
    INSERT INTO "attempts" (
        "tenant", "platform", "clientLogId", "shared", "groupContactId", "fence", "id", "at", "call", "error")
    SELECT 'tenant-' || (i % 20), 'crm', 'log-' || (i / 4), i < 0, '', i % 4, 'attempt-' || i, 1700000000000 + i,
        'create', 'Rejected' FROM n
    """,
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    INSERT INTO "operators" ("name", "password", "roles", "createdAt", "updatedAt")
    SELECT 'operator-' || i, 'a hash', 'text act', 1, 1 FROM n
    """,
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
    INSERT INTO "operatorSessions" ("id", "operator", "createdAt", "usedAt")
    SELECT 'session-' || i, 'operator-' || (i / 2), 1700000000000 + i, 1700000000000 + i FROM n
    """,
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000)
    INSERT INTO "audit" ("id", "at", "operator", "act", "role", "tenant", "platform", "subject")
    SELECT 'entry-' || i, 1700000000000 + i, 'operator-' || (i % 400), 'read_text', 'text', 'tenant-' || (i % 20),
        'crm', 'message-' || i FROM n
    """,
)

CONTROL = "control"
"""A statement that does read a whole table, so that we see that it is noticed."""


def filled(url: str, *, analyzed: bool, share: float = 1.0) -> None:
    for statement in FILL:
        run_sql(url, re.sub(r"i < (\d+)", lambda most: f"i < {int(int(most[1]) * share)}", statement))
    if analyzed:
        run_sql(url, "ANALYZE")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("given_clock", [False, True])
def test_no_statement_scans_a_table_in_sqlite(database_url: str, analyzed: bool, given_clock: bool) -> None:
    filled(database_url, analyzed=analyzed)
    found = {}
    with closing(sqlite3.connect(sqlite_path(database_url))) as connection:
        for name, text, values in statements("sqlite", given_clock=given_clock):
            params = {**values, "ids": '["1007-1", "1007-2", "none"]', "busy": '["crm/tenant-1"]'}
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", params)]
            if scans := [line for line in plan if _is_scan(line)]:
                found[name] = scans
    walks = {name for name, lines in found.items() if all(" USING INDEX " in line for line in lines)}
    assert walks <= WALKS.keys(), found
    assert found.keys() - walks == SCANS.keys() | {CONTROL}, found


def _is_scan(line: str) -> bool:
    words = line.split()
    # The last is a recursive query's result so far, one row at a time.
    return (
        words[0] == "SCAN"
        and words[1] not in {"CONSTANT", "json_each", "following", ONE_ROW}
        and words[-1] not in SMALL
    )


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("rows", [0, 2])
def test_plans_that_postgres_made_while_its_tables_were_nearly_empty_scan_none(
    database_url: str, rows: int
) -> None:
    """A statement is prepared once for a connection, and its plan may stay while the tables grow."""
    filled(database_url, analyzed=rows > 0, share=rows / 4000)
    found = {}
    with psycopg.connect(database_url, autocommit=True) as session:
        session.execute(SETTINGS)
        for name, text, _ in statements("postgres", given_clock=False):
            row = session.execute(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {text}".encode()).fetchone()
            assert row is not None
            if scans := [_described(node) for node in _nodes(row[0][0]["Plan"]) if _is_whole(node)]:
                found[name] = scans
    assert found.keys() - WALKS.keys() - EITHER_WAY.keys() - SCANS.keys() == {CONTROL}, found


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("settings", ["", SETTINGS], ids=["default", "stores"])
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_no_statement_scans_a_table_in_postgres(database_url: str, settings: str, mode: str) -> None:
    """By the planner's choice for these values, and by the plan it keeps for any; with the store's settings too."""
    filled(database_url, analyzed=True)
    found = {}
    with psycopg.connect(database_url, autocommit=True) as session:
        session.execute(f"SET plan_cache_mode = {mode}; {settings}".encode())
        for name, text, values in statements("postgres", given_clock=False):
            session.execute(f'PREPARE "{name}" AS {text}'.encode())
            literals = sql.SQL(", ").join(sql.Literal(value) for value in values.values())
            call = sql.SQL("({})").format(literals) if values else sql.SQL("")
            explain = sql.SQL("EXPLAIN (FORMAT JSON) EXECUTE {}{}").format(sql.Identifier(name), call)
            row = session.execute(explain).fetchone()
            assert row is not None
            if scans := [_described(node) for node in _nodes(row[0][0]["Plan"]) if _is_whole(node)]:
                found[name] = scans
    walks = {name for name, lines in found.items() if all(line.startswith("Index ") for line in lines)}
    assert walks <= WALKS.keys(), found
    scanned = found.keys() - walks
    assert CONTROL in scanned, found
    # The store's settings have them read an index from end to end instead, which the plan calls a condition.
    assert scanned == SCANS.keys() | {CONTROL} or (settings and scanned <= SCANS.keys() | {CONTROL}), found


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def _is_whole(node: dict[str, Any]) -> bool:
    """Whether a table, or an index from end to end, is read."""
    kind = node["Node Type"]
    if node.get("Index Name") in {*SMALL, f"{ONE_ROW}_pkey"} or node.get("Relation Name") == ONE_ROW:
        return False
    return kind == "Seq Scan" or (
        kind.endswith(("Index Scan", "Index Only Scan")) and "Index Cond" not in node
    )


def _described(node: dict[str, Any]) -> str:
    return f"{node['Node Type']} {node.get('Relation Name', node.get('Index Name'))}"


def statements(dialect: Dialect, *, given_clock: bool) -> Iterable[tuple[str, str, dict[str, Any]]]:
    """Each statement with a value for each of its parameters, in their order."""
    for name, statement in load(dialect, given_clock=given_clock).items():
        if name.startswith(FOR_PEOPLE):
            continue
        yield name, statement.text, {each: VALUES.get(each, "text") for each in statement.parameters}
    yield CONTROL, """SELECT "id" FROM "messageLogs" WHERE "userId" = 'eve'""", {}
