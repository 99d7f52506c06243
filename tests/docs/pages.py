"""The documentation as its tests see it: pages, fenced blocks, tables, headings."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "messagelog"
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DOCS = ROOT / "docs"
TESTS = ROOT / "tests" / "README.md"
PAGES = [README, CONTRIBUTING, TESTS, ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]

_FENCED = re.compile(r"^```(?P<language>\w+)(?P<marks>[ \w-]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_ANY_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, what stands behind that, its text, and the line on which it begins."""

    language: str
    marks: tuple[str, ...]
    text: str
    line: int


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[Block]:
    text = page.read_text("utf-8")
    found = [
        Block(
            each["language"],
            tuple(each["marks"].split()),
            each["text"],
            text.count("\n", 0, each.start()) + 2,
        )
        for each in _FENCED.finditer(text)
    ]
    return [block for block in found if block.language in languages]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _ANY_FENCE.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """Return what a link can name behind `#`: the headings, as the usual hosts spell them."""
    headings = (heading.lower() for heading in _HEADING.findall(prose(page)))
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in headings}


def table(page: Path, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its head."""
    below = prose(page).partition(f"# {heading}\n")[2]
    assert below, f"{name_of(page)} has no heading {heading}"
    lines = re.search(r"(?:^\|.*\|\n)+", below, re.MULTILINE)
    assert lines, f"{name_of(page)} has no table below {heading}"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[0].splitlines()]
    return rows[2:]


def code(cell: str) -> list[str]:
    """Return the texts in backticks."""
    return _CODE.findall(cell)


@cache
def defined_names(folder: Path) -> frozenset[str]:
    """Return the classes, functions, parameters, fields and constants that a folder's Python files define."""
    return frozenset(
        name for path in folder.rglob("*.py") for name in _defined_in(ast.parse(path.read_text("utf-8")))
    )


def _defined_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.arg(arg=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def run_python(page: Path) -> dict[str, Any]:
    """Run the page's Python blocks one after the other, and return the names that they made."""
    names: dict[str, Any] = {"__name__": f"docs of {name_of(page)}"}
    for block in blocks(page, "python"):
        if "no-run" not in block.marks:
            text = "\n" * (block.line - 1) + block.text  # so that a traceback names the page's line
            exec(compile(text, str(page), "exec"), names)  # noqa: S102 - the point of it: our own text
    return names
