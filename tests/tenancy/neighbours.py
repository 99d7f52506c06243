"""What a script writes for one tenant, copied row by row to its neighbours, whatever tables there are.

The copies have the same ids, so that a statement that forgets the tenant or the platform finds them, and their texts
say whose they are, so that what is read of them can be seen. A table that is added to the schema is copied by itself;
one whose rows belong to no tenant has to be named here, with the reason.
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
    blob = _blob(sqlite=url.startswith("sqlite"))
    copies = []
    for table in owned():
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        for owner in NEIGHBOURS:
            values = ", ".join(_value(table, column, owner, blob) for column in table.columns)
            copied = f'SELECT {values} FROM "{table.name}" WHERE {_OURS}'  # noqa: S608 - our own names
            copies.append(f'INSERT INTO "{table.name}" ({names}) {copied}')
    run_all(url, copies)


def rows_of_neighbours(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of everybody but our tenant on our platform."""
    return _rows(url, f"NOT ({_OURS})")


def rows_of_ours(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of our tenant on our platform."""
    return _rows(url, _OURS)


def empty(url: str) -> None:
    """Leaves nothing in any table."""
    run_all(url, [f'DELETE FROM "{table.name}"' for table in reversed(metadata.sorted_tables)])  # noqa: S608 - our own names


def run_all(url: str, statements: Sequence[str]) -> list[list[tuple[Any, ...]]]:
    """What `run_sql` does, for several statements with one connection."""
    if url.startswith("sqlite"):
        return [run_sql(url, statement) for statement in statements]
    with psycopg.connect(url, autocommit=True) as session:
        cursors = (session.execute(statement.encode()) for statement in statements)
        return [cursor.fetchall() if cursor.description else [] for cursor in cursors]


def _rows(url: str, condition: str) -> dict[str, list[tuple[Any, ...]]]:
    names = [table.name for table in owned()]
    found = run_all(url, [f'SELECT * FROM "{name}" WHERE {condition}' for name in names])  # noqa: S608 - our own names
    return {name: sorted(rows, key=repr) for name, rows in zip(names, found, strict=True)}


def _blob(*, sqlite: bool) -> str:
    return f"X'{THEIRS.encode().hex()}'" if sqlite else f"'\\x{THEIRS.encode().hex()}'::bytea"


def _value(table: sa.Table, column: sa.Column[Any], owner: tuple[str, str], blob: str) -> str:
    """What a copied row has in a column: its owner's name, the same key, a text of its own, the same number."""
    if column.name in {"tenant", "platform"}:
        return f"'{owner[column.name == 'platform']}'"
    keys = {each.name for each in table.primary_key.columns}
    indexed = {each.name for index in table.indexes for each in index.columns}
    if column.name in keys and "tenant" not in keys:  # an id that is one for everybody
        return f"\"{column.name}\" || '-{owner[0]}-{owner[1]}'"
    if column.name in keys | indexed:  # what a statement looks for is the same, so that it would be found
        return f'"{column.name}"'
    if isinstance(column.type, sa.LargeBinary):
        return blob
    return f"'{THEIRS}'" if isinstance(column.type, sa.Text) else f'"{column.name}"'
