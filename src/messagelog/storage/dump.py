"""The commands by which a PostgreSQL database is copied and restored, without its password."""

from __future__ import annotations

import shlex
from typing import Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from messagelog.storage.urls import postgres_url

_SECRET: Final = ("password", "sslpassword", "oauth_client_secret")


def dump_command(url: str, file: str) -> str:
    """The command that writes a copy of the database into a file, as a shell takes it."""
    return shlex.join(["pg_dump", "--format=custom", f"--file={file}", f"--dbname={_conninfo(url)}"])


def restore_commands(url: str, file: str) -> tuple[str, str]:
    """The commands that make a database beside the one of the URL, and fill it from such a file.

    Into the old one would be the shorter way, but tables that are newer than the copy would stay in it.
    """
    name = conninfo_to_dict(url).get("dbname") or "messagelog"
    restored = f"{name}_restored"
    create = ["createdb", f"--maintenance-db={_conninfo(url)}", restored]
    fill = ["pg_restore", "--exit-on-error", "--single-transaction", "--no-owner"]
    return shlex.join(create), shlex.join([*fill, f"--dbname={_conninfo(url, dbname=restored)}", file])


def _conninfo(url: str, **other: str) -> str:
    """How the database is reached, with how its server is checked, and with nothing secret."""
    values = {
        name: str(value) for name, value in conninfo_to_dict(postgres_url(url)).items() if name not in _SECRET
    }
    return make_conninfo("", **{**values, **other})
