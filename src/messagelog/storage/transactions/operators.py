"""Reads and writes operators and their sessions. A session is known by a hash of its token, never by the token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from messagelog.storage.records.audit import OperatorRow
from messagelog.storage.transactions.clock import SLACK_MS
from messagelog.storage.transactions.commands import Batch, Execute, Query

if TYPE_CHECKING:
    from messagelog.storage.transactions.commands import Transaction

SESSION_MS: Final = 12 * 3_600_000
"""How long a session lasts at most: a day's work, so that a token that was left somewhere is worth nothing tomorrow."""

IDLE_MS: Final = 3_600_000
"""How long a session lasts without being used: a lunch break. A browser that somebody forgot is closed to the next."""

_TOUCH_MS: Final = 60_000  # a request writes that it was there at most once a minute


def add_operator(name: str, password: str, roles: str) -> Transaction[bool]:
    """Adds an operator, with the hash of her password; False when there is one of that name."""
    return bool((yield Query("insert_operator", {"name": name, "password": password, "roles": roles})))


def find_operator(name: str) -> Transaction[tuple[str, str] | None]:
    """The hash of her password, and her roles."""
    rows = yield Query("find_operator", {"name": name})
    return (rows[0][0], rows[0][1]) if rows else None


def list_operators(after: str, limit: int) -> Transaction[list[OperatorRow]]:
    """Operators in the order of their names, behind the name `after`."""
    params = {"after": after, "limit": limit, "age_ms": SESSION_MS, "idle_ms": IDLE_MS}
    return [OperatorRow(*row) for row in (yield Query("list_operators", params))]


def change_password(name: str, password: str) -> Transaction[bool]:
    """Gives an operator another password, and ends what was begun with the old one; False when there is no such."""
    changed, _ = yield Batch(
        Query("change_password", {"name": name, "password": password}),
        Query("drop_operator_sessions", {"name": name}),
    )
    return bool(changed)


def rehash_password(name: str, before: str, password: str) -> Transaction[None]:
    """Keeps the same password under newer parameters, unless it was changed meanwhile."""
    yield Execute("rehash_password", [{"name": name, "before": before, "password": password}])


def change_roles(name: str, roles: str) -> Transaction[bool]:
    """Gives an operator other roles, for sessions that she has too; False when there is no such operator."""
    return bool((yield Query("change_roles", {"name": name, "roles": roles})))


def remove_operator(name: str) -> Transaction[bool]:
    """Removes an operator with her sessions; False when there is none. What is recorded of her stays."""
    removed, _ = yield Batch(
        Query("drop_operator", {"name": name}), Query("drop_operator_sessions", {"name": name})
    )
    return bool(removed)


def begin_session(name: str, password: str, session: str) -> Transaction[int | None]:
    """Begins a session, when the password (its hash) is still hers; when it ends at the latest.

    She is locked meanwhile, so that a change of her password ends this session too.
    """
    held = yield Query("lock_operator", {"name": name, "password": password})
    if not held:
        return None
    yield Batch(
        Execute("drop_old_operator_sessions", [{"age_ms": SESSION_MS}]),
        Execute("insert_operator_session", [{"name": name, "session": session}]),
    )
    ends: int = held[0][1] + SESSION_MS
    return ends


def find_session(session: str) -> Transaction[tuple[str, str, bool] | None]:
    """Whose session it is, with her roles as they are now, and whether its use is to be written down."""
    rows = yield Query("find_operator_session", {"session": session})
    if not rows:
        return None
    name, roles, created_at, used_at, now = rows[0]
    if roles is None or now - created_at >= SESSION_MS or now - used_at >= IDLE_MS:
        return None
    if created_at > now + SLACK_MS:  # begun by a clock that was wrong: nobody knows when it ends
        return None
    return name, roles, now - used_at >= _TOUCH_MS


def touch_session(session: str) -> Transaction[None]:
    """Writes down that a session is used now."""
    yield Execute("touch_operator_session", [{"session": session}])


def end_session(session: str) -> Transaction[None]:
    """Ends a session."""
    yield Execute("drop_operator_session", [{"session": session}])


def end_operator_sessions(name: str) -> Transaction[int]:
    """Ends all sessions of an operator; how many there were."""
    return len((yield Query("drop_operator_sessions", {"name": name})))
