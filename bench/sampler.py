"""Run our command with a sampler in it: `python -m bench.sampler FILE serve`.

From SIGUSR1 to SIGUSR2 it records, every few milliseconds of processor time, the stack of running functions, and then
writes the records into the file. Time in C code counts for the Python function that called it. Unlike a tracing
profiler it does not slow the functions.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from types import CodeType, FrameType

_EVERY: Final = 0.001  # seconds of processor time; the kernel rounds it up to its own tick


class Sampled(msgspec.Struct, frozen=True):
    """How often each stack was seen: functions as (file, name), the innermost first."""

    stacks: list[tuple[int, list[tuple[str, str]]]]


class Sampler:
    """A counter of the stacks at each sample."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: Counter[tuple[CodeType, ...]] = Counter()

    def install(self) -> None:
        """Listen for the signals that begin and end it."""
        signal.signal(signal.SIGPROF, self._note)
        signal.signal(signal.SIGUSR1, self._begin)
        signal.signal(signal.SIGUSR2, self._end)

    def _begin(self, _number: int, _frame: FrameType | None) -> None:
        self._counts.clear()
        signal.setitimer(signal.ITIMER_PROF, _EVERY, _EVERY)

    def _note(self, _number: int, frame: FrameType | None) -> None:
        stack = []
        while frame is not None:
            stack.append(frame.f_code)
            frame = frame.f_back
        self._counts[tuple(stack)] += 1

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        stacks = [
            (count, [(code.co_filename, code.co_qualname) for code in stack])
            for stack, count in self._counts.items()
        ]
        made = self._path.with_suffix(".new")
        made.write_bytes(msgspec.json.encode(Sampled(stacks)))
        made.replace(self._path)


def main() -> None:
    """Run the command."""
    from messagelog import __main__ as command  # noqa: PLC0415 - reading samples needs no server

    Sampler(Path(sys.argv[1])).install()
    sys.argv = ["messagelog", *sys.argv[2:]]
    command.main()


if __name__ == "__main__":
    main()
