"""Contacts as the CRM gave them, and contacts that are being made."""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec


class FoundContacts(msgspec.Struct, frozen=True):
    """Who had a number when the CRM was asked, sealed, and how long ago that was; None when nothing is kept.

    `now` is the time for whoever asks the CRM next.
    """

    contacts: bytes | None
    age_ms: int
    now: int


class NewContactKey(NamedTuple):
    """What makes two forms ask for the same new contact: the owner of the CRM data, the CRM, what the form holds."""

    tenant: str
    platform: str
    key: str


class NewContactState(enum.StrEnum):
    """The state of a contact that somebody asked to be made."""

    MAKING = "making"  # the call may be under way -> made, unknown, or forgotten where nothing was made
    MADE = "made"  # the CRM has it
    UNKNOWN = "unknown"  # the call ended without a trustworthy answer -> making, by the next one who asks


class NewContactClaim(msgspec.Struct, frozen=True):
    """The answer to who asks to make a contact.

    `mine`: nobody else makes it; `ask_first`: somebody may have made it before. `contact` is the one that was made a
    moment ago, sealed. With neither, somebody else is making it at this moment.
    """

    mine: bool = False
    ask_first: bool = False
    contact: bytes | None = None
