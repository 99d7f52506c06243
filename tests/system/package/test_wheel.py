"""The wheel, in an environment that knows nothing else: it installs, starts, and reads well in the package index."""

from __future__ import annotations

import asyncio
import email
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import messagelog

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parents[3]
PATIENCE = 300.0  # a package index may be slow

pytestmark = pytest.mark.timeout(2 * PATIENCE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it is built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of a new environment in which `pip install` has put the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin" / "pip", "install", "-q", "--disable-pip-version-check", wheel, "pipx")
    return folder / "bin"


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """What the package index is told."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def run(*command: object, **env: str) -> str:
    """Run a command to its end; what it printed."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env={**clean_environment(), **env},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean_environment() -> dict[str, str]:
    """This process's environment, without our settings and without what leads to our own code."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MESSAGELOG_", "PYTHON", "VIRTUAL_ENV", "PYTEST"))
    }


async def log_a_message(folder: Path, *command: object, **env: str) -> None:
    """Start the demo, run the command that it prints first, and end it."""
    out = folder / "out"
    with out.open("wb") as file:
        demo = subprocess.Popen(  # noqa: ASYNC220 - it only starts here
            [str(word) for word in command],
            cwd=folder,
            stdout=file,
            env={**clean_environment(), **env},
            start_new_session=True,
        )
    try:
        async with asyncio.timeout(PATIENCE):
            while not (curl := re.search(r"^  (curl .*/messageLog .*)$", out.read_text(), re.MULTILINE)):
                assert demo.poll() is None, out.read_text()
                await asyncio.sleep(0.1)
        answer = await asyncio.to_thread(subprocess.check_output, ["sh", "-c", curl[1]])
        assert json.loads(answer)["logIds"] == ["6424569001"]
    finally:
        os.killpg(demo.pid, signal.SIGTERM)
        await asyncio.to_thread(demo.wait, 30)


def test_the_version_is_the_package_s(fresh: Path) -> None:
    printed = run(fresh / "python", "-c", "import messagelog; print(messagelog.__version__)")
    assert printed.strip() == messagelog.__version__


async def test_the_demo_of_an_installed_package(fresh: Path, tmp_path: Path) -> None:
    await log_a_message(tmp_path, fresh / "messagelog", "demo", "--port", "0")


async def test_the_demo_without_installing_it(fresh: Path, wheel: Path, tmp_path: Path) -> None:
    home = {"PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    command = ("run", "--spec", wheel, "messagelog", "demo", "--port", "0")
    await log_a_message(tmp_path, fresh / "pipx", *command, **home)


def test_every_link_leads_somewhere_from_the_index(metadata: Message) -> None:
    text = str(metadata.get_payload())
    assert metadata["Description-Content-Type"] == "text/markdown"
    links = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(links) > 10
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    ours = r"https://(?:github\.com/messagelog/messagelog/blob|raw\S+?messagelog/messagelog)/main/([^#]+)"
    for link in links:
        page = re.match(ours, link)
        assert page is None or (ROOT / page[1]).exists(), link


def test_the_index_is_told_who_what_and_where(metadata: Message) -> None:
    urls = dict(each.split(", ", 1) for each in metadata.get_all("Project-URL", []))
    assert {"Homepage", "Documentation", "Changelog", "Issues"} <= urls.keys()
    assert metadata["License-Expression"] == "MIT"
    versions = [each for each in metadata.get_all("Classifier", []) if re.search(r":: 3\.\d", each)]
    assert versions == ["Programming Language :: Python :: 3.11"], "those that the tests run on"


def test_nothing_is_in_the_wheel_but_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert tops == {"messagelog", f"messagelog-{messagelog.__version__}.dist-info"}
