"""The statements of the documentation do what it says, on both databases."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from docs.pages import DOCS, blocks
from messagelog.storage import KeysLocked
from support.memory_crm import Plain
from support.requests import body, message
from support.runtime_fixture import runtime_fixture

if TYPE_CHECKING:
    from pathlib import Path

PAGE = DOCS / "how-to" / "run-a-server.md"


def statements(heading: str, *, dialect: str = "", page: Path = PAGE) -> list[str]:
    """Return the SQL blocks below a heading: those for every database, and those for this one."""
    lines = page.read_text("utf-8").splitlines()
    start = lines.index(f"## {heading}") + 1
    end = next((n for n, line in enumerate(lines[start:], start) if line.startswith("## ")), len(lines))
    return [
        block.text
        for block in blocks(page, "sql")
        if start < block.line <= end and set(block.marks) <= {dialect}
    ]


def run(database_url: str, text: str) -> None:
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(text)
    else:
        with psycopg.connect(database_url) as other:
            other.execute(text.encode())


async def test_a_server_starts_again_after_its_secret_was_lost(database_url: str) -> None:
    (forget,) = statements("When a secret key is lost", page=DOCS / "how-to" / "keys.md")
    new = ("another secret key, since one is lost 0123",)
    async with runtime_fixture(database_url, Plain) as here:
        await here.send(body(message(1)))
    with pytest.raises(KeysLocked):
        async with runtime_fixture(database_url, Plain, secrets=new):
            pass
    run(database_url, forget)
    async with runtime_fixture(database_url, Plain, crm=here.crm, secrets=new) as after:
        assert (await after.send(body(message(1), message(2)))).log_ids == ["2"]
        assert await after.states() == {"1": "logged", "2": "logged"}
    assert [here.crm.only.body.count(f"text {n}") for n in (1, 2)] == [1, 1]


def test_the_questions_of_watching_are_statements(database_url: str) -> None:
    for text in statements("Watch it"):
        for statement in filter(None, map(str.strip, text.split(";"))):
            run(database_url, f"{statement};")
