"""What a script writes for one tenant, copied row by row to its neighbours, whatever tables there are.

The copies have the same ids, so that a statement that forgets the tenant or the platform finds them, and their texts
say whose they are, so that what is read of them can be seen. A table that is added to the schema is copied by itself;
one whose rows belong to no tenant has to be named here, with the reason.

Of our own tenant a conversation, a thread and a group may have the same ids: those are copied in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg
import sqlalchemy as sa

from messagelog.storage.schema import metadata
from storage.journal import run_sql

if TYPE_CHECKING:
    from collections.abc import Sequence

NOBODYS: Final = {
    "journal": "the journal's own id",
    "keys": "the server's own, for hashes that have tenant and platform in their rows",
    "oauthStates": "used states, by random ids: a state names no user, and only its platform's sign-in knows it",
    "operators": "accounts of the people who run the server",
    "operatorSessions": "their sessions",
}
"""Tables whose rows belong to no tenant."""

TENANT, PLATFORM = "acme", "crm"
NEIGHBOURS: Final = (("other", PLATFORM), (TENANT, "other-crm"), ("other", "other-crm"))
THEIRS: Final = "theirs-7f3a"
_OURS: Final = f"\"tenant\" = '{TENANT}' AND \"platform\" = '{PLATFORM}'"
_OF_NO_KIND: Final = 'NOT "shared" AND "groupContactId" = \'\''
_KINDS: Final = (
    {"shared": "true", "groupContactId": "''"},
    {"shared": "false", "groupContactId": "'c-0'"},
    {"shared": "false", "groupContactId": "'c-1'"},
)
"""What stands in the columns of a thread's and of two groups' rows."""


def owned() -> list[sa.Table]:
    """The tables whose rows belong to a tenant."""
    tables = []
    for table in metadata.sorted_tables:
        names = set(table.columns.keys())
        if {"tenant", "platform"} <= names:
            tables.append(table)
        else:
            assert table.name in NOBODYS, f"whose are the rows of {table.name}?"
    return tables


def copy_to_neighbours(url: str) -> None:
    """Gives each neighbour the rows that our tenant has, with the same ids and with texts of their own."""
    _copy(
        url,
        owned(),
        [{"tenant": f"'{tenant}'", "platform": f"'{platform}'"} for tenant, platform in NEIGHBOURS],
        _OURS,
    )


def copy_to_other_kinds(url: str) -> None:
    """Gives a thread and groups of our tenant the rows that its conversations have."""
    _copy(url, _of_kinds(), _KINDS, f"{_OURS} AND {_OF_NO_KIND}")


def rows_of_neighbours(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of everybody but our tenant on our platform."""
    return _rows(url, owned(), f"NOT ({_OURS})")


def rows_of_other_kinds(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of our tenant's threads and groups."""
    return _rows(url, _of_kinds(), f"{_OURS} AND NOT ({_OF_NO_KIND})")


def rows_of_ours(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of our tenant on our platform."""
    return _rows(url, owned(), _OURS)


def empty(url: str) -> None:
    """Leaves nothing in any table but the journal's id."""
    names = [table.name for table in reversed(metadata.sorted_tables) if table.name != "journal"]
    run_all(url, [f'DELETE FROM "{name}"' for name in names])  # noqa: S608 - our own names


def run_all(url: str, statements: Sequence[str]) -> list[list[tuple[Any, ...]]]:
    """What `run_sql` does, for several statements with one connection."""
    if url.startswith("sqlite"):
        return [run_sql(url, statement) for statement in statements]
    with psycopg.connect(url, autocommit=True) as session:
        cursors = (session.execute(statement.encode()) for statement in statements)
        return [cursor.fetchall() if cursor.description else [] for cursor in cursors]


def _of_kinds() -> list[sa.Table]:
    """The tables in which a conversation, a thread and a group may have the same id."""
    return [table for table in owned() if "groupContactId" in table.columns]


def _copy(url: str, tables: Sequence[sa.Table], owners: Sequence[dict[str, str]], rows: str) -> None:
    """Copies rows for each owner, whose columns hold these values."""
    blob = _blob(sqlite=url.startswith("sqlite"))
    copies = []
    for table in tables:
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        for owner in owners:
            values = ", ".join(_value(table, column, owner, blob) for column in table.columns)
            copied = f'SELECT {values} FROM "{table.name}" WHERE {rows}'  # noqa: S608 - our own names
            copies.append(f'INSERT INTO "{table.name}" ({names}) {copied}')
    run_all(url, copies)


def _rows(url: str, tables: Sequence[sa.Table], condition: str) -> dict[str, list[tuple[Any, ...]]]:
    names = [table.name for table in tables]
    found = run_all(url, [f'SELECT * FROM "{name}" WHERE {condition}' for name in names])  # noqa: S608 - our own names
    return {name: sorted(rows, key=repr) for name, rows in zip(names, found, strict=True)}


def _blob(*, sqlite: bool) -> str:
    return f"X'{THEIRS.encode().hex()}'" if sqlite else f"'\\x{THEIRS.encode().hex()}'::bytea"


def _value(table: sa.Table, column: sa.Column[Any], owner: dict[str, str], blob: str) -> str:
    """What a copied row has in a column: its owner's value, the same key, a text of its own, the same number."""
    if column.name in owner:
        return owner[column.name]
    keys = [each.name for each in table.primary_key.columns]
    indexed = {each.name for index in table.indexes for each in index.columns}
    # An id that is one for everybody, or a place that is one tenant's.
    if column.name == keys[0] and (
        owner.keys().isdisjoint(keys) or ("tenant" in owner and "tenant" not in keys)
    ):
        mark = "-".join(value.strip("'") for value in owner.values())
        return f"\"{column.name}\" || '-{mark}'"
    if column.name in {*keys, *indexed}:  # what a statement looks for is the same, so that it would be found
        return f'"{column.name}"'
    if isinstance(column.type, sa.LargeBinary):
        return blob
    return f"'{THEIRS}'" if isinstance(column.type, sa.Text) else f'"{column.name}"'
