"""Reads and writes operators and their sessions. A session is known by a hash of its token, never by the token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from messagelog.storage.records.audit import OperatorRow
from messagelog.storage.transactions.clock import SLACK_MS
from messagelog.storage.transactions.commands import Batch, Execute, Query

if TYPE_CHECKING:
    from messagelog.storage.transactions.commands import Transaction

SESSION_MS: Final = 12 * 3_600_000
"""How long a session lasts at most: a day's work, so that a lost token is worth nothing tomorrow."""

IDLE_MS: Final = 3_600_000
"""How long a session lasts without being used: a lunch break, so that a forgotten browser does not stay open."""

_TOUCH_MS: Final = 60_000  # a request writes that it was there at most once a minute


def add_operator(name: str, password: str, roles: str) -> Transaction[bool]:
    """Add an operator, with the hash of their password; return False if there is one of that name."""
    return bool((yield Query("insert_operator", {"name": name, "password": password, "roles": roles})))


def find_operator(name: str) -> Transaction[tuple[str, str] | None]:
    """Return the hash of an operator's password, and their roles; None if there is no such operator."""
    rows = yield Query("find_operator", {"name": name})
    return (rows[0][0], rows[0][1]) if rows else None


def list_operators(after: str, limit: int) -> Transaction[list[OperatorRow]]:
    """Return operators in the order of their names, behind the name `after`."""
    params = {"after": after, "limit": limit, "age_ms": SESSION_MS, "idle_ms": IDLE_MS}
    return [OperatorRow(*row) for row in (yield Query("list_operators", params))]


def change_password(name: str, password: str) -> Transaction[bool]:
    """Give an operator another password, and end their sessions; return False if there is no such operator."""
    changed, _ = yield Batch(
        Query("change_password", {"name": name, "password": password}),
        Query("drop_operator_sessions", {"name": name}),
    )
    return bool(changed)


def rehash_password(name: str, before: str, password: str) -> Transaction[None]:
    """Keep the same password under newer parameters, unless it was changed meanwhile."""
    yield Execute("rehash_password", [{"name": name, "before": before, "password": password}])


def change_roles(name: str, roles: str) -> Transaction[bool]:
    """Give an operator other roles, in their present sessions too; return False if there is no such operator."""
    return bool((yield Query("change_roles", {"name": name, "roles": roles})))


def remove_operator(name: str) -> Transaction[bool]:
    """Remove an operator with their sessions; return False if there is none. Their audit records stay."""
    removed, _ = yield Batch(
        Query("drop_operator", {"name": name}), Query("drop_operator_sessions", {"name": name})
    )
    return bool(removed)


def begin_session(name: str, password: str, session: str) -> Transaction[int | None]:
    """Begin a session if the password (its hash) is still the operator's; return when it ends (epoch ms) at the latest.

    The operator is locked meanwhile, so that a change of the password ends this session too.
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
    """Return the operator of a session, their present roles, and whether the use of the session is to be recorded."""
    rows = yield Query("find_operator_session", {"session": session})
    if not rows:
        return None
    name, roles, created_at, used_at, now = rows[0]
    if roles is None or now - created_at >= SESSION_MS or now - used_at >= IDLE_MS:
        return None
    if created_at > now + SLACK_MS:  # begun by a clock that was wrong: its end is unknown
        return None
    return name, roles, now - used_at >= _TOUCH_MS


def touch_session(session: str) -> Transaction[None]:
    """Record that a session is used now."""
    yield Execute("touch_operator_session", [{"session": session}])


def end_session(session: str) -> Transaction[None]:
    """End a session."""
    yield Execute("drop_operator_session", [{"session": session}])


def end_operator_sessions(name: str) -> Transaction[int]:
    """End all sessions of an operator; return how many there were."""
    return len((yield Query("drop_operator_sessions", {"name": name})))
