"""What a script may ask of a database."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import msgspec

Params = dict[str, Any]


class Fetch(msgspec.Struct, frozen=True):
    """Ask for a statement's rows, as tuples."""

    name: str
    params: Params


class Do(msgspec.Struct, frozen=True):
    """Run a statement once for each set of parameters. There is no answer, so an adapter need not wait for one:
    an error of it may come up at the script's next question, or when the transaction is committed.
    """

    name: str
    params: Sequence[Params]


class Together:
    """Ask for several at once, in this order: one exchange with the database. Answered with the rows of each `Fetch`.

    Its name is that of the last: what the others lead up to.
    """

    __slots__ = ("asks",)

    def __init__(self, *asks: Fetch | Do) -> None:
        self.asks = asks

    @property
    def name(self) -> str:
        """The name of the last statement."""
        return self.asks[-1].name if self.asks else "nothing"


Ask = Fetch | Do | Together

T = TypeVar("T")
Script = Generator[Ask, Any, T]
"""A transaction: it asks, is sent the answers (nothing for a `Do`), and returns what it came to."""
