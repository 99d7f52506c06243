"""The rooms of the package import what CONTRIBUTING.md allows, and nothing else; so do the pages."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

import pytest

from docs.pages import CONTRIBUTING, PAGES, ROOT, blocks, code, table
from messagelog import admin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = ROOT / "src" / "messagelog"
RULES = {code(row[0])[0]: row for row in table(CONTRIBUTING, "The rooms")}
LEAF = "errors"
"""The module at the top that every room may import, and that imports none."""
TOP = {"__main__", "admin", "settings", "environment", "cli", "listing", "log_lines", "demo"}
FACES = {"admin", "compose", "connectors", "messages", "plugins", "testing"}
"""What users of the package import."""
PURE = ("messages", "compose")
IMPURE = frozenset(
    {"asyncio", "os", "pathlib", "random", "secrets", "socket", "sqlite3", "subprocess", "threading", "time"}
)


def imports_in(path: Path) -> Iterator[str]:
    """The dotted names that a file imports, for types too."""
    yield from imports_in_text(path.read_text("utf-8"))


def imports_in_text(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "relative imports are not used"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def imports_of(room: str) -> set[str]:
    return {name for path in (PACKAGE / room).rglob("*.py") for name in imports_in(path)}


def rooms_in(names: set[str]) -> set[str]:
    """The rooms and top modules among these names."""
    ours = (name.split(".")[1] for name in names if name.startswith("messagelog."))
    return {name for name in ours if name in RULES or name in TOP}


def test_every_room_has_a_rule() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert folders == RULES.keys()
    assert files == TOP | {LEAF}
    assert not any(name.startswith("messagelog") for name in imports_in(PACKAGE / f"{LEAF}.py"))


@pytest.mark.parametrize("room", [room for room in RULES if room != "testing"])
def test_a_room_imports_only_the_rooms_that_it_may(room: str) -> None:
    assert rooms_in(imports_of(room)) - {room} <= set(code(RULES[room][2]))


def test_testing_imports_rooms_only() -> None:
    assert rooms_in(imports_of("testing")) & TOP == set()


def test_pages_import_only_what_is_for_users() -> None:
    names = {
        name for page in PAGES for block in blocks(page, "python") for name in imports_in_text(block.text)
    }
    ours = {name.split(".")[1] for name in names if name.startswith("messagelog.")}
    assert ours == FACES


def test_what_is_for_operators_is_listed_once_and_is_there() -> None:
    names = admin.__all__
    assert [*names] == sorted(set(names), key=lambda name: (name[0].islower(), name))
    imported = {name.rpartition(".")[2] for name in imports_in(PACKAGE / "admin.py")}
    assert imported == set(names)


@pytest.mark.parametrize("room", [room for room in RULES if room != "testing"])
def test_a_room_uses_only_the_libraries_that_it_may(room: str) -> None:
    used = (
        {name.partition(".")[0] for name in imports_of(room)} - set(sys.stdlib_module_names) - {"messagelog"}
    )
    cell = RULES[room][3]
    allowed = set() if cell == "nothing" else set(cell.split(", "))
    assert used == allowed


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_has_no_input_and_no_output(room: str) -> None:
    assert {name.partition(".")[0] for name in imports_of(room)} & IMPURE == set()


def test_a_connectors_folder_imports_the_contract_only() -> None:
    folders = [
        path for path in (PACKAGE / "connectors").iterdir() if path.is_dir() and path.name != "__pycache__"
    ]
    assert folders
    for folder in folders:
        own = f"messagelog.connectors.{folder.name}."
        names = {
            name
            for path in folder.rglob("*.py")
            for name in imports_in(path)
            if name.startswith("messagelog.")
        }
        others = {name for name in names if not name.startswith(own)}
        assert {name.rpartition(".")[0] for name in others} <= {
            "messagelog.connectors",
            "messagelog.compose",
            "messagelog.messages",
        }


def test_the_core_knows_no_connector() -> None:
    contract = {
        "answers",
        "contract",
        "errors",
        "hostname",
        "http",
        "limits",
        "log",
        "models",
        "outbound",
        "redaction",
    }
    for room in ("core", "server"):
        modules = {
            name.split(".")[2] for name in imports_of(room) if name.startswith("messagelog.connectors.")
        }
        assert {module for module in modules if module.islower()} <= contract
