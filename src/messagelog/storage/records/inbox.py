"""What operators see of failed and parked logs, and what they decide."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from messagelog.errors import MessagelogError
from messagelog.storage.records.journal import LogKey, LogRow, MessageRow, RowChange


class InboxPlace(msgspec.Struct, frozen=True):
    """Where a conversation log stands in the inbox: its newest row in trouble, by which pages are turned."""

    key: LogKey
    at: int
    id: str
    reason: str


class InboxFilter(msgspec.Struct, frozen=True):
    """What of the inbox is asked for; None: whatever it is. `state` is failed, parked or waiting."""

    tenant: str | None = None
    platform: str | None = None
    state: str | None = None
    cause: str | None = None


class InboxCount(msgspec.Struct, frozen=True):
    """How many rows of a conversation log are in a state, and how many of them have lost their text."""

    state: str
    rows: int
    without_text: int
    since: int
    user_id: str


class Cause(msgspec.Struct, frozen=True, rename="camel"):
    """How many messages of how many conversation logs are in trouble for one cause, and between which times."""

    tenant: str
    platform: str
    state: str
    cause: str
    messages: int
    logs: int
    first_at: int
    last_at: int


class Decision(msgspec.Struct, frozen=True):
    """What a person's decision makes of a conversation log: its new values, and what becomes of its rows.

    A log with another key is moved there, its rows too. `refused` says why nothing may be done. Without a `log` the log
    itself is left to whoever works on it.
    """

    log: LogRow | None = None
    changes: tuple[RowChange, ...] = ()
    refused: str | None = None


class StaleDecision(MessagelogError):
    """Rows came in between, which whoever decided had not seen: look again."""


class DecisionContext(msgspec.Struct, frozen=True):
    """What a decision is made from: the log, its rows that are not logged, how many are, and the database's time.

    `taken` says, where the log is to go to another contact with all that belongs to it, that this contact has it, or
    messages of it.
    """

    log: LogRow
    rows: tuple[MessageRow, ...]
    logged: int
    now: int
    taken: bool = False


class LogMove(msgspec.Struct, frozen=True):
    """Where a log goes if a decision gives it another key. `resealed` seals the text of a row, by its id, for there."""

    to: LogKey
    reseal: Callable[[str, bytes], bytes]


Decide = Callable[[DecisionContext], Decision]
"""Decides about a conversation log. Pure."""
