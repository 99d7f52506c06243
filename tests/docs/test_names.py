"""The package's functions in figures: names are verbs or nouns, a helper is worth its name, and none is long."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from typing import NamedTuple

import pytest

from docs.pages import ROOT

PACKAGE = ROOT / "src" / "messagelog"

MOST_PARTICIPLES = 0.01
"""The share of functions that are named by a participle (`accepted`), which is for properties and booleans."""

MOST_USED_ONCE = 0.17
"""The share of private functions with a single use in their file: most such helpers read better in their caller."""

MOST_LINES = 60
LONG = {
    "server/lifespan.py:open_context",  # the composition root
    "storage/transactions/claims.py:save_outcome",
}
"""Functions that may be longer, besides those of migrations."""

PARTICIPLE = re.compile(
    r"\w+ed|begun|bound|given|gone|held|hidden|kept|known|made|said|seen|sent|shown|spent|taken|told|undone|written"
)
NO_PARTICIPLES = frozenset({"embed", "feed", "need", "seed"})


class Function(NamedTuple):
    place: str
    node: ast.FunctionDef | ast.AsyncFunctionDef
    uses: int
    """How often the file's code names it, apart from its definition."""

    @property
    def lines(self) -> int:
        return (self.node.end_lineno or self.node.lineno) - self.node.lineno + 1


@cache
def functions_in(text: str, file: str = "") -> tuple[Function, ...]:
    tree = ast.parse(text)
    uses = Counter(
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    )
    return tuple(
        Function(f"{file}:{node.name}", node, uses[node.name])
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@cache
def functions() -> tuple[Function, ...]:
    return tuple(
        function
        for path in sorted(PACKAGE.rglob("*.py"))
        for function in functions_in(path.read_text("utf-8"), str(path.relative_to(PACKAGE)))
    )


def is_named_by_a_participle(function: Function) -> bool:
    node = function.node
    first = node.name.strip("_").split("_")[0]
    if first in NO_PARTICIPLES or not PARTICIPLE.fullmatch(first):
        return False
    marks = {getattr(each, "id", getattr(each, "attr", "")) for each in node.decorator_list}
    is_boolean = isinstance(node.returns, ast.Name) and node.returns.id == "bool"
    return not (is_boolean or marks & {"property", "cached_property"})


def is_used_once(function: Function) -> bool:
    name = function.node.name
    return name.startswith("_") and not name.startswith("__") and function.uses == 1


def test_participles_are_for_properties_and_booleans() -> None:
    found = [function.place for function in functions() if is_named_by_a_participle(function)]
    assert len(found) <= MOST_PARTICIPLES * len(functions()), found


def test_few_helpers_are_used_only_once() -> None:
    found = [function.place for function in functions() if is_used_once(function)]
    assert len(found) <= MOST_USED_ONCE * len(functions()), found


def test_a_function_fits_on_a_screen() -> None:
    found = {
        each.place for each in functions() if each.lines > MOST_LINES and "/migrations/" not in each.place
    }
    assert found <= LONG


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def _accepted(): ...", True),
        ("async def told(): ...", True),
        ("def _made_now() -> int: ...", True),
        ("def feed(): ...", False),
        ("def accept(): ...", False),
        ("def closed() -> bool: ...", False),
        ("class A:\n    @property\n    def sent(self) -> int: ...", False),
    ],
)
def test_a_participle_is_told_from_a_verb(text: str, *, expected: bool) -> None:
    assert [is_named_by_a_participle(each) for each in functions_in(text)] == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def _f(): ...\n_f()", True),
        ("def _f(): ...\n_f()\n_f()", False),
        ("def _f():\n    '''Not _f.'''\n\n_f()  # _f", True),
        ("def _f(): ...", False),
        ("def f(): ...\nf()", False),
        ("class A:\n    def _f(self): ...\n\nA()._f()", True),
        ("class A:\n    def __f__(self): ...\n\nA().__f__()", False),
    ],
)
def test_uses_of_a_function_are_counted(text: str, *, expected: bool) -> None:
    assert [is_used_once(each) for each in functions_in(text)] == [expected]
