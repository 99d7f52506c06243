"""Contacts as the CRM gave them, and contacts that are being made."""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec


class FoundContacts(msgspec.Struct, frozen=True):
    """The contacts with a number, sealed, and how long ago the CRM was asked; None if nothing is kept.

    `now` is the database's time, for the next request to the CRM.
    """

    contacts: bytes | None
    age_ms: int
    now: int


class NewContactKey(NamedTuple):
    """The key of a new contact: the owner of the CRM data, the CRM, and what the form holds."""

    tenant: str
    platform: str
    key: str


class NewContactState(enum.StrEnum):
    """The state of a contact that is being made."""

    MAKING = "making"  # the call may be under way -> made, unknown, or forgotten where nothing was made
    MADE = "made"  # the CRM has it
    UNKNOWN = "unknown"  # the call ended without a trustworthy answer -> making, by the next request


class NewContactClaim(msgspec.Struct, frozen=True):
    """The answer to a claim to make a contact.

    `mine`: the claim holds; `ask_first`: an earlier attempt may have made the contact. `contact` is the one that was
    made a moment ago, sealed. With neither, another attempt is under way.
    """

    mine: bool = False
    ask_first: bool = False
    contact: bytes | None = None
