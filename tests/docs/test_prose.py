"""The prose is plain and direct: phrases that make a reader stop are in no page, comment or docstring."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from typing import TYPE_CHECKING

import pytest

from docs.pages import CONTRIBUTING, DOCS, README, ROOT, TESTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BANNED = {
    r"\bof before\b": "say `earlier`, `former`, or what it came before",
    r"\bnobody\b": "say who does not, or use the passive",
    r"\bsomebody\b": "name the person or the process: a user, an operator, another process",
    r"\bwhoever\b": "name the person or the process",
    r"\banew\b": "say `again`, or `new` before the noun",
    r"\bcame to\b": "use the noun: the outcome of a call",
    r"\bluck\b": "the word is `jitter`",
    r"\b(?:she|hers?|herself)\b": "a user or operator is `the user`, `the operator` or `they`",
    r"\ball the same\b": "say `nevertheless`, `also`, or what does not change",
    r"\b(?:is|are) what\b": "use a plain noun, or the verb alone",
    r"\bof (?:which|whom)\b": "begin with the noun: not `a day of which all is logged`, but `a fully logged day`",
    r"\b(?:find|finds|found|finding) out about\b": "the word is `reconcile`, for a call with an unknown outcome",
    r"\b(?:is|are) told (?:in|of)\b": "turn the sentence round: the page says it",
}
"""Regular expressions, not case-sensitive, each with what to write instead."""

PAGES = [README, CONTRIBUTING, TESTS, *DOCS.rglob("*.md")]
CODE = [
    path
    for name in ("src", "tests", "bench", "mutants", "audit", "docs")
    for path in (ROOT / name).rglob("*.py")
]
"""Python files, whose comments and docstrings are read."""

LATER = [ROOT / name for name in ("src/messagelog/storage",)]
"""Folders and files that are left out because their prose is not plain yet. None may be added."""

FILES = sorted(path for path in [*PAGES, *CODE] if not any(path.is_relative_to(each) for each in LATER))

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?<=\n\n)(?: {4,}\S.*\n+)+")
_QUOTED = re.compile(
    r"(?P<mark>`+)(?!`)(?:(?!\n\n).)+?(?<!`)(?P=mark)(?!`)|\"[^\"\n]*(?:\n[^\"\n]+)?\"|“[^”]*”", re.DOTALL
)


def _blank(match: re.Match[str]) -> str:
    """Keep the lines of a part that is left out, so that the others keep their numbers."""
    return "\n" * match[0].count("\n")


def _without_quotes(text: str) -> str:
    """Leave out inline code and what programs and people are quoted with."""
    return _QUOTED.sub(_blank, text)


def _without_answers(text: str) -> str:
    """Leave out the last cell of each row of a table whose last column has texts for the user."""
    lines, in_table = [], False
    for line in text.split("\n"):
        in_table = line.startswith("|") and (in_table or line.endswith("| The user reads |"))
        lines.append(line.rstrip("|").rpartition("|")[0] if in_table else line)
    return "\n".join(lines)


def _prose_of_a_page(text: str) -> Iterator[tuple[int, str]]:
    """Yield the page without its code and quotations, with the number of its first line."""
    yield 1, _without_quotes(_INDENTED.sub(_blank, _FENCED.sub(_blank, _without_answers(text))))


def _prose_of_python(text: str) -> Iterator[tuple[int, str]]:
    """Yield each comment and each docstring, attributes' too, with the number of its first line."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], _without_quotes(token.string)
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(docstring))):
                yield node.lineno, _without_quotes(docstring)


def found_in(text: str, suffix: str) -> list[str]:
    """Return the banned phrases of a file, each with its line and with what to write instead."""
    prose = _prose_of_python if suffix == ".py" else _prose_of_a_page
    return [
        f"line {first + part.count(chr(10), 0, match.start())}: `{match[0]}` ({instead})"
        for first, part in prose(text)
        for phrase, instead in BANNED.items()
        for match in re.finditer(phrase.replace(" ", r"\s+"), part, re.IGNORECASE)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_no_phrase_that_makes_its_reader_stop(path: Path) -> None:
    assert found_in(path.read_text("utf-8"), path.suffix) == []


@pytest.mark.parametrize(
    ("text", "suffix", "lines"),
    [
        ("One.\n\nWhat a call came\nto is kept.\n", ".md", [3]),
        ("- `nobody` is a name.\n- Nobody knows it.\n", ".md", [2]),
        ('```sh\necho nobody\n```\n\n    echo nobody\n\nIt says "nobody\nanswered".\n', ".md", []),
        ("| Key | The keys of before |\n", ".md", [1]),
        ("| Whoever | The user reads |\n|---|---|\n| nobody | nobody |\n\n| She | x |\n", ".md", [1, 3, 5]),
        ("name = 'nobody'  # whoever asks\n", ".py", [1]),
        ('def f():\n    """Return it.\n\n    She waits.\n    """\n', ".py", [4]),
        ("A `lone mark.\n\nNobody reads `it`.\n", ".md", [3]),
        ("# `anew` is a word\nanew = 'nobody'\n", ".py", []),
    ],
)
def test_prose_is_told_from_code_and_quotations(text: str, suffix: str, lines: list[int]) -> None:
    assert sorted(int(each.split()[1].rstrip(":")) for each in found_in(text, suffix)) == lines


@pytest.mark.parametrize("left_out", LATER, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_prose_that_is_not_plain_yet_is_left_out(left_out: Path) -> None:
    files = [path for path in CODE if path.is_relative_to(left_out)]
    assert any(found_in(path.read_text("utf-8"), path.suffix) for path in files), "take it off the list"


def test_every_kind_of_file_is_read() -> None:
    assert {path.suffix for path in FILES} == {".md", ".py"}
    assert {path.relative_to(ROOT).parts[0] for path in FILES} >= {
        "README.md",
        "docs",
        "src",
        "tests",
        "bench",
    }
