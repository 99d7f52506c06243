"""The named SQL statements, read from the `.sql` files beside this one and fitted to a database."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Dialect = Literal["sqlite", "postgres"]

_FILES: Final = ("journal.sql", "inbox.sql")
_HEAD = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^--.*$\n?", re.MULTILINE)
_PARAMETER = re.compile(r"(?<![:\w]):(\w+)")

_SPELLINGS: dict[Dialect, dict[str, str]] = {
    "sqlite": {
        # SQLite 3.40 has no unixepoch with fractions yet.
        "{now}": "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
        "{lock}": "",
        "{ids}": "(SELECT value AS id FROM json_each(:ids))",
        "{in_ids}": "IN (SELECT value FROM json_each(:ids))",
        "{cause}": """SUBSTR("reason" || ':', 1, INSTR("reason" || ':', ':') - 1)""",
        "{not_busy}": "NOT IN (SELECT value FROM json_each(:busy))",
    },
    "postgres": {
        "{now}": "(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
        "{lock}": "FOR UPDATE",
        "{ids}": "(SELECT id FROM unnest(:ids::text[]) AS listed (id))",
        "{in_ids}": "= ANY(:ids::text[])",
        "{cause}": """SPLIT_PART("reason", ':', 1)""",
        "{not_busy}": "<> ALL(:busy::text[])",
    },
}
# With a clock of the caller's, the time comes in as a parameter that the adapter adds.
_GIVEN_CLOCK: dict[Dialect, str] = {"sqlite": ":now", "postgres": ":now::bigint"}


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement in a database's own spelling, and its parameters in the order of PostgreSQL's `$1`, `$2`, …"""

    name: str
    text: str
    parameters: tuple[str, ...]
    wire_name: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "wire_name", self.name.encode())


def load(dialect: Dialect, *, given_clock: bool) -> dict[str, Statement]:
    """The statements by name: with `:name` for SQLite, with `$1` for PostgreSQL."""
    spelling = dict(_SPELLINGS[dialect])
    if given_clock:
        spelling["{now}"] = _GIVEN_CLOCK[dialect]
    found: dict[str, Statement] = {}
    for file in _FILES:
        for name, body in _named((resources.files(__package__) / file).read_text("utf-8")):
            if name in found:
                raise ValueError(f"two statements are called {name}")
            found[name] = _fitted(name, body, dialect, spelling)
    return found


def _named(text: str) -> Iterator[tuple[str, str]]:
    parts = _HEAD.split(text)[1:]
    return zip(parts[::2], parts[1::2], strict=True)


def _fitted(name: str, body: str, dialect: Dialect, spelling: dict[str, str]) -> Statement:
    text = _COMMENT.sub("", body).strip()
    for mark, spelled in spelling.items():
        text = text.replace(mark, spelled)
    parameters = tuple(dict.fromkeys(_PARAMETER.findall(text)))
    if dialect == "postgres":
        places = {parameter: f"${place}" for place, parameter in enumerate(parameters, 1)}
        text = _PARAMETER.sub(lambda found: places[found[1]], text)
    return Statement(name, text, parameters)
