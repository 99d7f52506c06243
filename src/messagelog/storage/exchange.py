"""One exchange with PostgreSQL: statements go out together, in one packet, and all their answers come back.

Most of what a short transaction costs is waiting for answers and waking up for them. psycopg's own pipeline mode
sends every statement by itself, so this speaks to libpq (`psycopg.pq`) one step below: libpq's pipeline mode, with
statements that are prepared once for each connection.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from psycopg import abc
    from psycopg.pq.abc import PGconn, PGresult

    from messagelog.storage.scripts import Params
    from messagelog.storage.statements import Statement

Rows = list[tuple[Any, ...]]
_Value = tuple[bytes | None, pq.Format]

_TEXT_OID: Final = 25
_DONE: Final = frozenset({pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK})


class Connection(psycopg.AsyncConnection[Any]):
    """A connection that knows which statements it has prepared."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prepared: set[str] = set()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, failed ones too."""
        return self.pgconn.transaction_status in {pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR}


class Exchange:
    """Statements for a connection. They wait until `send`, and are then sent in their order."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: list[tuple[Statement, list[_Value]]] = []

    def add(self, statement: Statement, params: Params) -> int:
        """Adds a statement; its place among the answers of the next `send`."""
        self._waiting.append((statement, [_encoded(params[name]) for name in statement.parameters]))
        return len(self._waiting) - 1

    async def send(self) -> list[Rows]:
        """Sends what waits; the rows of each statement. Raises the first one's error; none behind it was run.

        Anything else that goes wrong, a cancelled wait too, closes the connection: nobody could tell the answers
        that are still on their way from the next ones. The server then undoes what was not committed.
        """
        waiting, self._waiting = self._waiting, []
        connection = self._connection
        try:
            connection.pgconn.enter_pipeline_mode()
            names = list(_sent(connection, waiting))
            results = await _received(connection.pgconn, len(names))
            connection.pgconn.exit_pipeline_mode()
        except BaseException:
            await connection.close()
            raise
        for name, result in zip(names, results, strict=True):
            if result.status not in _DONE:
                raise error_from_result(result)
            if name is not None:
                connection.prepared.add(name)
        transformer = Transformer.from_context(connection)
        answers = (result for name, result in zip(names, results, strict=True) if name is None)
        return [_rows(transformer, result) for result in answers]


def _sent(connection: Connection, waiting: Iterable[tuple[Statement, list[_Value]]]) -> Iterator[str | None]:
    """Hands the statements to libpq; for each command the name that it prepares, None for one that is run."""
    prepared = connection.prepared.copy()
    pgconn = connection.pgconn
    for statement, values in waiting:
        name = statement.name.encode()
        if statement.name not in prepared:
            prepared.add(statement.name)
            pgconn.send_prepare(name, statement.text.encode())
            yield statement.name
        pgconn.send_query_prepared(
            name,
            [value for value, _ in values],
            param_formats=[format_ for _, format_ in values],
            result_format=pq.Format.BINARY,
        )
        yield None
    pgconn.pipeline_sync()


async def _received(pgconn: PGconn, count: int) -> list[PGresult]:
    """One result for each command, the first of them as soon as the server has them all."""
    while pgconn.flush():
        await _ready(pgconn.socket, to_write=True)
        pgconn.consume_input()
    results = []
    for _ in range(count):
        result = await _next(pgconn)
        # Each result is followed by an end; libpq gives none at all when the connection is lost.
        if result is None or await _next(pgconn) is not None:
            raise psycopg.OperationalError("the answers of the database are out of step")
        results.append(result)
    await _next(pgconn)
    return results


async def _next(pgconn: PGconn) -> PGresult | None:
    while pgconn.is_busy():
        await _ready(pgconn.socket, to_write=False)
        pgconn.consume_input()
    return pgconn.get_result()


async def _ready(socket: int, *, to_write: bool) -> None:
    """Waits until there is something to read from a socket, or (with `to_write`) room to write."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(socket, wake)
    if to_write:
        loop.add_writer(socket, wake)
    try:
        await ready
    finally:
        loop.remove_reader(socket)
        if to_write:
            loop.remove_writer(socket)


def _rows(transformer: abc.Transformer, result: PGresult) -> Rows:
    transformer.set_pgresult(result)
    return transformer.load_rows(0, result.ntuples, tuple)


def _encoded(value: Any) -> _Value:
    """A parameter as PostgreSQL takes it. The statement tells its type; what may hold any byte goes as binary."""
    if value is None:
        return None, pq.Format.TEXT
    if isinstance(value, str):
        return value.encode(), pq.Format.BINARY
    if isinstance(value, bytes):
        return value, pq.Format.BINARY
    if isinstance(value, bool):
        return (b"t" if value else b"f"), pq.Format.TEXT
    if isinstance(value, int):
        return b"%d" % value, pq.Format.TEXT
    return _encoded_texts(value), pq.Format.BINARY


def _encoded_texts(texts: Sequence[str]) -> bytes:
    """A `text[]`: one dimension, no nulls, the element type, how many, counted from 1; each with its length."""
    parts = [struct.pack("!iiIii", 1, 0, _TEXT_OID, len(texts), 1)]
    for text in texts:
        encoded = text.encode()
        parts += (struct.pack("!i", len(encoded)), encoded)
    return b"".join(parts)
