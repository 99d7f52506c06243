"""Which errors of a database pass by themselves: it is away, busy or restarting. All others are mistakes of ours."""

from __future__ import annotations

from typing import Final

from messagelog.storage.store import StoreClosed, StoreUnavailable

_PASSING: Final = frozenset(
    {
        ("psycopg", "OperationalError"),
        ("psycopg", "InterfaceError"),  # "the connection is closed"
        ("sqlite3", "OperationalError"),
    }
)


def is_transient(error: BaseException) -> bool:
    """Whether an error says that the database cannot be used now, and not that it was asked something wrong.

    By name, since a server on SQLite loads nothing of PostgreSQL.
    """
    if isinstance(error, OSError | StoreClosed | StoreUnavailable):  # `TimeoutError` is an OSError
        return True
    return any((each.__module__, each.__name__) in _PASSING for each in type(error).__mro__)
