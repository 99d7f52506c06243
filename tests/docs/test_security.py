"""Each weakness that is closed or bounded names tests, and they exist."""

from __future__ import annotations

import ast

import pytest

from docs.pages import DOCS, ROOT, code, table

ROWS = table(DOCS / "security.md", "Known weaknesses of the reference")


def test_every_weakness_has_its_row() -> None:
    assert [row[0] for row in ROWS] == [str(number) for number in range(1, 19)]
    assert {row[2] for row in ROWS} <= {"closed", "bounded", "open"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"weakness {row[0]}")
def test_the_tests_that_a_row_names_exist(row: list[str]) -> None:
    named = code(row[4])
    assert bool(named) is (row[2] != "open")
    for node_id in named:
        path, _, name = node_id.partition("::")
        module = ast.parse((ROOT / path).read_text("utf-8"))
        tests = {
            each.name for each in module.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name.startswith("test_")
        assert name in tests, node_id
