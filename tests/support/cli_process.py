"""The command `messagelog` as a process of its own, and within the test's process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sysconfig
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from messagelog.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COMMAND = str(Path(sysconfig.get_path("scripts")) / "messagelog")
_PATIENCE = 20.0


@dataclass
class RunningCommand:
    """A running command, whose output goes to files."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    async def wait_for_output(self, mark: str) -> str:
        """All of its output, once `mark` stands in it."""
        deadline = time.monotonic() + _PATIENCE
        while mark not in (text := self.out.read_text()):
            assert self.process.poll() is None, self.err.read_text()
            assert time.monotonic() < deadline, f"{mark!r} was not printed"
            await asyncio.sleep(0.02)
        return text

    async def wait_for_exit(self) -> int:
        """The exit code, once it has ended; a signal's number below zero."""
        deadline = time.monotonic() + _PATIENCE
        while (code := self.process.poll()) is None:
            assert time.monotonic() < deadline, "it did not end"
            await asyncio.sleep(0.02)
        return code

    async def end(self, signal: int) -> int:
        """Sends a signal, and waits for the end."""
        self.process.send_signal(signal)
        return await self.wait_for_exit()


async def demo_welcome(demo: RunningCommand) -> str:
    """What the demo prints when it is ready."""
    return await demo.wait_for_output("Otto Lindqvist (tenant otto")


@contextmanager
def running(
    folder: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    out_fd: int | None = None,
    err_fd: int | None = None,
) -> Iterator[RunningCommand]:
    """Runs the command in the background, with its output in files of `folder` or at `out_fd` and `err_fd`.

    It sees no settings but those in `env`; its warnings are errors.
    """
    number = len(list(folder.glob("*.out")))
    out, err = folder / f"{number}.out", folder / f"{number}.err"
    with out.open("wb") as out_file, err.open("wb") as err_file:
        process = subprocess.Popen(
            [COMMAND, *arguments],
            env={**_clean_environment(), "PYTHONWARNINGS": "error", **(env or {})},
            stdout=out_file if out_fd is None else out_fd,
            stderr=err_file if err_fd is None else err_fd,
        )
    try:
        yield RunningCommand(process, out, err)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MESSAGELOG_")}


@dataclass(frozen=True)
class CommandResult:
    """The result of a command."""

    code: int
    out: str
    err: str


def command(
    *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None
) -> CommandResult:
    """Runs the command to its end, within this process (not from a coroutine: some have a loop of their own)."""
    cleared = dict.fromkeys(name for name in os.environ if name.startswith("MESSAGELOG_"))
    before = dict(os.environ)
    try:
        result = CliRunner().invoke(app, arguments, stdin, env={**cleared, **(env or {})})
    finally:  # a file of settings adds to the environment
        os.environ.clear()
        os.environ.update(before)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return CommandResult(result.exit_code, result.stdout, result.stderr)
