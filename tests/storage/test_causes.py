"""What is wrong with a database is named, by SQLite's name or PostgreSQL's SQLSTATE, and never with a secret."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messagelog.storage import StoreUnavailable, open_store
from messagelog.storage.causes import DatabaseFault, Impact, cause_of, hint_of, impact_of
from messagelog.storage.database import schema_version
from support.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIBPQ = 'connection failed: connection to server at "192.0.2.7", port 5432 failed: '


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (
            f'{LIBPQ}FATAL:  password authentication failed for user "ada"',
            '28P01: password authentication failed for user "…"',
        ),
        (f"{LIBPQ}fe_sendauth: no password supplied", "28P01: fe_sendauth: no password supplied"),
        (f'{LIBPQ}FATAL:  role "ada" does not exist', '28000: role "…" does not exist'),
        (f'{LIBPQ}FATAL:  database "log" does not exist', '3D000: database "…" does not exist'),
        (
            f"{LIBPQ}FATAL:  the database system is starting up",
            "57P03: the database system is starting up",
        ),
        (f"{LIBPQ}FATAL:  sorry, too many clients already", "53300: sorry, too many clients already"),
        (f"{LIBPQ}Connection refused\n\tIs the server running?", "08001: Connection refused"),
        (
            'connection is bad: connection to server on socket "/tmp/.s.PGSQL.5432" failed: No such file or directory',
            "08001: No such file or directory",
        ),
        (
            "failed to resolve host 'word@db.test': [Errno -2] Name or service not known",
            "08001: failed to resolve host '…': [Errno -2] Name or service not known",
        ),
        (f"{LIBPQ}SSL error: certificate verify failed", "08001: SSL error: certificate verify failed"),
        ("connection timeout expired", "08001: connection timeout expired"),
        (
            "consuming input failed: server closed the connection unexpectedly\n\tThis probably means",
            "08006: server closed the connection unexpectedly",
        ),
        ("the connection is lost", "08006: the connection is lost"),
    ],
)
def test_what_libpq_says_without_a_state(said: str, cause: str) -> None:
    found = cause_of(psycopg.OperationalError(said))
    assert str(found) == cause
    assert impact_of(found) is Impact.AWAY


@pytest.mark.parametrize(
    ("error", "code", "impact"),
    [
        (psycopg.errors.AdminShutdown("terminating connection"), "57P01", Impact.AWAY),
        (psycopg.errors.ReadOnlySqlTransaction("cannot execute INSERT"), "25006", Impact.UNWRITABLE),
        (psycopg.errors.DiskFull("could not extend file"), "53100", Impact.UNWRITABLE),
        (psycopg.errors.DataCorrupted("invalid page in block 0"), "XX001", Impact.UNWRITABLE),
        (psycopg.errors.IoError("could not read block"), "58030", Impact.UNWRITABLE),
        (psycopg.errors.LockNotAvailable("canceling statement"), "55P03", Impact.PASSING),
        (psycopg.errors.QueryCanceled("canceling statement"), "57014", Impact.PASSING),
        (psycopg.errors.DeadlockDetected("deadlock detected"), "40P01", Impact.PASSING),
        (psycopg.InterfaceError("the connection is closed"), "08006", Impact.AWAY),
        (psycopg.errors.UniqueViolation("duplicate key value"), "23505", None),
        (psycopg.errors.UndefinedTable("relation does not exist"), "42P01", None),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), "DataError", None),
        (psycopg.ProgrammingError("the connection URL is none"), "ProgrammingError", None),
        (StoreUnavailable(DatabaseFault("SQLITE_FULL", "no room")), "SQLITE_FULL", Impact.UNWRITABLE),
        (PermissionError(13, "Permission denied", "/var/lib/x"), "EACCES", None),
        (ValueError("hidden"), "ValueError", None),
    ],
)
def test_every_error_has_a_name_and_says_how_bad_it_is(
    error: Exception, code: str, impact: Impact | None
) -> None:
    cause = cause_of(error)
    assert cause.code == code
    assert impact_of(cause) is impact
    assert "hidden" not in str(cause)


def test_sqlite_names_its_errors_itself(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("these are notes" * 100)
    with closing(sqlite3.connect(file)) as connection, pytest.raises(sqlite3.DatabaseError) as refused:
        connection.execute("SELECT * FROM sqlite_master")
    assert str(cause_of(refused.value)) == "SQLITE_NOTADB: file is not a database"
    with pytest.raises(sqlite3.OperationalError) as refused:
        sqlite3.connect(tmp_path)
    assert cause_of(refused.value).code.startswith("SQLITE_CANTOPEN")


def test_every_cause_has_a_hint() -> None:
    for code in (
        "28P01",
        "3D000",
        "57P03",
        "53300",
        "08001",
        "25006",
        "SQLITE_FULL",
        "SQLITE_BUSY",
        "ValueError",
    ):
        assert hint_of(DatabaseFault(code, "")).endswith((".", "?"))
    assert "disk" in hint_of(DatabaseFault("53100", ""))
    assert "restore a backup" in hint_of(DatabaseFault("SQLITE_CORRUPT_VTAB", ""))


PASSWORDS = st.text("abcXYZ019@:/?#%&=\"'[] \\", min_size=6, max_size=20).map(lambda text: f"s3cr{text}et7")


@settings(max_examples=60)
@given(PASSWORDS, st.booleans())
def test_no_part_of_a_password_is_told_however_the_url_is_read(password: str, quoted: bool) -> None:
    secret = quote(password, safe="") if quoted else password
    url = f"postgresql://ada:{secret}@127.0.0.1:1/journal"
    try:
        schema_version(url)
    except Exception as error:  # noqa: BLE001 - whatever the driver makes of it
        told = str(cause_of(error))
    else:
        raise AssertionError("nobody listens there")
    assert "s3cr" not in told
    assert "et7" not in told


# ------------------------------------------------------------------------------- from a server, for real


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server that wants a password of one of its users."""
    import shutil
    import tempfile
    from pathlib import Path

    folder = Path(tempfile.mkdtemp(prefix="mlpg-"))
    server = PostgresServer(folder)
    try:
        server.run("CREATE ROLE ada LOGIN PASSWORD 'right'")
        rules = folder / "pg_hba.conf"
        rules.write_text(f"host all ada 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        server.restart()
        yield server
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)


async def cause_at(url: str) -> DatabaseFault:
    """The same cause at start-up and by an open store's pool."""
    with pytest.raises(psycopg.OperationalError) as refused:
        await asyncio.to_thread(schema_version, url)
    with pytest.raises(StoreUnavailable) as unavailable:
        await open_store(url)
    assert unavailable.value.cause.code == cause_of(refused.value).code
    return unavailable.value.cause


async def test_a_wrong_password_and_a_database_that_is_not_there(strict: PostgresServer) -> None:
    wrong, missing = await asyncio.gather(
        cause_at(strict.url_of("postgres", user="ada", password="wrong")), cause_at(strict.url_of("missing"))
    )
    assert str(wrong) == '28P01: password authentication failed for user "…"'
    assert str(missing) == '3D000: database "…" does not exist'
