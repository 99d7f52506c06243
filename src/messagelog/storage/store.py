"""The port: what the core asks of a database. The transactions are in `transactions`; an adapter only runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from messagelog.errors import MessagelogError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from messagelog.storage.causes import DatabaseFault
    from messagelog.storage.transactions import Transaction

T = TypeVar("T")

Lock = tuple[str | bool, ...]
"""What a transaction locks: a conversation log or a row, by all columns of its key, tenant and platform first."""


ANSWER_SECONDS: Final = 10.0
"""How long a database may take for an answer before it counts as away."""


class StoreClosed(MessagelogError):
    """The store was closed: it runs nothing any more."""


class UnusableFile(MessagelogError):
    """The database's file must not be used now. The text names the file and says why."""


class StoreUnavailable(MessagelogError):
    """The database cannot be used now, for the `cause`. What was to be written is written or not.

    While this lasts everything is refused at once with the same error, and the store itself finds out when it is over.
    """

    def __init__(self, cause: DatabaseFault) -> None:
        super().__init__(f"the database cannot be used ({cause})")
        self.cause = cause


def is_transient(error: BaseException) -> bool:
    """Return whether an error says that the database, or the system, cannot be used now, rather than a mistake."""
    return isinstance(error, OSError | StoreClosed | StoreUnavailable)  # `TimeoutError` is an OSError


class Store(Protocol):
    """A database that runs scripts. Two adapters exist; one behavioural test suite holds both to the same.

    Every wait has an end: whatever the database does, `read` and `write` end within half a minute, with
    `StoreUnavailable` where it is the database's fault.
    """

    async def read(self, transaction: Callable[[], Transaction[T]]) -> T:
        """Runs a script that only reads."""

    async def write(self, transaction: Callable[[], Transaction[T]], *, locks: Sequence[Lock] = ()) -> T:
        """Runs a script in one transaction; what it returns is on disk when this returns.

        `locks` names all that the script locks, the conversation log first. Scripts that have none in common may
        share a transaction, and it is all the same to them; one that names none is alone in its own.

        An error of the script undoes the transaction and is raised here. When the waiting for it is cancelled, or
        the database is lost while it commits, the transaction may be done or not.
        """

    async def close(self) -> None:
        """Lets go of every connection. Transactions under way are ended first, new ones are refused."""


class CheckedStore(Store, Protocol):
    """A store that can say whether it takes a commit."""

    async def check(self) -> None:
        """Raise `StoreUnavailable` unless a small write was committed within a second, or can be now, within two.

        All who ask share it.
        """
