"""A server's parts are closed one after the other, and what hangs holds up neither the others nor the end."""

from __future__ import annotations

import asyncio
import threading

import structlog

from messagelog.server.shutdown import ShutdownWatchdog, close_all


async def test_a_part_that_hangs_is_named_and_the_others_are_closed() -> None:
    closed = []

    async def closes() -> None:
        closed.append("closes")

    async def hangs() -> None:
        await asyncio.Event().wait()

    async def is_deaf() -> None:
        while len(closed) < 2:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                continue

    async def fails() -> None:
        raise LookupError

    config = (("hanging", hangs), ("deaf", is_deaf), ("failing", fails), ("good", closes), ("too", closes))
    with structlog.testing.capture_logs() as lines:
        await close_all(config, asyncio.get_running_loop().time() + 0.2)
    assert closed == ["closes", "closes"]
    assert [(line["event"], line["what"], line.get("error")) for line in lines] == [
        ("shutdown_hung", "hanging", None),
        ("shutdown_hung", "deaf", None),
        ("shutdown_hung", "failing", "LookupError"),
    ]


async def waits_at_a_known_place(forever: asyncio.Event) -> None:
    await forever.wait()


async def test_the_last_resort_ends_the_process_and_says_where_it_was() -> None:
    ended, codes = threading.Event(), []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    waiting = asyncio.create_task(waits_at_a_known_place(asyncio.Event()))
    await asyncio.sleep(0)
    last_resort = ShutdownWatchdog(end)
    with structlog.testing.capture_logs() as lines:
        last_resort.arm(0.3, 143, asyncio.get_running_loop())
        last_resort.arm(0.1, 1, None)
        assert ended.wait(10), "the event loop hangs meanwhile: this is it"
    waiting.cancel()
    assert codes == [143]
    (line,) = lines
    assert (line["event"], line["what"]) == ("shutdown_hung", "process")
    assert "threading.py" in line["place"]
    assert any("locks.py" in place for place in line["tasks"])
