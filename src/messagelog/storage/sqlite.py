"""SQLite behind the port: one writer thread that groups commits, one reading connection.

WAL lets reading go on while the writer waits for the disk. `synchronous=FULL` makes every commit wait for the disk,
so transactions that arrive while one is being synced are committed together: each in a savepoint of its own, so
that one that fails takes no other with it.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from messagelog.storage.scripts import Fetch, Script
from messagelog.storage.statements import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

_GROUP: Final = 64  # transactions that share a commit, at most
_BUSY_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class _Job:
    script: Callable[[], Script[Any]]
    done: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class SqliteStore:
    """A journal in one file. `clock` (epoch milliseconds) stands in for the database's clock in tests."""

    def __init__(self, path: Path | str, *, clock: Callable[[], int] | None = None) -> None:
        self._path = str(path)
        self._clock = clock
        self._statements = load("sqlite", given_clock=clock is not None)
        self._reader = self._connected()
        self._reader.execute("PRAGMA query_only=ON")
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_jobs, name="messagelog-writer", daemon=True)
        self._writer.start()

    async def read(self, script: Callable[[], Script[T]]) -> T:
        """Runs on the event loop's thread: a look-up by index takes microseconds, less than a change of threads."""
        return self._run(self._reader, script())

    async def write(self, script: Callable[[], Script[T]]) -> T:
        """Hands the script to the writer thread and waits until its commit is on disk."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(script, done, loop))
        return await done

    async def close(self) -> None:
        """Writes what is queued, then closes the file."""
        self._jobs.put(None)
        await asyncio.to_thread(self._writer.join)
        self._reader.close()

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def _write_jobs(self) -> None:
        connection = self._connected()
        try:
            while (job := self._jobs.get()) is not None:
                group, ends = self._gathered(job)
                self._write_group(connection, group)
                if ends:
                    return
        finally:
            connection.close()

    def _gathered(self, first: _Job) -> tuple[list[_Job], bool]:
        """The first job and those that queued up behind it; whether the end of the queue was among them."""
        group = [first]
        while len(group) < _GROUP:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return group, True
            group.append(job)
        return group, False

    def _write_group(self, connection: sqlite3.Connection, group: list[_Job]) -> None:
        outcomes: list[tuple[_Job, Any, BaseException | None]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes += [self._written(connection, job) for job in group]
            connection.execute("COMMIT")
        except sqlite3.Error as error:  # the file is full, locked for too long, gone: nobody's work was kept
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            outcomes = [(job, None, error) for job in group]
        for job, value, problem in outcomes:
            job.loop.call_soon_threadsafe(_deliver, job.done, value, problem)

    def _written(self, connection: sqlite3.Connection, job: _Job) -> tuple[_Job, Any, BaseException | None]:
        connection.execute("SAVEPOINT job")
        try:
            value = self._run(connection, job.script())
        except sqlite3.OperationalError:
            raise  # the file itself: the whole group fails
        except BaseException as error:  # noqa: BLE001 - handed to the coroutine that waits for this job
            connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")
            return job, None, error
        connection.execute("RELEASE job")
        return job, value, None

    def _run(self, connection: sqlite3.Connection, script: Script[T]) -> T:
        try:
            ask = next(script)
            while True:
                statement = self._statements[ask.name]
                if isinstance(ask, Fetch):
                    result: Any = connection.execute(statement, self._bound(ask.params)).fetchall()
                else:
                    result = 0
                    for params in ask.params:
                        result += connection.execute(statement, self._bound(params)).rowcount
                ask = script.send(result)
        except StopIteration as end:
            value: T = end.value
            return value

    def _bound(self, params: dict[str, Any]) -> dict[str, Any]:
        if "ids" in params:
            params = {**params, "ids": json.dumps(list(params["ids"]))}
        return params if self._clock is None else {**params, "now": self._clock()}


def _deliver(done: asyncio.Future[Any], value: Any, problem: BaseException | None) -> None:
    if done.cancelled():
        return
    if problem is not None:
        done.set_exception(problem)
    else:
        done.set_result(value)
