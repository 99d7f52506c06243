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
    from collections.abc import Iterable, Sequence

    from psycopg import abc
    from psycopg.pq.abc import PGresult

    from messagelog.storage.scripts import Params
    from messagelog.storage.statements import Statement

Rows = list[tuple[Any, ...]]
_Sent = tuple["Statement", list[bytes | None], list[pq.Format]]

_TEXT_OID: Final = 25
_TEXT: Final = pq.Format.TEXT
_BINARY: Final = pq.Format.BINARY
_DONE: Final = frozenset({pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK})


class Connection(psycopg.AsyncConnection[Any]):
    """A connection that knows which statements it has prepared, and how to read what they answer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prepared: set[str] = set()
        self.transformer = Transformer.from_context(self)
        self.arrivals = _Arrivals()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, failed ones too."""
        return self.pgconn.transaction_status in {pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR}

    async def ready(self, *, to_write: bool = False) -> None:
        """Waits until there is something to read, or (with `to_write`) room to write, and takes in what there is."""
        await self.arrivals.next(self.pgconn.socket, to_write=to_write)
        self.pgconn.consume_input()

    async def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Waits as psycopg does, which takes the socket's place in the event loop."""
        self.arrivals.end()
        return await super().wait(*args, **kwargs)

    async def close(self) -> None:
        """Closes it. The event loop forgets the socket first: another may get its number."""
        self.arrivals.end()
        await super().close()


class _Arrivals:
    """Wakes whoever waits for a connection's socket, which the event loop watches from the first wait on.

    It stops when something comes that nobody waits for (the server has ended an idle connection, say), and is watched
    anew with the next wait.
    """

    def __init__(self) -> None:
        self._watched: tuple[asyncio.AbstractEventLoop, int] | None = None
        self._waiting: asyncio.Future[None] | None = None

    @property
    def watched(self) -> bool:
        """Whether the event loop has an eye on the socket."""
        return self._watched is not None

    async def next(self, socket: int, *, to_write: bool) -> None:
        loop = asyncio.get_running_loop()
        if not self.watched:
            loop.add_reader(socket, self._wake)
            self._watched = loop, socket
        if to_write:
            loop.add_writer(socket, self._wake)
        self._waiting = loop.create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None
            if to_write:
                loop.remove_writer(socket)

    def end(self) -> None:
        """Has the event loop forget the socket."""
        if self._watched is not None:
            loop, socket = self._watched
            self._watched = None
            loop.remove_reader(socket)

    def _wake(self) -> None:
        if self._waiting is None:
            self.end()
        elif not self._waiting.done():
            self._waiting.set_result(None)


class Exchange:
    """Statements for a connection. They wait until `send`, and are then sent in their order."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: list[_Sent] = []

    def add(self, statement: Statement, params: Params) -> int:
        """Adds a statement; its place among the answers of the next `send`."""
        values, formats = _encoded([params[name] for name in statement.parameters])
        self._waiting.append((statement, values, formats))
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
            names = _sent(connection, waiting)
            results = await _received(connection, len(names))
            connection.pgconn.exit_pipeline_mode()
        except BaseException:
            await connection.close()
            raise
        answers = []
        for name, result in zip(names, results, strict=True):
            if result.status not in _DONE:
                raise error_from_result(result)
            if name is None:
                answers.append(_rows(connection.transformer, result))
            else:
                connection.prepared.add(name)
        return answers


def _sent(connection: Connection, waiting: Iterable[_Sent]) -> list[str | None]:
    """Hands the statements to libpq; for each command the name that it prepares, None for one that is run."""
    names: list[str | None] = []
    pgconn = connection.pgconn
    for statement, values, formats in waiting:
        name = statement.name
        if name not in connection.prepared and name not in names:
            pgconn.send_prepare(statement.wire_name, statement.text.encode())
            names.append(name)
        pgconn.send_query_prepared(
            statement.wire_name, values, param_formats=formats, result_format=pq.Format.BINARY
        )
        names.append(None)
    pgconn.pipeline_sync()
    return names


async def _received(connection: Connection, count: int) -> list[PGresult]:
    """One result for each command, the first of them as soon as the server has them all."""
    while connection.pgconn.flush():
        await connection.ready(to_write=True)
    results = []
    for _ in range(count):
        result = await _next(connection)
        # Each result is followed by an end; libpq gives none at all when the connection is lost.
        if result is None or await _next(connection) is not None:
            raise psycopg.OperationalError("the answers of the database are out of step")
        results.append(result)
    await _next(connection)
    return results


async def _next(connection: Connection) -> PGresult | None:
    while connection.pgconn.is_busy():
        await connection.ready()
    return connection.pgconn.get_result()


def _rows(transformer: abc.Transformer, result: PGresult) -> Rows:
    count = result.ntuples
    if count == 0:
        return []
    transformer.set_pgresult(result)
    return transformer.load_rows(0, count, tuple)


def _encoded(values: Iterable[Any]) -> tuple[list[bytes | None], list[pq.Format]]:
    """Parameters as PostgreSQL takes them. The statement tells their types; what may hold any byte goes as binary."""
    encoded: list[bytes | None] = []
    formats: list[pq.Format] = []
    for value in values:
        if value is None:
            encoded.append(None)
            formats.append(_TEXT)
        elif isinstance(value, str):
            encoded.append(value.encode())
            formats.append(_BINARY)
        elif isinstance(value, bool):
            encoded.append(b"t" if value else b"f")
            formats.append(_TEXT)
        elif isinstance(value, int):
            encoded.append(b"%d" % value)
            formats.append(_TEXT)
        else:
            encoded.append(value if isinstance(value, bytes) else _encoded_texts(value))
            formats.append(_BINARY)
    return encoded, formats


def _encoded_texts(texts: Sequence[str]) -> bytes:
    """A `text[]`: one dimension, no nulls, the element type, how many, counted from 1; each with its length."""
    parts = [struct.pack("!iiIii", 1, 0, _TEXT_OID, len(texts), 1)]
    for text in texts:
        encoded = text.encode()
        parts += (struct.pack("!i", len(encoded)), encoded)
    return b"".join(parts)
