"""One exchange with PostgreSQL: statements are sent together, in one packet, and all their answers come back.

Most of what a short transaction costs is waiting for answers and waking up for them. psycopg's own pipeline mode
sends every statement by itself, so this speaks to libpq (`psycopg.pq`) one step below: libpq's pipeline mode, with
statements that are prepared once for each connection.
"""

from __future__ import annotations

import asyncio
import struct
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg import pq, waiting
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result

from messagelog.storage.store import ANSWER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Self

    from psycopg import abc
    from psycopg.pq.abc import PGconn, PGresult

    from messagelog.storage.sql import Statement
    from messagelog.storage.transactions import Params

T = TypeVar("T")

Rows = list[tuple[Any, ...]]
_PendingStatement = tuple["Statement", list[bytes | None], list[pq.Format]]

LOOK_SECONDS: Final = 1.0
"""How often a wait looks at the clock."""

_TEXT_OID: Final = 25
_TEXT: Final = pq.Format.TEXT
_BINARY: Final = pq.Format.BINARY
_DONE: Final = frozenset({pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK})


class NoAnswer(psycopg.OperationalError):
    """The database did not answer in time. The connection is closed: what was sent is done or not."""


class Connection(psycopg.AsyncConnection[Any]):
    """A connection that knows which statements it has prepared, how to read their answers, and when it was made.

    `lost` says that it ended by an error, and was not closed by us.
    """

    answer_seconds = ANSWER_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prepared: set[str] = set()
        self.transformer = Transformer.from_context(self)
        self.made_at = time.monotonic()
        self.lost = False

    @classmethod
    async def connect(  # type: ignore[override] # the same, and two parameters more
        cls,
        conninfo: str = "",
        *,
        answer_seconds: float = ANSWER_SECONDS,
        connected: Callable[[psycopg.Error | None], None] = lambda _error: None,
        **kwargs: Any,
    ) -> Self:
        """Connect as psycopg does; call `connected` with the error, or with None."""
        try:
            made = await super().connect(conninfo, **kwargs)
        except psycopg.Error as error:
            connected(error)
            raise
        connected(None)
        made.answer_seconds = answer_seconds
        return made

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, failed ones too."""
        return self.pgconn.transaction_status in {pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR}

    async def wait(self, gen: abc.PQGen[Any], *_args: Any, **_kwargs: Any) -> Any:
        """Wait as psycopg does, for as long as an answer may take; close the connection if the wait is interrupted.

        psycopg would ask the server to cancel the statement, and wait for that as well.
        """
        try:
            return await self.complete(gen)
        except (NoAnswer, asyncio.CancelledError, KeyboardInterrupt):
            self.pgconn.finish()
            raise

    async def complete(self, gen: abc.PQGen[T]) -> T:
        """Run a generator of psycopg's and return its value; raise `NoAnswer` if that takes too long."""
        seconds = self.answer_seconds
        look = min(LOOK_SECONDS, seconds)
        return await waiting.wait_async(within(seconds, gen), self.pgconn.socket, interval=look)


def within(seconds: float, gen: abc.PQGen[T]) -> abc.PQGen[T]:
    """Wrap a generator that psycopg waits for, so that it raises `NoAnswer` after so many seconds.

    The wait has to resume it every `LOOK_SECONDS`.
    """
    until = time.monotonic() + seconds
    try:
        wait = next(gen)
        while True:
            ready = yield wait
            if not ready and time.monotonic() >= until:
                raise NoAnswer(f"no answer within {seconds:g} s")
            wait = gen.send(ready)
    except StopIteration as end:
        value: T = end.value
        return value


class PipelineBatch:
    """Statements for a connection, which `send` sends in their order."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: list[_PendingStatement] = []

    def add(self, statement: Statement, params: Params) -> int:
        """Add a statement; return its place among the answers of the next `send`."""
        values, formats = _encode([params[name] for name in statement.parameters])
        self._waiting.append((statement, values, formats))
        return len(self._waiting) - 1

    async def send(self) -> list[Rows]:
        """Send the statements; return the rows of each. Raise the first error; no statement behind it was run.

        Any other error, and a cancelled wait, closes the connection, since answers that are still on their way could be
        taken for later ones. The server then undoes what was not committed. Raises `NoAnswer` if the answers take too
        long.
        """
        to_send, self._waiting = self._waiting, []
        connection = self._connection
        pgconn = connection.pgconn
        try:
            pgconn.enter_pipeline_mode()
            names = _send_statements(connection, to_send)
            results = await connection.complete(_receive_results(pgconn, len(names)))
            pgconn.exit_pipeline_mode()
        except BaseException as error:
            connection.lost = isinstance(error, psycopg.Error)
            await connection.close()
            raise
        answers = []
        for name, result in zip(names, results, strict=True):
            if result.status not in _DONE:
                raise error_from_result(result)
            if name is None:
                answers.append(_load_rows(connection.transformer, result))
            else:
                connection.prepared.add(name)
        return answers


def _send_statements(connection: Connection, waiting: Iterable[_PendingStatement]) -> list[str | None]:
    """Hand the statements to libpq; return for each command the name that it prepares, None for one that is run."""
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


def _receive_results(pgconn: PGconn, count: int) -> abc.PQGen[list[PGresult]]:
    """Return one result for each command. Yield what it waits for, as psycopg's generators do."""
    while pgconn.flush():
        if (yield waiting.WAIT_RW) & waiting.READY_R:
            pgconn.consume_input()
    results = []
    for _ in range(count):
        result = yield from _next_result(pgconn)
        # Each result is followed by an end; libpq gives none at all when the connection is lost.
        if result is None or (yield from _next_result(pgconn)) is not None:
            raise psycopg.OperationalError("the answers of the database are out of step")
        results.append(result)
    yield from _next_result(pgconn)
    return results


def _next_result(pgconn: PGconn) -> abc.PQGen[PGresult | None]:
    while pgconn.is_busy():
        if (yield waiting.WAIT_R):
            pgconn.consume_input()
    return pgconn.get_result()


def _load_rows(transformer: abc.Transformer, result: PGresult) -> Rows:
    count = result.ntuples
    if count == 0:
        return []
    transformer.set_pgresult(result)
    return transformer.load_rows(0, count, tuple)


def _encode(values: Iterable[Any]) -> tuple[list[bytes | None], list[pq.Format]]:
    """Return parameters as PostgreSQL takes them: the statement tells their types; those with any bytes are binary."""
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
            encoded.append(value if isinstance(value, bytes) else _encode_texts(value))
            formats.append(_BINARY)
    return encoded, formats


def _encode_texts(texts: Sequence[str]) -> bytes:
    """Return a `text[]`: dimensions, nulls, the element type, how many, counted from 1; then each with its length."""
    parts = [struct.pack("!iiIii", 1, 0, _TEXT_OID, len(texts), 1)]
    for text in texts:
        encoded = text.encode()
        parts += (struct.pack("!i", len(encoded)), encoded)
    return b"".join(parts)
