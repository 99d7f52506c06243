"""The statements of the documentation do what it says, on both databases."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from docs.pages import DOCS, blocks
from messagelog.storage import KeysLocked
from support.crm import Plain, lost
from support.requests import body, message
from support.world import World, world

if TYPE_CHECKING:
    from pathlib import Path

PAGE = DOCS / "how-to" / "run-a-server.md"


def statements(heading: str, *, dialect: str = "", page: Path = PAGE) -> list[str]:
    """The SQL blocks below a heading: those for every database, and those for this one."""
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


async def parked(here: World) -> None:
    """A log whose create had no answer, and two messages behind it."""
    here.crm.after = lost
    await here.send(body(message(1), message(2)))
    here.crm.after = None
    assert await here.states() == {"1": "parked", "2": "parked"}


async def test_a_parked_log_whose_activity_is_not_there(database_url: str) -> None:
    not_there, _ = statements("Parked logs")
    async with world(database_url, Plain) as here:
        await parked(here)
        here.crm.activities.clear()
        run(database_url, of_test(not_there))
        answer = await here.send(body(message(1), message(2), message(3)))
        assert answer.log_ids == ["1", "2", "3"]
        assert [here.crm.only.body.count(f"text {n}") for n in (1, 2, 3)] == [1, 1, 1]


async def test_a_parked_log_whose_activity_is_there(database_url: str) -> None:
    _, there = statements("Parked logs")
    async with world(database_url, Plain) as here:
        await parked(here)
        run(database_url, of_test(there))
        answer = await here.send(body(message(1), message(2), message(3)))
        assert answer.log_ids == ["2", "3"], "the first is known to be there"
        assert [here.crm.only.body.count(f"text {n}") for n in (1, 2, 3)] == [1, 1, 1]


def of_test(text: str) -> str:
    """The statements, which are written for the world of the tests: these are their names."""
    assert set(re.findall(r"= '([^']*)'", text)) <= {
        *("acme", "memory", "conv/7/13/2026", "1", "a-1"),
        *("failed", "parked", "open", "logged"),
    }
    return text


async def test_old_text_is_erased_and_can_be_logged_all_the_same(database_url: str) -> None:
    dialect = "sqlite" if database_url.startswith("sqlite") else "postgres"
    (erase,) = statements("Erasing text that nobody needs", dialect=dialect)
    async with world(database_url, Plain) as here:
        await parked(here)
        run(database_url, erase)
        assert await payloads(here) == 2, "it is not old yet"
        run(database_url, """UPDATE "messageLogs" SET "updatedAt" = "updatedAt" - 31 * 86400000.0""")
        run(database_url, erase)
        assert await payloads(here) == 0
        run(database_url, """UPDATE "messageLogs" SET "state" = 'failed'""")
        run(database_url, """UPDATE "conversationLogs" SET "state" = 'open'""")
        here.crm.activities.clear()
        assert (await here.send(body(message(1), message(2)))).log_ids == ["1", "2"]


async def payloads(here: World) -> int:
    """How many rows have a text."""
    url = here.assembly.parts.database_url
    query = """SELECT COUNT("payload") FROM "messageLogs" """
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            return int(connection.execute(query).fetchone()[0])
    with psycopg.connect(url) as other:
        row = other.execute(query).fetchone()
        return int(row[0]) if row else 0


async def test_a_server_starts_again_after_its_secret_was_lost(database_url: str) -> None:
    (forget,) = statements("When a secret key is lost", page=DOCS / "how-to" / "keys.md")
    new = ("another secret key, since one is lost 0123",)
    async with world(database_url, Plain) as here:
        await here.send(body(message(1)))
    with pytest.raises(KeysLocked):
        async with world(database_url, Plain, secrets=new):
            pass
    run(database_url, forget)
    async with world(database_url, Plain, crm=here.crm, secrets=new) as after:
        assert (await after.send(body(message(1), message(2)))).log_ids == ["2"]
        assert await after.states() == {"1": "logged", "2": "logged"}
    assert [here.crm.only.body.count(f"text {n}") for n in (1, 2)] == [1, 1]


def test_the_questions_of_watching_are_statements(database_url: str) -> None:
    for text in statements("Watch it"):
        for statement in filter(None, map(str.strip, text.split(";"))):
            run(database_url, f"{statement};")
