"""A command that cannot use its database names the cause, and what to do."""

from __future__ import annotations

import ctypes
import os
import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from messagelog.storage.database import migrate
from messagelog.storage.urls import SCHEMA_VERSION, sqlite_path
from storage.journal import run_sql
from support.cli_process import COMMAND, command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOOD = {
    "MESSAGELOG_SECRET_KEY": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "MESSAGELOG_PUBLIC_URL": "https://log.example.com",
    "MESSAGELOG_CONNECTORS": "demo",
    "MESSAGELOG_DEMO_CRM_URL": "http://127.0.0.1:9/api",
    "MESSAGELOG_PORT": "0",
}
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("MESSAGELOG_")}
CAP_DAC_OVERRIDE, PR_CAPBSET_DROP = 1, 24


def refusal_of(name: str, url: str) -> str:
    done = command(name, env={**GOOD, "MESSAGELOG_DATABASE_URL": url})
    assert (done.code, done.out) == (2, "")
    return done.err


@pytest.mark.parametrize("name", ["serve", "migrate", "logs"])
def test_a_newer_schema_is_told_with_both_versions(database_url: str, name: str) -> None:
    run_sql(database_url, "UPDATE alembic_version SET version_num = '9001'")
    try:
        assert refusal_of(name, database_url) == (
            f"The database's schema has version 9001, and this messagelog knows none after {SCHEMA_VERSION}: "
            "a newer one has migrated it. Run that one, or restore an earlier backup.\n"
        )
    finally:
        run_sql(database_url, f"UPDATE alembic_version SET version_num = '{SCHEMA_VERSION}'")  # noqa: S608 - our own


@pytest.mark.parametrize("name", ["serve", "logs"])
def test_an_older_schema_is_told_with_both_versions(database_url: str, name: str) -> None:
    run_sql(database_url, "UPDATE alembic_version SET version_num = '0001'")
    try:
        assert refusal_of(name, database_url) == (
            f"The database's schema has version 0001, and this messagelog needs {SCHEMA_VERSION}: "
            "run `messagelog migrate`.\n"
        )
    finally:
        run_sql(database_url, f"UPDATE alembic_version SET version_num = '{SCHEMA_VERSION}'")  # noqa: S608 - our own


@pytest.mark.parametrize("name", ["serve", "migrate", "logs"])
def test_a_database_that_is_not_there_and_one_that_does_not_run(postgres_url: str, name: str) -> None:
    missing = f"{postgres_url.removesuffix('/postgres')}/missing"
    assert refusal_of(name, missing) == (
        'The database cannot be used (3D000: database "…" does not exist).'
        " Create that database, then run `messagelog migrate`.\n"
    )
    assert refusal_of(name, "postgresql://u:hidden@127.0.0.1:1/db") == (
        "The database cannot be used (08001: Connection refused)."
        " Does PostgreSQL run, and is MESSAGELOG_DATABASE_URL right?\n"
    )


@pytest.fixture
def read_only_postgres(postgres_url: str) -> Iterator[str]:
    run_sql(postgres_url, "ALTER DATABASE postgres SET default_transaction_read_only = on")
    yield postgres_url
    with psycopg.connect(
        postgres_url, autocommit=True, options="-c default_transaction_read_only=off"
    ) as other:
        other.execute("ALTER DATABASE postgres RESET default_transaction_read_only")


def test_a_postgres_that_only_reads(read_only_postgres: str) -> None:
    assert refusal_of("serve", read_only_postgres) == (
        "The database cannot be used (25006: cannot execute INSERT in a read-only transaction)."
        " It can be read but not be written to.\n"
    )


@pytest.mark.parametrize("name", ["serve", "migrate", "logs"])
def test_a_file_that_is_damaged(tmp_path: Path, name: str) -> None:
    path = tmp_path / "journal.sqlite"
    migrate(f"sqlite:///{path}")
    damaged = bytearray(path.read_bytes())
    damaged[4096:12_288] = b"\xff" * 8192
    path.write_bytes(damaged)
    error = refusal_of(name, f"sqlite:///{path}")
    assert error.startswith("The database cannot be used (SQLITE_CORRUPT: database disk image is malformed).")
    assert error.endswith(" It is damaged: restore a backup.\n")


def without_override() -> None:
    """Drop root's override of permissions, which a service does not have either."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


def serve_refusal(path: Path, **how: Any) -> str:
    """Return the output of a server that cannot start."""
    done = subprocess.run(
        [COMMAND, "serve"],
        env={**CLEAN, **GOOD, "MESSAGELOG_DATABASE_URL": f"sqlite:///{path}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **how,
    )
    assert done.returncode == 2
    return str(done.stderr)


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_a_folder_that_may_only_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    path = folder / "journal.sqlite"
    migrate(f"sqlite:///{path}")
    for each in folder.iterdir():
        each.chmod(0o400)
    folder.chmod(0o500)
    assert serve_refusal(path, preexec_fn=without_override) == (
        "The database cannot be used (EACCES: Permission denied)."
        " The file, its folder or their permissions are not as they should be.\n"
    )


def test_a_disk_that_may_only_be_read(tmp_path: Path) -> None:
    mount, url = "/bin/mount", f"sqlite:///{tmp_path / 'journal.sqlite'}"
    migrate(url)
    bound = subprocess.run([mount, "--bind", tmp_path, tmp_path], capture_output=True, check=False)
    if bound.returncode:
        pytest.skip("NO DISK IS MADE READ-ONLY: this user may not mount one (it takes root)")
    try:
        subprocess.run([mount, "-o", "remount,bind,ro", tmp_path], check=True)
        assert serve_refusal(sqlite_path(url)) == (
            "The database cannot be used (EROFS: Read-only file system). It can be read but not be written to.\n"
        )
    finally:
        subprocess.run(["/bin/umount", "-l", tmp_path], check=True)
