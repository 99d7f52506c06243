"""Ends a server: closes its parts one after the other, and ends the process if one of them hangs."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

CLOSE_SECONDS: Final = 1.0
"""How long closing may take after the drain time is over."""

LAST_SECONDS: Final = 2.0
"""How long after the drain time the process ends at the latest."""

_SHORTEST: Final = 0.05
_TO_LOG: Final = 0.2
_MOST_PLACES: Final = 10

_log = structlog.get_logger(__name__)


async def close_all(parts: Sequence[tuple[str, Callable[[], Awaitable[None]]]], until: float) -> None:
    """Close each part by its function, all `until` a time of the event loop's clock. One that hangs is left."""
    loop = asyncio.get_running_loop()
    for what, close in parts:
        closing = asyncio.ensure_future(close())
        await asyncio.wait([closing], timeout=max(until - loop.time(), _SHORTEST))
        if not closing.done():
            closing.cancel()
            _log.error("shutdown_hung", what=what)
        elif not closing.cancelled() and (error := closing.exception()) is not None:
            _log.error("shutdown_hung", what=what, error=type(error).__name__)


class ShutdownWatchdog:
    """Ends the process from threads of its own, because the event loop itself may hang. `end` takes the exit code."""

    def __init__(self, end: Callable[[int], object] = os._exit) -> None:
        self._end = end
        self._armed = False

    def arm(self, seconds: float, code: int, loop: asyncio.AbstractEventLoop | None) -> None:
        """End the process with this exit code after so many seconds; only the first call counts.

        Before that the places at which the tasks of `loop` hang are logged.
        """
        if self._armed:
            return
        self._armed = True
        # Each in a thread of its own, since the reader of our log lines may hang as well.
        for delay, work in (
            (seconds - _TO_LOG, lambda: _log_where_it_hangs(loop)),
            (seconds, lambda: self._end(code)),
        ):
            timer = threading.Timer(max(delay, 0.0), work)
            timer.daemon = True
            timer.start()


def _log_where_it_hangs(loop: asyncio.AbstractEventLoop | None) -> None:
    """Log where the process hangs: the place of the main thread, and those of unfinished tasks."""
    main = sys._current_frames().get(  # noqa: SLF001 - only CPython has it; nothing else says where a thread is
        threading.main_thread().ident or 0
    )
    thread = "" if main is None else f"{main.f_code.co_filename}:{main.f_lineno}"
    tasks = (
        []
        if loop is None
        else sorted({_innermost_place(task.get_coro()) for task in asyncio.all_tasks(loop)})
    )
    _log.error("shutdown_hung", what="process", place=thread, tasks=tasks[:_MOST_PLACES])


def _innermost_place(waiting: Any) -> str:
    """Return the innermost place at which a coroutine waits."""
    place = ""
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)
        if frame is not None:
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        waiting = getattr(waiting, "cr_await", None) or (
            waiting.gi_yieldfrom if inspect.isgenerator(waiting) else None
        )
    return place
