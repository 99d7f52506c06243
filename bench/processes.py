"""The processes of a benchmark: started, asked, measured, and always ended by their id."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).parents[1]
CACHE: Final = ROOT / ".bench"

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_END_SECONDS: Final = 10.0


class Failed(Exception):
    """The benchmark cannot go on; the text says why."""


class Child:
    """A process of ours that writes lines on its standard output. Its standard error goes to a file."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        CACHE.mkdir(exist_ok=True)
        self.name = name
        self._log = CACHE / f"{name.replace(' ', '-')}.log"
        self._buffer = b""
        with self._log.open("wb") as log:
            # It has a session of its own: Ctrl-C is for the benchmark, which ends its processes in order.
            self._process = subprocess.Popen(  # noqa: S603 - our own commands
                command,
                cwd=ROOT,
                env={**_environment(), **(env or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    def say(self, text: bytes) -> None:
        """Send it a line."""
        if self._process.stdin is None:
            raise Failed(f"{self.name} does not listen")
        self._process.stdin.write(text + b"\n")
        self._process.stdin.flush()

    def line(self, seconds: float) -> str:
        """Return the next line of its output. Raises `Failed` when none comes in time."""
        if self._process.stdout is None:
            raise Failed(f"{self.name} says nothing")
        until = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            data = os.read(self._process.stdout.fileno(), 1 << 20) if ready else b""
            if not data:
                why = "ended" if ready else f"said nothing for {seconds:g} s"
                raise Failed(f"{self.name} {why}. Its last words are in {self._log}:\n{self.last_words()}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def json_line(self, seconds: float) -> dict[str, Any]:
        """Return the next line of JSON, past others."""
        until = time.monotonic() + seconds
        while not (line := self.line(max(0.1, until - time.monotonic()))).startswith("{"):
            pass
        json_line: dict[str, Any] = msgspec.json.decode(line)
        return json_line

    def last_words(self) -> str:
        """Return the end of its standard error."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self) -> None:
        """End it: with SIGTERM, then with SIGKILL."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def defer_signals() -> Iterator[None]:
    """Defer signals that end us: a process that is only half started could not be ended in order."""
    pending: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda late, _: pending.append(late)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for late in pending:
        signal.raise_signal(late)


def _environment() -> dict[str, str]:
    """Return our environment, without settings of this server or secrets of the peer."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESSAGELOG_")}
    kept.pop("MIXPANEL_TOKEN", None)  # the address for the peer's reports
    return kept


def usage(*pids: int) -> float:
    """Return the processor time of these processes so far, in seconds, with that of their children that have ended."""
    return sum(map(_times, pids))


def family(pid: int) -> list[int]:
    """Return a process and its children (PostgreSQL's are its connections)."""
    return [pid, *(child for child in _pids() if _stat(child)[1:2] == [str(pid)])]


def resident(pid: int) -> float:
    """Resident memory in megabytes; 0 when the process is gone."""
    return _status(pid).get("VmRSS", 0.0)


def busy() -> float:
    """Return the seconds of work of all processors together since the machine started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _waiting, hard, soft, _stolen = fields
    return (user + nice + system + hard + soft) / _TICKS


def _times(pid: int) -> float:
    fields = _stat(pid)
    # utime, stime and those of children that were waited for: fields 14 to 17 of proc(5), the first two taken off.
    return sum(map(int, fields[11:15])) / _TICKS if fields else 0.0


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return []


def _status(pid: int) -> dict[str, float]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended
        return {}
    pairs = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) * 1024 / 1e6 for name, value in pairs}


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
