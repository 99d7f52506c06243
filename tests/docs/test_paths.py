"""Every file, folder and class of ours that the documentation names is there."""

from __future__ import annotations

import builtins
import re
from pathlib import Path
from typing import Final

import pytest

from docs.pages import CONTRIBUTING, DOCS, PACKAGE, PAGES, ROOT, TESTS, code, defined_names, name_of, prose

FOLDERS: Final = {
    path.name
    for parent in (ROOT, PACKAGE)
    for path in parent.iterdir()
    if path.is_dir() and not path.name.startswith((".", "_"))
}
"""A word that begins with one of these and a slash is a path. Routes begin with a slash."""

FOR_DEVELOPERS: Final = [
    CONTRIBUTING,
    *sorted(page for folder in ("decisions", "explanation") for page in (DOCS / folder).glob("*.md")),
]
"""The pages whose names in capitals are classes of ours."""

OF_TESTS: Final = sorted(
    path for path in TESTS.parent.iterdir() if path.is_dir() and path.name[0] not in "._"
)
HERE: Final = Path(__file__)
"""This file names files that are not there."""

_ANYWHERE = re.compile(r"\b(?:src|tests|docs)/[\w/.-]+\.\w+\b")
_CLASS = re.compile(r"(?:[A-Z][a-z]+)+(?:\.\w+)*(?:\(\))?")
_OF_PYTHON: Final = frozenset({*dir(builtins), "Any"})


def is_path(word: str) -> bool:
    first, slash, _ = word.partition("/")
    return bool(slash and first in FOLDERS) or re.fullmatch(r"[\w/<>*-]+\.py", word) is not None


def paths_in(text: str) -> set[str]:
    """Return what the page names between backquotes, and in a command, without the name of a test."""
    return quoted_paths(text) | set(_ANYWHERE.findall(text))


def quoted_paths(text: str) -> set[str]:
    words = {word for part in code(text) for word in part.split()}
    return {word.partition("::")[0] for word in words if is_path(word)}


def exists(path: str, page: Path) -> bool:
    """Whether it is at the root, in the package, or beside or above a file that names it; `<name>` is any name."""
    pattern = re.sub(r"<\w+>", "*", path).rstrip("/")
    bases = {ROOT, PACKAGE, *(folder for folder in page.parents if folder.is_relative_to(ROOT))}
    return any(has_files(found) for base in bases for found in base.glob(pattern))


def has_files(path: Path) -> bool:
    """Whether it is a file, or a folder that has files other than those that Python has compiled."""
    return path.is_file() or any(
        each.is_file() and "__pycache__" not in each.parts for each in path.rglob("*")
    )


def files_of_users(page: Path) -> set[str]:
    """The files that the page has its reader write."""
    return set(re.findall(r"^# ([\w.]+\.py)$", page.read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_path_is_there(page: Path) -> None:
    named = paths_in(prose(page)) - files_of_users(page)
    assert sorted(path for path in named if not exists(path, page)) == []


@pytest.mark.parametrize("folder", [PACKAGE, *OF_TESTS], ids=name_of)
def test_every_path_that_our_code_names_is_there(folder: Path) -> None:
    wrong = {
        f"{name_of(path)}: {named}"
        for path in folder.rglob("*.py")
        if path != HERE
        for line in path.read_text("utf-8").splitlines()
        for named in quoted_paths(line)
        if not exists(named, path)
    }
    assert wrong == set()


@pytest.mark.parametrize("page", FOR_DEVELOPERS, ids=name_of)
def test_every_class_is_there(page: Path) -> None:
    named = {name.removesuffix("()") for name in code(prose(page)) if _CLASS.fullmatch(name)}
    known = defined_names(PACKAGE) | defined_names(TESTS.parent) | _OF_PYTHON
    assert sorted(name for name in named if not set(name.split(".")) <= known) == []


def test_paths_are_told_from_other_words() -> None:
    text = "`core/errors.py`, `/docs/x`, `text/html`, `tests/a/b.py::test_x`, `pytest tests/docs`, `src/<name>`\n"
    assert paths_in(text) == {"core/errors.py", "tests/a/b.py", "tests/docs", "src/<name>"}
    assert exists("core/errors.py", CONTRIBUTING)
    assert exists("connectors/<name>", CONTRIBUTING)
    assert not exists("core/settle.py", CONTRIBUTING)
    assert not exists("docs/test_paths.py", CONTRIBUTING)
    assert exists("docs/test_paths.py", TESTS)
