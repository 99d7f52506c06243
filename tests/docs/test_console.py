"""The commands of the documentation do what it says, and print what it shows."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from docs.console import replay, running_demo
from docs.pages import DOCS, PAGES, README, blocks, name_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the documentation's commands use curl")

QUICKSTART = DOCS / "quickstart.md"
CLIENT = DOCS / "how-to" / "connect-app-connect.md"
HTTP = DOCS / "reference" / "http.md"
WHAT_FAILED = DOCS / "how-to" / "what-failed.md"
OPERATORS = DOCS / "how-to" / "operators.md"
BACK_UP = DOCS / "how-to" / "back-up.md"
RUN = {README, HTTP, CLIENT, OPERATORS, QUICKSTART, WHAT_FAILED, BACK_UP}


def test_the_quickstart(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        printed = [line.strip() for line in demo.welcome.splitlines() if " logs --data " in line]
        assert printed == [".venv/bin/messagelog logs --data messagelog-data"]
        assert f"$ {printed[0]} |" in QUICKSTART.read_text("utf-8"), "as the demo printed it"
        replay(QUICKSTART, demo)
        replay(WHAT_FAILED, demo)  # goes on where the other ends


def test_the_readme_the_http_reference_and_the_clients_page(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        replay(README, demo)  # as Ada, of the first tenant
        replay(HTTP, demo)  # as Otto, of the second
        replay(CLIENT, demo)  # at the command line
        replay(OPERATORS, demo)  # at the command line, and as an operator
        replay(BACK_UP, demo)


def test_no_page_has_commands_that_are_not_run() -> None:
    with_commands = {page for page in PAGES if blocks(page, "sh", "console")}
    assert {name_of(page) for page in with_commands - RUN} == set()
