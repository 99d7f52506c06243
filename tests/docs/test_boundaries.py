"""The rooms of the package import what CONTRIBUTING.md allows, and nothing else; so do the pages."""

from __future__ import annotations

import ast
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import pytest

from docs.pages import CONTRIBUTING, PACKAGE, PAGES, blocks, code, table
from messagelog import admin

if TYPE_CHECKING:
    from pathlib import Path

RULES = {code(row[0])[0]: row for row in table(CONTRIBUTING, "The rooms")}
SUB_ROOMS = {code(row[0])[0]: set(code(row[2])) for row in table(CONTRIBUTING, "Sub-rooms")}
"""By `room/sub-room`: the sub-rooms of the same room that it may import."""
LEAF = "errors"
"""The module at the top that every room may import, and that imports none."""
TOP = {"__main__", "admin", "settings", "environment", "cli", "log_lines", "demo"}
FACES = {"admin", "compose", "connectors", "messages", "plugins", "testing"}
"""What users of the package import."""
PURE = ("messages", "compose")
IMPURE = frozenset(
    {"asyncio", "os", "pathlib", "random", "secrets", "socket", "sqlite3", "subprocess", "threading", "time"}
)


@cache
def imports_in(path: Path) -> tuple[str, ...]:
    """Return the dotted names that a file imports, for types too."""
    return imports_in_text(path.read_text("utf-8"))


def imports_in_text(text: str) -> tuple[str, ...]:
    """Return the same of a text."""
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "relative imports are not used"
            names += (f"{node.module}.{name.name}" for name in node.names)
    return tuple(names)


def imports_of(room: str) -> set[str]:
    return {name for path in (PACKAGE / room).rglob("*.py") for name in imports_in(path)}


def rooms_in(names: set[str]) -> set[str]:
    """Return the rooms and top modules among these names."""
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


def parts_of(room: str) -> dict[str, list[Path]]:
    """A room's sub-rooms and the files at its top, each with its files."""
    parts = {path.stem: [path] for path in (PACKAGE / room).glob("*.py")}
    return parts | {
        path.name: sorted(path.rglob("*.py"))
        for path in (PACKAGE / room).iterdir()
        if (path / "__init__.py").exists()
    }


def arrows_in(room: str) -> dict[str, set[str]]:
    """Which other parts of the room each of its parts imports; the room's own name stands for `__init__`."""
    parts = parts_of(room)
    arrows: dict[str, set[str]] = {}
    for part, files in parts.items():
        names = (name.split(".") for file in files for name in imports_in(file))
        inner = (name[2] for name in names if name[:2] == ["messagelog", room] and len(name) > 2)
        arrows[part] = {name if name in parts else "__init__" for name in inner} - {part}
    return arrows


def test_every_sub_room_has_a_rule() -> None:
    rooms = {name.partition("/")[0] for name in SUB_ROOMS}
    assert rooms == {"core", "storage", "server"}
    assert {
        f"{room}/{part}"
        for room in rooms
        for part in parts_of(room)
        if (PACKAGE / room / part / "__init__.py").exists()
    } == SUB_ROOMS.keys()


@pytest.mark.parametrize("sub_room", SUB_ROOMS)
def test_a_sub_room_imports_only_the_sub_rooms_that_it_may(sub_room: str) -> None:
    room, _, part = sub_room.partition("/")
    assert {name for name in arrows_in(room)[part] if f"{room}/{name}" in SUB_ROOMS} <= SUB_ROOMS[sub_room]


def test_an_import_for_types_is_an_arrow_too() -> None:
    assert "transactions" in arrows_in("storage")["store"]
    assert "operators" in arrows_in("core")["admin"]


@pytest.mark.parametrize("room", RULES)
def test_the_parts_of_a_room_make_no_circle(room: str) -> None:
    try:
        TopologicalSorter(arrows_in(room)).prepare()
    except CycleError as error:
        pytest.fail(f"a circle in {room}: {' <- '.join(error.args[1])}")


def test_the_rules_of_sub_rooms_make_no_circle() -> None:
    inside = {
        name: {f"{name.partition('/')[0]}/{other}" for other in others} for name, others in SUB_ROOMS.items()
    }
    assert {other for others in inside.values() for other in others} <= inside.keys()
    TopologicalSorter(inside).prepare()
