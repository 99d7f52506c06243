"""Processes of `messagelog` that are killed before the n-th time that they touch a file of a folder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FORKS = """
import json, os, signal, sys
from messagelog import cli  # once, for all of its children

def child(folder, left, arguments):
    def touched(event, values):
        nonlocal left
        named = any(isinstance(each, str | os.PathLike) and os.fspath(each).startswith(folder) for each in values)
        if event.startswith("fcntl.") or (named and event.startswith(("open", "os.", "sqlite3.connect", "shutil."))):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    os.dup2(2, 1)
    sys.addaudithook(touched)
    cli.app(arguments)

for line in sys.stdin:
    told = json.loads(line)
    process = os.fork()
    if process == 0:
        child(*told)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


@dataclass
class Killing:
    """Runs commands on files of a folder, each in a process of its own that is killed at one point."""

    folder: Path
    parent: subprocess.Popen[str]

    def points(self, *arguments: str) -> Iterator[int]:
        """The points (from 1) at which a command was killed, each once it was, until it has ended by itself."""
        point = 1
        while self._killed(point, arguments):
            yield point
            point += 1

    def _killed(self, point: int, arguments: tuple[str, ...]) -> bool:
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        self.parent.stdin.write(json.dumps([str(self.folder), point, arguments]) + "\n")
        self.parent.stdin.flush()
        code = int(self.parent.stdout.readline())
        assert code in {0, -signal.SIGKILL}
        return code != 0


@contextmanager
def killing(folder: Path, env: dict[str, str]) -> Iterator[Killing]:
    """A process that has loaded `messagelog` and makes others of itself, with these settings."""
    with subprocess.Popen(
        [sys.executable, "-c", _FORKS], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        try:
            yield Killing(folder, parent)
        finally:
            parent.kill()
