"""One thread that writes to an SQLite file, and commits in groups.

`synchronous=FULL` makes every commit wait for the disk. So work that arrives while one is being synced is committed
together, each piece in a savepoint of its own: one that fails takes no other with it. The event loop never waits for
the disk, and no result is delivered that a crash could still undo.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import defaultdict
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from messagelog.storage.queued import QueuedWork
from messagelog.storage.store import StoreClosed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    _Result = tuple[QueuedWork, Any, BaseException | None]

T = TypeVar("T")
C = TypeVar("C", bound="sqlite3.Connection")

_GROUP: Final = 64  # pieces of work that share a commit, at most
_LONGEST_SECONDS: Final = 20.0


def _pass(_: Any = None) -> None:
    """Do nothing."""


class SqliteWriter(Generic[C]):
    """The thread `name`, with a connection of its own. `connect` opens it when the first work arrives.

    After an error of a whole group the connection is closed, and the next group has a new one. `begun` runs first in
    each transaction; `check` runs before and after it, and an error of it fails the group. `missed` is told, on the
    event loop, the errors of work whose wait had ended. Work waits for `longest` seconds.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], C],
        *,
        begun: Callable[[C], None] = _pass,
        check: Callable[[], None] = _pass,
        missed: Callable[[BaseException], None] = _pass,
        longest: float = _LONGEST_SECONDS,
    ) -> None:
        self._connect = connect
        self._begun = begun
        self._check = check
        self._missed = missed
        self._longest = longest
        self._connection: C | None = None
        self._queue: queue.SimpleQueue[QueuedWork | None] = queue.SimpleQueue()  # None is its end
        self._queueing = threading.Lock()  # nothing is queued behind the end of the queue
        self._ended: Future[None] = Future()
        self._closing = False
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, work: Callable[[C], T]) -> asyncio.Future[T]:
        """Queue `work`, to be done in a transaction; the future has its result once that is on disk.

        An error of the work undoes what it did, and is the future's. So is `TimeoutError` after `longest` seconds; the
        work may be under way then. May be called from any event loop.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        job = QueuedWork(work, done)
        with self._queueing:
            if self._closing:
                raise StoreClosed("the store is closed")
            self._queue.put(job)
        too_late = loop.call_later(self._longest, job.reject, TimeoutError())
        done.add_done_callback(lambda _: too_late.cancel())
        return done

    def close(self) -> Future[None]:
        """Refuse new work; the future is done once what is queued is done and the connection is closed."""
        with self._queueing:
            if not self._closing:
                self._closing = True
                self._queue.put(None)
        return self._ended

    # ------------------------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        ended = False
        while not ended:
            group, ended = self._take_group()
            if group:
                self._deliver(self._commit_group(group))
        self._disconnect()
        self._ended.set_result(None)

    def _take_group(self) -> tuple[list[QueuedWork], bool]:
        """Wait for work; return it and what is queued behind it, and whether the queue has ended."""
        group: list[QueuedWork] = []
        job = self._queue.get()
        while job is not None:
            if not job.given_up:
                group.append(job)
            if len(group) == _GROUP:
                return group, False
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _commit_group(self, group: list[QueuedWork]) -> list[_Result]:
        """Do the work in one transaction. When that fails as a whole nothing of it is kept, and all of it fails."""
        begun = False
        try:
            self._check()
            if self._connection is None:
                self._connection = self._connect()
            self._connection.execute("BEGIN IMMEDIATE")
            begun = True
            self._begun(self._connection)
            results = [self._run_in_savepoint(self._connection, job) for job in group]
            self._connection.execute("COMMIT")
            self._check()  # what went into a file that is gone is not kept
        except BaseException as error:  # noqa: BLE001 - whatever it is, the callers are told, and the thread goes on
            self._disconnect()
            # If another program holds the file, the work that is queued by now would wait for it as long again.
            behind = [] if begun else self._take_queued()
            return [(job, None, error) for job in (*group, *behind)]
        return results

    def _run_in_savepoint(self, connection: C, job: QueuedWork) -> _Result:
        connection.execute("SAVEPOINT job")
        try:
            value = job.work(connection)
        except BaseException as error:
            if not connection.in_transaction:
                raise  # SQLite has undone everything: the disk is full, the file is gone
            connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")
            return job, None, error
        connection.execute("RELEASE job")
        return job, value, None

    def _take_queued(self) -> list[QueuedWork]:
        """Take all work that is queued, but leave the end of the queue."""
        jobs = []
        with suppress(queue.Empty):
            while (job := self._queue.get_nowait()) is not None:
                jobs.append(job)
            self._queue.put(None)
        return jobs

    def _disconnect(self) -> None:
        """Close the connection, which undoes what it has not committed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _deliver(self, results: Iterable[_Result]) -> None:
        """Hand the results to the waiting coroutines, with one call into each event loop."""
        by_loop = defaultdict(list)
        for result in results:
            by_loop[result[0].done.get_loop()].append(result)
        for loop, those in by_loop.items():
            with suppress(RuntimeError):  # the loop is closed, and with it ended all that waited there
                loop.call_soon_threadsafe(self._set_results, those)

    def _set_results(self, results: Iterable[_Result]) -> None:
        for job, value, error in results:
            if error is None:
                job.resolve(value)
            elif job.done.done():
                self._missed(error)
            else:
                job.reject(error)
