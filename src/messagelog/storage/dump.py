"""The commands that copy and restore a PostgreSQL database, without its password."""

from __future__ import annotations

import shlex
from typing import Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from messagelog.storage.urls import postgres_url

_SECRET: Final = ("password", "sslpassword", "oauth_client_secret")


def dump_command(url: str, file: str) -> str:
    """Return the shell command that writes a copy of the database into a file."""
    return shlex.join(["pg_dump", "--format=custom", f"--file={file}", f"--dbname={_conninfo(url)}"])


def restore_commands(url: str, file: str) -> tuple[str, str]:
    """Return the shell commands that make a database beside the one of the URL, and fill it from such a file.

    They do not use the old database, in which tables that are newer than the copy would stay.
    """
    name = conninfo_to_dict(url).get("dbname") or "messagelog"
    restored = f"{name}_restored"
    create = ["createdb", f"--maintenance-db={_conninfo(url)}", restored]
    fill = ["pg_restore", "--exit-on-error", "--single-transaction", "--no-owner"]
    return shlex.join(create), shlex.join([*fill, f"--dbname={_conninfo(url, dbname=restored)}", file])


def _conninfo(url: str, **other: str) -> str:
    """Return the connection string of the database, with how its server is checked, and without secrets."""
    values = {
        name: str(value) for name, value in conninfo_to_dict(postgres_url(url)).items() if name not in _SECRET
    }
    return make_conninfo("", **{**values, **other})
