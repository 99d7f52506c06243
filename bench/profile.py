"""The use of our server's time, from the samples of `sampler`: by area, and by function."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.sampler import Sampled

Function = tuple[str, str]

# A sample belongs to the first area that matches one of its functions, from the innermost outwards.
_AREAS: Final = (
    (
        "database: driver, pool, exchange",
        re.compile(r"/(psycopg|psycopg_pool|psycopg_binary)/|storage/(exchange|postgres|sqlite)\.py"),
    ),
    ("HTTP client", re.compile(r"/(aiohttp|yarl|multidict|aiosignal|aiohappyeyeballs)/|connectors/http\.py")),
    ("token", re.compile(r"/jwt/|server/tokens\.py")),
    ("sealing", re.compile(r"storage/sealing\.py|/cryptography/")),
    ("parsing the request", re.compile(r"messagelog/messages/")),
    ("composing the text", re.compile(r"messagelog/compose/")),
    ("connector", re.compile(r"bench/connector\.py|messagelog/connectors/")),
    ("journal: transactions", re.compile(r"messagelog/storage/")),
    ("runtime: plan, claim, settle, answer", re.compile(r"messagelog/core/")),
    ("routes", re.compile(r"messagelog/server/(?!serving)")),
    ("web framework", re.compile(r"/starlette/")),
    ("HTTP server", re.compile(r"/uvicorn/")),
)
_EVERYWHERE: Final = 0.98
_LOOP: Final = "event loop"


def tables(sampled: Sampled, requests: int, processor: float) -> Iterable[Table]:
    """Return the tables of a profile: this many requests took `processor` seconds."""
    total = sum(count for count, _ in sampled.stacks) or 1
    micro = processor / max(requests, 1) * 1e6 / total
    yield _table("area", _by_area(sampled), total, micro)
    yield _table("functions by their own time", _own(sampled).most_common(25), total, micro)
    yield _table("functions with what they call", _with_callees(sampled, total).most_common(60), total, micro)


def _by_area(sampled: Sampled) -> list[tuple[str, int]]:
    counts: Counter[str] = Counter()
    for count, stack in sampled.stacks:
        counts[_area(stack)] += count
    return counts.most_common()


def _area(stack: Sequence[Function]) -> str:
    for file, _ in stack:
        for name, pattern in _AREAS:
            if pattern.search(file):
                return name
    return _LOOP


def _own(sampled: Sampled) -> Counter[str]:
    counts: Counter[str] = Counter()
    for count, stack in sampled.stacks:
        counts[_name(stack[0])] += count
    return counts


def _with_callees(sampled: Sampled, total: int) -> Counter[str]:
    """Return the samples of each function with its callees, once for a stack; functions on all stacks are left out."""
    counts: Counter[str] = Counter()
    for count, stack in sampled.stacks:
        for function in set(stack):
            counts[_name(function)] += count
    return Counter({name: count for name, count in counts.items() if count < _EVERYWHERE * total})


def _name(function: Function) -> str:
    file, name = function
    return f"{re.sub(r'^.*/(site-packages|src|lib/python[0-9.]+)/', '', file)} {name}"


def _table(title: str, counts: Iterable[tuple[str, int]], total: int, micro: float) -> Table:
    table = Table(box=box.MARKDOWN)
    table.add_column(title)
    table.add_column("share", justify="right")
    table.add_column("µs a request", justify="right")
    for name, count in counts:
        table.add_row(name, f"{count / total:.1%}", f"{count * micro:.0f}")
    return table
