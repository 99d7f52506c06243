"""The inbox's models: conversation logs in trouble, their messages and failed calls, and results of decisions.

Names are spelled as in the journal. Times are epoch milliseconds, UTC.
"""

from __future__ import annotations

from typing import Any

import msgspec


class InboxEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A conversation log in trouble. `kind` is conversation, group or thread; a group has one for each contact.

    `state` is parked (a person has to decide), failed, or waiting (the server goes on by itself, or when `users` have
    signed in). `states` counts its messages. `without_text` of them can only be logged when they are sent again.
    `due_at` is the next try, None if there will be none. `since` is when the oldest message that is not logged was
    accepted, `changed_at` the last change. `fence` grows with each claim: a decision that names an older one is
    refused.
    """

    tenant: str
    platform: str
    conversation_log_id: str
    kind: str
    group_contact_id: str | None
    contact_id: str
    contact_name: str
    third_party_log_id: str | None
    state: str
    cause: str
    reason: str
    states: dict[str, int]
    without_text: int
    users: list[str]
    attempts: int
    tries: int
    due_at: int | None
    since: int | None
    changed_at: int
    fence: int


class InboxPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some entries, the last changed first. `next` asks for the next page; None after the last one."""

    entries: list[InboxEntry]
    next: str | None = None


class InboxRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message that is not logged. `text` is its stored text, if it was asked for and there is one."""

    id: str
    state: str
    reason: str | None
    user_id: str
    sent_at: int
    updated_at: int
    has_text: bool
    text: dict[str, Any] | None = None


class FailedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A failed call. `body` is the CRM's answer without credentials, if it was asked for.

    `call` is create, update, find (the activity of a lost create), read (the activity) or prepare (what is needed
    before a call, such as the user's credentials). `error` is the type of the connector's error.
    """

    at: int
    call: str
    error: str
    status: int | None
    reason: str | None
    body: str | None = None


class InboxDetails(msgspec.Struct, frozen=True, kw_only=True):
    """An entry with its messages that are not logged, oldest first, and its failed calls, the last one first."""

    entry: InboxEntry
    rows: list[InboxRow]
    attempts: list[FailedCall]


class InboxExport(msgspec.Struct, frozen=True, kw_only=True):
    """Some logs with all their details. `next` asks for the next page; None after the last one."""

    logs: list[InboxDetails]
    next: str | None = None


class Decided(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The result of a decision about a log's messages: how many are to be sent, how many count as logged.

    `without_text` of them stay failed: there is nothing to send until the client sends them again.
    `conversation_log_id` is the log's from now on.
    """

    conversation_log_id: str
    planned: int = 0
    logged: int = 0
    without_text: int = 0


class Progress(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The progress of a long act: `done` of about `total` logs; `refused` of them were left as they are."""

    done: int
    total: int
    planned: int = 0
    without_text: int = 0
    refused: int = 0


class RetriedBatch(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The results for some logs; `next` asks for the next batch, None after the last one."""

    done: int
    planned: int
    without_text: int
    refused: int
    next: str | None = None
