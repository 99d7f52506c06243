"""The named SQL statements, read from the `.sql` files beside this one and fitted to a driver."""

from __future__ import annotations

import re
from importlib import resources
from typing import Literal

Dialect = Literal["sqlite", "postgres"]

_HEAD = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^--.*$\n?", re.MULTILINE)
_PARAMETER = re.compile(r"(?<![:\w]):(\w+)")

# SQLite 3.40 has no unixepoch with fractions yet.
_CLOCK = {
    "sqlite": "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
    "postgres": "(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
}
_LOCK = {"sqlite": "", "postgres": "FOR UPDATE"}
# With a clock of the caller's, the time comes in as a parameter (see `Executor.bound`).
_GIVEN_CLOCK = {"sqlite": ":now", "postgres": ":now::bigint"}


def load(dialect: Dialect, *, given_clock: bool) -> dict[str, str]:
    """The statements by name, in the driver's spelling: `:name` for SQLite, `%(name)s` for psycopg."""
    statements: dict[str, str] = {}
    for file in ("common.sql", f"{dialect}.sql"):
        text = (resources.files(__package__) / file).read_text("utf-8")
        parts = _HEAD.split(text)[1:]
        statements.update(zip(parts[::2], parts[1::2], strict=True))
    clock = (_GIVEN_CLOCK if given_clock else _CLOCK)[dialect]
    return {name: _fitted(body, dialect, clock) for name, body in statements.items()}


def _fitted(body: str, dialect: Dialect, clock: str) -> str:
    body = _COMMENT.sub("", body).replace("{now}", clock).replace("{lock}", _LOCK[dialect]).strip()
    return _PARAMETER.sub(r"%(\1)s", body) if dialect == "postgres" else body
