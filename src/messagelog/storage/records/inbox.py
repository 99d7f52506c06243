"""What operators see of failed and parked logs, and what they decide."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from messagelog.errors import MessagelogError
from messagelog.storage.records.journal import LogKey, LogRow, MessageRow, RowChange


class InboxPlace(msgspec.Struct, frozen=True):
    """The place of a conversation log in the inbox: its newest row in trouble, at which the next page begins."""

    key: LogKey
    at: int
    id: str
    reason: str


class InboxFilter(msgspec.Struct, frozen=True):
    """A selection from the inbox; None selects every value. `state` is failed, parked or waiting."""

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
    """What a person's decision changes: a conversation log's new values, and the new states of its rows.

    A log with another key is moved there with its rows. `refused` says why nothing may be done. Without a `log` the log
    itself is not changed, since it may be claimed.
    """

    log: LogRow | None = None
    changes: tuple[RowChange, ...] = ()
    refused: str | None = None


class StaleDecision(MessagelogError):
    """New rows came meanwhile, which the person who decided has not seen: they have to look again."""


class DecisionContext(msgspec.Struct, frozen=True):
    """The input of a decision: the log, its rows that are not logged, how many are, and the database's time.

    `taken` says, if the log is to go to another contact, that this contact has the log, or messages of it, already.
    """

    log: LogRow
    rows: tuple[MessageRow, ...]
    logged: int
    now: int
    taken: bool = False


class LogMove(msgspec.Struct, frozen=True):
    """Where a log goes if a decision gives it another key. `reseal` seals a row's text, by its id, for that key."""

    to: LogKey
    reseal: Callable[[str, bytes], bytes]


Decide = Callable[[DecisionContext], Decision]
"""Decides about a conversation log. Pure."""
