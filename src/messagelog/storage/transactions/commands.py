"""What a script may ask of a database."""

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
    """Run a statement once for each set of parameters. There is no answer, so an adapter need not wait for one:
    an error of it may come up at the script's next question, or when the transaction is committed.
    """

    name: str
    params: Sequence[Params]


class Batch:
    """Ask for several at once, in this order: one exchange with the database. Answered with the rows of each `Query`.

    Its name is that of the last: what the others lead up to.
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
"""A transaction: it asks, is sent the answers (nothing for a `Execute`), and returns what it came to."""
