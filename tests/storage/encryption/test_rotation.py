"""All sealed values are sealed again, while others write, after any interruption; and no value is lost or changed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messagelog.storage import Sealer, open_store, schema
from messagelog.storage.encryption.rotation import count_by_key, rotate
from messagelog.storage.sealed_columns import SEALED, SealedColumn
from storage.journal import run_sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from messagelog.storage import Store
    from messagelog.storage.transactions import Transaction

T = TypeVar("T")

NEW, OLD, OLDER, LOST = (f"secret key number {number} of a rotation, 0123456789" for number in range(4))
RING = Sealer(NEW, [OLDER, OLD])
PLAIN = {("conversationLogs", "blocks"), ("messageLogs", "entryHash")}
"""Columns of bytes that hold hashes and times, and no text."""

IDS = ("1", "a'b", "é", "Z", "z", "10", "\U0001f600", " ", "log/7/13/2026", "1-c-2")
IN_KEY: dict[str, dict[str, str]] = {"1-c-2": {"messageId": "1", "groupContactId": "c-2"}}
"""What stands in the columns that make the key, where it is not the id that is shown: one is a group's message."""


@dataclass(frozen=True)
class Row:
    """A row with a sealed value."""

    column: SealedColumn
    id: str

    @property
    def key(self) -> tuple[str, ...]:
        return (*("acme", "crm")[: len(self.column.key) - 1], self.id)

    @property
    def condition(self) -> str:
        pairs = zip(self.column.key, self.key, strict=True)
        return " AND ".join(f'"{name}" = {quoted(value)}' for name, value in pairs)

    def other(self, column: sa.Column[Any]) -> str:
        """A value in SQL for a column that has to have one: in the key of the table, the row's own."""
        if column.primary_key and isinstance(column.type, sa.Text):
            value = "" if column.name == "groupContactId" else self.id
            return quoted(IN_KEY.get(self.id, {}).get(column.name, value))
        return some(column.type)

    def sealed(self, secret: str, text: str) -> bytes:
        return Sealer(secret).seal(text.encode(), *self.column.context(*self.key))


Values = dict[Row, bytes | None]
ROWS = [Row(column, id_) for column in SEALED for id_ in IDS]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def literal(url: str, value: bytes | None) -> str:
    """The bytes in SQL; none of them where there is no value, which all of the columns may hold."""
    shown = (value or b"").hex()
    return f"X'{shown}'" if url.startswith("sqlite") else f"'\\x{shown}'::bytea"


def some(kind: object) -> str:
    """A value for a column that has to have one."""
    if isinstance(kind, sa.Boolean):
        return "false"
    return "1" if isinstance(kind, sa.Integer) else "'x'"


def insert(url: str, values: Values) -> None:
    """Puts rows into their tables."""
    for column in SEALED:
        rows = {row: value for row, value in values.items() if row.column == column}
        table = schema.metadata.tables[column.table]
        given_ = (*column.key, column.column)
        others = [each for each in table.columns if not each.nullable and each.name not in given_]
        names = ", ".join(f'"{name}"' for name in (*given_, *(each.name for each in others)))
        lines = [
            f"({', '.join((*map(quoted, row.key), literal(url, value), *map(row.other, others)))})"
            for row, value in rows.items()
        ]
        run_sql(url, f'DELETE FROM "{column.table}"')  # noqa: S608 - our own names
        if lines:
            run_sql(url, f'INSERT INTO "{column.table}" ({names}) VALUES {", ".join(lines)}')  # noqa: S608 - as above


def write(url: str, row: Row, value: bytes | None) -> None:
    """Writes a value as a server does that knows nothing of a rotation."""
    column = row.column
    run_sql(
        url,
        f'UPDATE "{column.table}" SET "{column.column}" = {literal(url, value)} WHERE {row.condition}',  # noqa: S608 - as above
    )


def stored(url: str, rows: Iterable[Row]) -> Values:
    """The values as they are."""
    found: Values = {}
    for column in SEALED:
        values = run_sql(url, f'SELECT "{column.key[-1]}", "{column.column}" FROM "{column.table}"')  # noqa: S608 - as above
        found |= {Row(column, id_): bytes(value) or None for id_, value in values}
    return {row: found[row] for row in rows}


def opened(sealer: Sealer, values: Values) -> dict[Row, str | None]:
    return {
        row: None if value is None else sealer.open(value, *row.column.context(*row.key)).decode()
        for row, value in values.items()
    }


class Meddling:
    """A store beside which something happens before each transaction that writes."""

    def __init__(self, store: Store, meddle: Callable[[], None]) -> None:
        self._store = store
        self._meddle = meddle

    async def read(self, transaction: Callable[[], Transaction[T]]) -> T:
        return await self._store.read(transaction)

    async def write(self, transaction: Callable[[], Transaction[T]], *, locks: Sequence[Any] = ()) -> T:
        self._meddle()
        return await self._store.write(transaction, locks=locks)

    async def close(self) -> None:
        await self._store.close()


async def rotated(url: str, meddle: Callable[[], None] = lambda: None) -> dict[str, tuple[int, int]]:
    """Rotate in small batches; return how many values of each table were sealed again, and how many not opened."""
    store = await open_store(url)
    try:
        done = await rotate(Meddling(store, meddle), RING, batch=4)
    finally:
        await store.close()
    return {each.table: (each.resealed, each.unopened) for each in done}


def filled(url: str) -> dict[Row, str | None]:
    """Values under all keys of the ring, and none here and there; their texts."""
    texts: dict[Row, str | None] = {row: f"text of {row.key}" for row in ROWS}
    texts[ROWS[1]] = None  # it would have been under the newest
    secrets = (OLD, NEW, OLDER)
    insert(
        url,
        {
            row: None if text is None else row.sealed(secrets[number % 3], text)
            for number, (row, text) in enumerate(texts.items())
        },
    )
    return texts


def test_every_column_of_bytes_is_sealed_or_known_to_hold_no_text() -> None:
    """A new sealed column must be listed, or a rotation would leave it out."""
    of_bytes = {
        (table.name, column.name)
        for table in schema.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, sa.LargeBinary)
    }
    assert of_bytes - PLAIN == {(column.table, column.column) for column in SEALED}


@pytest.mark.parametrize("column", SEALED, ids=lambda column: column.table)
def test_the_key_of_a_sealed_column_is_that_of_its_table(column: SealedColumn) -> None:
    key = [each.name for each in schema.metadata.tables[column.table].primary_key]
    assert list(column.order) == key
    # A message's text is bound to the id that is shown of it, which has a group's contact in it.
    shown = {"messageId": "id"}
    bound = {shown.get(name, name) for name in key} - {"groupContactId", "shared"}
    assert set(column.key) == bound


def test_the_stored_keys_come_last() -> None:
    """They keep a server from starting without a secret that other values may still need."""
    assert SEALED[-1].table == "keys"


async def test_everything_is_under_the_newest_key_afterwards(database_url: str) -> None:
    texts = filled(database_url)
    done = await rotated(database_url)
    assert sum(resealed for resealed, _ in done.values()) == 40, "two of three, in each of the tables"
    assert {unopened for _, unopened in done.values()} == {0}
    assert opened(Sealer(NEW), stored(database_url, ROWS)) == texts
    store = await open_store(database_url)
    counts = await count_by_key(store)
    await store.close()
    assert all(of_table.keys() == {RING.key_id} for of_table in counts.values())
    assert set((await rotated(database_url)).values()) == {(0, 0)}, "nothing is left to be done"


async def test_what_nobody_can_open_stays_as_it_is(database_url: str) -> None:
    row, altered, moved, short = ROWS[:4]
    good = altered.sealed(OLD, "altered")
    values: Values = {
        row: row.sealed(LOST, "of a lost key"),
        altered: good[:-1] + bytes([good[-1] ^ 1]),
        moved: ROWS[4].sealed(OLD, "of another row"),
        short: b"\x01abc",
        ROWS[4]: ROWS[4].sealed(OLD, "good"),
    }
    insert(database_url, values)
    assert (await rotated(database_url))["users"] == (1, 4)
    after = stored(database_url, values)
    assert {each: after[each] for each in ROWS[:4]} == {each: values[each] for each in ROWS[:4]}
    assert opened(Sealer(NEW), {ROWS[4]: after[ROWS[4]]}) == {ROWS[4]: "good"}


async def test_a_rotation_may_be_broken_off_anywhere_and_repeated(database_url: str) -> None:
    """After each number of batches, over the whole of it."""
    breaks = 0
    texts: dict[Row, str | None] = {}
    for most in range(2, 40, 3):
        left = most

        def breaking() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

        texts = filled(database_url)
        try:
            await rotated(database_url, breaking)
        except KeyboardInterrupt:
            breaks += 1
        assert opened(RING, stored(database_url, ROWS)) == texts, "whatever is done, all of it opens"
        if left > 0:
            break
    assert breaks > 2
    await rotated(database_url)
    assert opened(Sealer(NEW), stored(database_url, ROWS)) == texts


CHANGES = st.lists(
    st.tuples(
        st.integers(0, len(ROWS) - 1), st.sampled_from((NEW, OLD, OLDER, None)), st.text("ab", max_size=3)
    ),
    max_size=16,
)


@settings(
    max_examples=6,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(changes=CHANGES, each_time=st.integers(1, 4))
def test_whatever_is_written_meanwhile_stays(
    database_url: str, changes: list[tuple[int, str | None, str]], each_time: int
) -> None:
    """Values are replaced, or erased, after they were read and before they are written again."""
    texts = filled(database_url)
    left = list(changes)

    def meddle() -> None:
        for number, secret, text in left[:each_time]:
            row = ROWS[number]
            texts[row] = None if secret is None else text
            write(database_url, row, None if secret is None else row.sealed(secret, text))
        del left[:each_time]

    asyncio.run(rotated(database_url, meddle))
    assert opened(RING, stored(database_url, ROWS)) == texts
    asyncio.run(rotated(database_url))
    assert opened(Sealer(NEW), stored(database_url, ROWS)) == texts


async def test_two_rotations_at_once_do_no_harm(database_url: str) -> None:
    texts = filled(database_url)
    await asyncio.gather(rotated(database_url), rotated(database_url))
    assert opened(Sealer(NEW), stored(database_url, ROWS)) == texts
