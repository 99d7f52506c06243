"""Group commit: transactions that come while others are under way wait for these, and then run as one.

A single one begins at once. The busier it gets, the more transactions share an exchange with the database and a
commit, and the less each costs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from messagelog.storage.queued import QueuedWork

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from messagelog.storage.store import Lock
    from messagelog.storage.transactions import Transaction

_MOST: Final = 64  # jobs that are run as one
_STALLED_SECONDS: Final = 0.05
_LONGEST_SECONDS: Final = 20.0


class GroupCommitter:
    """Gives all waiting jobs to `run` together. Two jobs with a lock in common are never under way together.

    There are up to `groups` groups at a time, so that one computes while another waits for the disk. `run` has to end
    every job of its group. A group that takes long, since it waits for a lock of another process or for a connection,
    holds up only jobs with locks of its own. No job waits for longer than `longest` seconds.
    """

    def __init__(
        self,
        run: Callable[[list[QueuedWork]], Awaitable[None]],
        *,
        groups: int,
        longest: float = _LONGEST_SECONDS,
    ) -> None:
        self._run = run
        self._most_groups = groups
        self._longest = longest
        self._waiting: list[QueuedWork] = []
        self._locked: set[Lock] = set()
        self._unstalled: set[asyncio.Task[None]] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self._scheduled = False

    async def submit(self, transaction: Callable[[], Transaction[Any]], locks: Sequence[Lock] = ()) -> Any:
        """Run a transaction with others; return its value, or raise its error.

        Raises `TimeoutError` after `longest` seconds; the transaction may be under way then.
        """
        loop = asyncio.get_running_loop()
        job = QueuedWork(transaction, loop.create_future(), locks)
        self._waiting.append(job)
        if not self._scheduled:  # a turn of the loop later: jobs that come in this turn join it
            self._scheduled = True
            loop.call_soon(self._start_group)
        too_late = loop.call_later(self._longest, job.reject, TimeoutError())
        try:
            return await job.done
        finally:
            too_late.cancel()

    async def close(self) -> None:
        """Wait for the jobs that are under way or waiting. None may be added meanwhile."""
        while self._waiting or self._under_way:
            await asyncio.sleep(0) if not self._under_way else await asyncio.wait(self._under_way)

    def _start_group(self) -> None:
        self._scheduled = False
        if len(self._unstalled) >= self._most_groups or not (group := self._take_group()):
            return
        loop = asyncio.get_running_loop()
        for job in group:
            self._locked.update(job.locks)
        task = loop.create_task(self._run_group(group))
        self._unstalled.add(task)
        self._under_way.add(task)
        stalling = loop.call_later(_STALLED_SECONDS, self._release_slot, task)
        task.add_done_callback(lambda _: self._finish_group(task, group, stalling))

    async def _run_group(self, group: list[QueuedWork]) -> None:
        try:
            await self._run(group)
        except BaseException as error:
            for job in group:
                job.reject(error)
            raise

    def _take_group(self) -> list[QueuedWork]:
        """Take the waiting jobs, without those whose locks are in use, or wanted by an earlier job."""
        group: list[QueuedWork] = []
        left: list[QueuedWork] = []
        wanted = set(self._locked)
        for job in self._waiting:
            if job.given_up:
                continue
            if len(group) < _MOST and wanted.isdisjoint(job.locks):
                group.append(job)
            else:
                left.append(job)
            wanted.update(job.locks)
        self._waiting = left
        # All processes lock in this order, so that two of them cannot deadlock.
        return sorted(group, key=lambda job: tuple(job.locks[:1]))

    def _release_slot(self, task: asyncio.Task[None]) -> None:
        """Let another group begin beside one that takes long."""
        self._unstalled.discard(task)
        self._start_group()

    def _finish_group(
        self, task: asyncio.Task[None], group: Sequence[QueuedWork], stalling: asyncio.TimerHandle
    ) -> None:
        stalling.cancel()
        self._under_way.discard(task)
        for job in group:
            self._locked.difference_update(job.locks)
        self._unstalled.discard(task)
        if not task.cancelled():
            task.exception()  # its jobs have it
        self._start_group()
