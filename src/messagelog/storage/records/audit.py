"""Operators, and what they did."""

from __future__ import annotations

import uuid

import msgspec


class OperatorRow(msgspec.Struct, frozen=True):
    """An operator, for lists: `roles` are separated by blanks; `sessions` may still be used."""

    name: str
    roles: str
    created_at: int
    sessions: int


class AuditEntry(msgspec.Struct, frozen=True):
    """What an operator looked at or did, without text of messages. `role` is the one that allowed it.

    `subject` is the id of what it was about: a message, a contact, another operator.
    """

    operator: str
    act: str
    role: str | None = None
    tenant: str | None = None
    platform: str | None = None
    subject: str | None = None
    id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)


class AuditRow(msgspec.Struct, frozen=True):
    """An entry as it was recorded at `at` (epoch ms)."""

    id: str
    at: int
    operator: str
    act: str
    role: str | None
    tenant: str | None
    platform: str | None
    subject: str | None
