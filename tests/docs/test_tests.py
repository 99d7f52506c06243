"""`tests/README.md` names files that exist, and every file of tests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from docs.pages import ROOT, TESTS, code, table

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Final = TESTS.parent
BEHAVIOURS: Final = table(TESTS, "Where a behaviour is shown")
FIXTURES: Final = [*table(TESTS, "Fixtures"), *table(TESTS, "Tools of a test")]


def named_in(rows: list[list[str]]) -> set[Path]:
    """The paths in the last cell of each row."""
    return {FOLDER / path for row in rows for path in code(row[-1])}


def test_every_path_exists() -> None:
    paths = named_in(BEHAVIOURS) | named_in(FIXTURES)
    assert [str(path.relative_to(FOLDER)) for path in paths if not path.exists()] == []


def test_every_file_of_tests_is_named_or_in_a_folder_that_is() -> None:
    named = named_in(BEHAVIOURS)
    files = set(FOLDER.rglob("test_*.py"))
    assert len(files) > len(BEHAVIOURS)
    assert [
        str(path.relative_to(FOLDER))
        for path in sorted(files)
        if path not in named and path.parent not in named
    ] == []


def test_a_folder_that_is_named_has_tests_and_none_that_is_named_too() -> None:
    named = named_in(BEHAVIOURS)
    for folder in filter(lambda path: path.is_dir(), named):
        assert list(folder.glob("test_*.py")), folder
        assert [path for path in named if path.parent == folder] == []


def test_no_file_shows_two_behaviours() -> None:
    paths = [path for row in BEHAVIOURS for path in code(row[-1])]
    assert sorted(paths) == sorted(set(paths))


@pytest.mark.parametrize("row", FIXTURES, ids=lambda row: row[0])
def test_a_fixture_is_defined_where_the_page_says(row: list[str]) -> None:
    texts = [(FOLDER / path).read_text("utf-8") for path in code(row[-1])]
    for name in code(row[0]):
        defined = re.compile(rf"^(?:async )?(?:def|class) {name.removesuffix('()')}\b", re.MULTILINE)
        assert any(defined.search(text) for text in texts), name


def test_every_variable_of_a_run_is_listed() -> None:
    sources = [ROOT / "Makefile", *FOLDER.joinpath("support").glob("*.py"), FOLDER / "conftest.py"]
    read = {
        name
        for path in sources
        for name in re.findall(
            r"(?:environ(?:\.get|\.setdefault)?[(\[]\"|^|\$\()(MESSAGELOG_[A-Z]+)",
            path.read_text("utf-8"),
            re.MULTILINE,
        )
    }
    assert read - {"MESSAGELOG_PROVE"} == {code(row[0])[0] for row in table(TESTS, "Variables")}
