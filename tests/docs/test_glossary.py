"""The glossary has each word once, and what it names in the code is there."""

from __future__ import annotations

import re
from typing import Final

from docs.pages import DOCS, PACKAGE, code, defined_names, prose, table

PAGE: Final = DOCS / "explanation" / "glossary.md"
HEADINGS: Final = re.findall(r"^## (.+)$", prose(PAGE), re.MULTILINE)
ROWS: Final = [row for heading in HEADINGS for row in table(PAGE, heading)]
WORDS: Final = [word for row in ROWS for word in row[0].split(", ")]


def test_every_row_has_a_word_and_a_sentence() -> None:
    assert len(ROWS) > len(HEADINGS)
    assert [row for row in ROWS if len(row) != 3 or not row[0] or not row[1].endswith(".")] == []


def test_no_word_is_there_twice() -> None:
    assert sorted(WORDS) == sorted(set(WORDS))


def test_no_name_of_the_code_has_two_words() -> None:
    names = [name for row in ROWS for name in code(row[2])]
    assert sorted(names) == sorted(set(names))


def test_every_name_of_the_code_is_defined_there() -> None:
    names = {name for row in ROWS for name in code(" ".join(row)) if name.isidentifier()}
    assert names - defined_names(PACKAGE) == set()
    assert {name for row in ROWS for name in code(row[2])} <= names


def test_a_word_that_looks_like_code_is_in_the_last_column() -> None:
    written = [row[0] for row in ROWS if "`" in row[0] or "_" in row[0] or re.search(r"[a-z][A-Z]", row[0])]
    assert written == []
