"""The statements of the documentation do what it says, on both databases."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import psycopg

from docs.pages import DOCS, blocks

PAGE = DOCS / "how-to" / "run-a-server.md"


def statements(heading: str, *, dialect: str = "") -> list[str]:
    """The SQL blocks below a heading: those for every database, and those for this one."""
    lines = PAGE.read_text("utf-8").splitlines()
    start = lines.index(f"## {heading}") + 1
    end = next((n for n, line in enumerate(lines[start:], start) if line.startswith("## ")), len(lines))
    return [
        block.text
        for block in blocks(PAGE, "sql")
        if start < block.line <= end and set(block.marks) <= {dialect}
    ]


def run(database_url: str, text: str) -> None:
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(text)
    else:
        with psycopg.connect(database_url) as other:
            other.execute(text.encode())


def test_the_questions_of_watching_are_statements(database_url: str) -> None:
    for text in statements("Watch it"):
        for statement in filter(None, map(str.strip, text.split(";"))):
            run(database_url, f"{statement};")
