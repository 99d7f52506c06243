"""`messagelog demo` as a process: its welcome works as printed, and its data outlives it."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from messagelog.demo import _url, command_name
from messagelog.server.asgi.uvicorn_server import bind_socket
from support.cli_process import command, demo_welcome, running

if TYPE_CHECKING:
    from pathlib import Path


def commands(text: str, name: str) -> list[list[str]]:
    """Return the printed commands of a name, split as a shell would."""
    return [shlex.split(line) for line in text.splitlines() if line.strip().startswith(f"{name} ")]


async def ask(printed: list[str]) -> Any:
    """Run a printed `curl` command, and return the JSON that it prints."""
    if shutil.which("curl"):
        done = await asyncio.to_thread(subprocess.run, printed, capture_output=True, check=True)
        return json.loads(done.stdout)
    (url,) = [each for each in printed if each.startswith("http")]
    header = printed[printed.index("-H") + 1].partition(": ")
    data = printed[printed.index("-d") + 1] if "-d" in printed else None
    method = "GET" if data is None else "POST"
    async with aiohttp.request(method, url, data=data, headers={header[0]: header[2]}) as answer:
        return await answer.json(content_type=None)


async def test_the_welcome_works_as_printed_and_the_data_is_kept(tmp_path: Path) -> None:
    data = tmp_path / "the demo's data"
    with running(tmp_path, "demo", "--port", "0", "--data", str(data)) as demo:
        text = await demo_welcome(demo)
        log, see, lose, behave = commands(text, "curl")
        assert not re.search(r"[?&]\w*[tT]oken=", text), "tokens do not belong into URLs"
        logged = await ask(log)
        assert (logged["successful"], logged["logIds"]) == (True, ["6424569001"])
        (activity,) = await ask(see)
        assert "Can you send the renewal options?" in activity["body"]
        assert (await ask(lose))["lose_response_rate"] == 1
        assert (await ask(behave))["lose_response_rate"] == 0
        (logs,) = [shlex.split(line) for line in text.splitlines() if " logs --data " in line]
        assert shutil.which(logs[0]), "the command is there under the printed name"
        listed = await asyncio.to_thread(command, *logs[1:])
        assert listed.out.splitlines()[1].startswith(
            "8031152018338945839/7/13/2026\tacme\tdemo\tMaya Patel (c-1)"
        )
        secret = data / "secret-key"
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        key = secret.read_text()
        assert len(key) == 64
        await ask([*behave[:-1], '{"failure_rate": 1}'])
        assert await demo.end(signal.SIGINT) == 130
    assert demo.err.read_text() == "", "Ctrl-C is how it ends"

    with running(tmp_path, "demo", "--port", "0", "--data", str(data)) as demo:
        text = await demo_welcome(demo)
        assert "not signed in" not in text, "who signed in before needs no CRM that works"
        log, see, _, behave = commands(text, "curl")
        await ask(behave)
        assert (await ask(log))["logIds"] == []
        earlier = [*log[:2], re.sub(r":\d+/", f":{port_of(text)}/", log[2]), *log[3:]]
        assert (await ask(earlier))["successful"] is True
        assert await ask(see) == [activity]
        assert secret.read_text() == key
        assert await demo.end(signal.SIGTERM) == -signal.SIGTERM
    assert demo.err.read_text() == ""


async def test_all_of_a_demos_folder_is_its_owners_alone(tmp_path: Path) -> None:
    """Also where an earlier version has made it."""
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    for name in ("messagelog.sqlite", "demo-crm.sqlite", "secret-key"):
        (data / name).touch(0o644)
    (data / "secret-key").write_text("0" * 8 + "123456789abcdef" * 4)
    with running(tmp_path, "demo", "--port", "0", "--data", str(data)) as demo:
        await demo_welcome(demo)
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in data.iterdir()}
        assert set(modes.values()) == {0o600}
        assert modes.keys() > {"messagelog.sqlite-wal", "demo-crm.sqlite-wal", "secret-key"}
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        with running(tmp_path, "demo", "--port", "0", "--data", str(data)) as second:
            assert await second.wait_for_exit() == 2
        assert second.err.read_text().endswith("Or choose another folder with --data.\n")


def port_of(text: str) -> str:
    (port,) = re.findall(r"messagelog demo: http://127\.0\.0\.1:(\d+) ", text)
    return str(port)


@pytest.mark.parametrize(
    ("started", "on_the_path", "printed"),
    [
        ("{folder}/bin/messagelog", True, "messagelog"),
        ("{folder}/bin/messagelog", False, "'{folder}/bin/messagelog'"),
        (".venv/bin/messagelog", False, ".venv/bin/messagelog"),
        ("{folder}/other/messagelog", True, "'{folder}/other/messagelog'"),  # another one is on the path
        ("{folder}/messagelog/__main__.py", True, f"{sys.executable} -m messagelog"),
    ],
)
def test_the_command_is_printed_as_it_can_be_started_again(
    tmp_path: Path, started: str, printed: str, *, on_the_path: bool
) -> None:
    folder = tmp_path / "a folder"
    for name in ("bin", "other"):
        (folder / name).mkdir(parents=True)
        (folder / name / "messagelog").write_text("#!/bin/sh\n")
        (folder / name / "messagelog").chmod(0o755)
    path = f"{folder}/bin" if on_the_path else "/nowhere"
    assert command_name(started.format(folder=folder), path) == printed.format(folder=folder)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:"),
        ("0.0.0.0", "http://127.0.0.1:"),  # noqa: S104 - a loopback machine's every address
        ("localhost", "http://localhost:"),
        ("::1", "http://[::1]:"),
        ("::", "http://[::1]:"),
    ],
)
def test_the_url_of_a_host(host: str, url: str) -> None:
    with bind_socket("127.0.0.1", 0) as listener:
        assert _url(host, listener) == f"{url}{listener.getsockname()[1]}"
