"""What a transaction may ask of a database."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import msgspec

Params = dict[str, Any]


class Query(msgspec.Struct, frozen=True):
    """Ask for a statement's rows, as tuples."""

    name: str
    params: Params


class Execute(msgspec.Struct, frozen=True):
    """Run a statement once for each set of parameters.

    It has no answer, so an adapter need not wait for one: its error may be raised at the next query, or at the commit.
    """

    name: str
    params: Sequence[Params]


class Batch:
    """Run several commands in this order, in one exchange with the database. The answer has the rows of each `Query`.

    It is named by the last one, which the others prepare.
    """

    __slots__ = ("commands",)

    def __init__(self, *commands: Query | Execute) -> None:
        self.commands = commands

    @property
    def name(self) -> str:
        """The name of the last statement."""
        return self.commands[-1].name if self.commands else "nothing"


Command = Query | Execute | Batch

T = TypeVar("T")
Transaction = Generator[Command, Any, T]
"""A generator that yields commands, is sent their answers (None for an `Execute`), and returns a value."""
