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
"""How long a database may take for an answer before it counts as unavailable."""


class StoreClosed(MessagelogError):
    """The store was closed, and runs no more transactions."""


class UnusableFile(MessagelogError):
    """The database's file must not be used now. The text names the file and says why."""


class StoreUnavailable(MessagelogError):
    """The database cannot be used now, because of `cause`. What was to be written may be written or not.

    While this lasts all transactions are refused at once with the same error; the store finds out when it is over.
    """

    def __init__(self, cause: DatabaseFault) -> None:
        super().__init__(f"the database cannot be used ({cause})")
        self.cause = cause


def is_transient(error: BaseException) -> bool:
    """Return whether an error says that the database, or the system, cannot be used now, rather than a mistake."""
    return isinstance(error, OSError | StoreClosed | StoreUnavailable)  # `TimeoutError` is an OSError


class Store(Protocol):
    """A database that runs transactions. There are two adapters, and one test suite for both.

    Every wait has an end: whatever the database does, `read` and `write` end within half a minute, with
    `StoreUnavailable` if the database is at fault.
    """

    async def read(self, transaction: Callable[[], Transaction[T]]) -> T:
        """Run a transaction that only reads."""

    async def write(self, transaction: Callable[[], Transaction[T]], *, locks: Sequence[Lock] = ()) -> T:
        """Run a transaction; return its value once it is on disk.

        `locks` names all that the transaction locks, the conversation log first. Transactions that have none in common
        may share a commit, which they do not notice; one that names none has a commit of its own.

        An error of the transaction undoes it, and is raised here. If the wait for it is cancelled, or the database is
        lost while it commits, the transaction may be done or not.
        """

    async def close(self) -> None:
        """Close every connection, after the transactions under way have ended. New ones are refused."""


class CheckedStore(Store, Protocol):
    """A store that can tell whether it takes a commit."""

    async def check(self) -> None:
        """Raise `StoreUnavailable` unless a small write was committed within a second, or can be now, within two.

        All callers share it.
        """
