"""A signal that comes while a command starts ends it, without any output."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from messagelog.storage.database import migrate
from support.cli_process import running

if TYPE_CHECKING:
    from support.cli_process import RunningCommand

DELAYS = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.45, 0.6, 0.9, 1.5)
"""In seconds, from when our code begins: while it loads its parts, opens its database, begins to listen, serves."""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    url = f"sqlite:///{tmp_path / 'messagelog.sqlite'}"
    migrate(url)
    return {
        "MESSAGELOG_DATABASE_URL": url,
        "MESSAGELOG_SECRET_KEY": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "MESSAGELOG_PUBLIC_URL": "https://log.example.com",
        "MESSAGELOG_CONNECTORS": "demo",
        "MESSAGELOG_DEMO_CRM_URL": "http://127.0.0.1:9/api",
        "MESSAGELOG_PORT": "0",
    }


def handles(pid: int, number: signal.Signals) -> bool:
    """Return whether a process has a handler of its own for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(caught, 16) >> (number - 1) & 1)


def our_code_runs(process: RunningCommand) -> None:
    """Wait until Python has started, which has a handler for Ctrl-C, and our code has begun, which has none."""
    deadline = time.monotonic() + 20
    for wanted in (True, False):
        while handles(process.process.pid, signal.SIGINT) is not wanted:
            assert time.monotonic() < deadline
            time.sleep(0.001)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it is seen in /proc when our code begins")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_server_that_is_stopped_while_it_starts_says_nothing(
    tmp_path: Path, env: dict[str, str], number: signal.Signals
) -> None:
    for delay in DELAYS:
        with running(tmp_path, "serve", env=env) as server:
            our_code_runs(server)
            await asyncio.sleep(delay)
            assert await server.end(number) == -number
        assert server.err.read_text() == "", f"{delay} s after the start"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it is seen in /proc when our code begins")
async def test_a_command_that_is_stopped_while_it_loads_says_nothing(
    tmp_path: Path, env: dict[str, str]
) -> None:
    for delay in DELAYS[:4]:
        with running(tmp_path, "logs", env=env) as logs:
            our_code_runs(logs)
            await asyncio.sleep(delay)
            await logs.end(signal.SIGINT)
        assert "Traceback" not in logs.err.read_text()
