"""Run the commands of a page in a shell, beside a demo, and compare their output with the page."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from docs.pages import blocks
from messagelog.testing.demo_crm import API_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMAND = Path(".venv") / "bin" / "messagelog"
_MARK = "--- the next command"
_SERVES = re.compile(r"messagelog serve$")
_DEMO_PORT, _OWN_PORT = "8787", "8790"


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo: its folder (a reader's working directory), its port, its output."""

    folder: Path
    port: str
    welcome: str


@contextmanager
def running_demo(folder: Path) -> Iterator[Demo]:
    """Run `make demo` in a folder, on a free port."""
    (folder / ".venv").symlink_to(sys.prefix)
    process = subprocess.Popen(
        [_COMMAND, "demo", "--port", "0"],
        cwd=folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    try:
        welcome = ""
        last_key = list(API_KEYS)[-1]
        for line in process.stdout:
            welcome += line
            if last_key in line:
                break
        port = re.search(r"http://127\.0\.0\.1:(\d+)", welcome)
        assert port, welcome
        yield Demo(folder, port[1], welcome)
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


@dataclass(frozen=True, slots=True)
class Step:
    """Shell text to run, and its expected output (None: any)."""

    text: str
    expected: str | None


_STARTS = {"make demo", "messagelog demo"}


def replay(page: Path, demo: Demo) -> None:
    """Run the page's `sh` and `console` blocks in one shell, as a reader would."""
    ports = {_DEMO_PORT: demo.port, _OWN_PORT: _free_port()}
    for block in blocks(page, "python"):
        first = block.text.partition("\n")[0]
        if re.fullmatch(r"# \w+\.py", first):
            (demo.folder / first.removeprefix("# ")).write_text(_with_ports(block.text, ports), "utf-8")
    steps = [
        Step(_with_ports(step.text, ports), step.expected and _with_ports(step.expected, ports))
        for step in _steps(page)
    ]
    printed = _run([_as_meant(step.text, demo) for step in steps], demo)
    for step, output in zip(steps, printed, strict=True):
        if step.expected is not None:
            told = demo.welcome if step.text in _STARTS else output
            assert _pattern(step.expected).fullmatch(told.rstrip("\n")), f"$ {step.text}\n{told}"


def _steps(page: Path) -> list[Step]:
    steps = []
    for block in blocks(page, "sh", "console"):
        if block.language == "sh":
            steps.append(Step(block.text, None))
            continue
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            steps.append(Step(command, expected.rstrip("\n")))
    return steps


def _as_meant(command: str, demo: Demo) -> str:
    """Return the command as a reader runs it: a shortened one is one of those that the demo printed."""
    if command in _STARTS:
        return ":"
    if "…" in command:
        meant = [
            line for line in map(str.strip, demo.welcome.splitlines()) if _pattern(command).fullmatch(line)
        ]
        assert meant, f"the demo printed no such command: {command}"
        return meant[0]
    if _SERVES.search(command):
        # It prints its line before it listens, and the page's next command is quicker than a reader's.
        answers = "curl -s -o served.alive $MESSAGELOG_PUBLIC_URL/isAlive"
        wait = f"until {answers} || ! kill -0 $SERVER; do sleep 0.05; done; cat served"
        return f"{command} >served 2>&1 & SERVER=$!\ntrap 'kill $SERVER' EXIT\n{wait}"
    return command


def _run(commands: list[str], demo: Demo) -> list[str]:
    script = demo.folder / "commands.sh"
    script.write_text("\n".join(f"{command}\nprintf '\\n{_MARK}\\n'" for command in commands), "utf-8")
    done = subprocess.run(
        ["/bin/sh", script],
        cwd=demo.folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    *printed, rest = done.stdout.split(f"\n{_MARK}\n")
    assert not rest.strip(), rest
    return printed


def _pattern(text: str) -> re.Pattern[str]:
    """Return the output on a page as a pattern: `…` stands for anything."""
    return re.compile(".*".join(map(re.escape, text.split("…"))), re.DOTALL)


def _with_ports(text: str, ports: dict[str, str]) -> str:
    for port, real in ports.items():
        text = text.replace(port, real)
    return text


def _environment() -> dict[str, str]:
    """Return an environment with only the path, without any virtual environment on it."""
    places = [place for place in os.environ["PATH"].split(os.pathsep) if place != f"{sys.prefix}/bin"]
    return {"PATH": os.pathsep.join(places), "LANG": "C.UTF-8", "NO_PROXY": "*"}


def _free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])
