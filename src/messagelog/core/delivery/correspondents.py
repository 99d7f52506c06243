"""Looks up in the CRM to whom a group's numbers belong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from messagelog.connectors import Contact
from messagelog.core.contacts.phone_numbers import format_variants, international
from messagelog.core.delivery.participants import NOTHING_KNOWN, home

if TYPE_CHECKING:
    from collections.abc import Sequence

    from messagelog.connectors import Connector, Session
    from messagelog.core.contacts.resolve import RecentContacts
    from messagelog.core.delivery.payload import Payload
    from messagelog.storage.records.journal import LogRow

_MOST_ASKED: Final = 10
_LOOK_UP_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class GroupLookup(msgspec.Struct, frozen=True):
    """The numbers of a group (`+14155550142`) that are the chosen contact's, and the other contacts in it.

    `uncertain`: the CRM could not be asked about all of them, and the contact's is not among those it was asked about.
    """

    contact_numbers: tuple[str, ...] = ()
    others: tuple[Contact, ...] = ()
    uncertain: bool = False


NOTHING_FOUND: Final = GroupLookup()


class Correspondents:
    """Looks up a group's numbers in the CRM. What cannot be looked up now is left out: the log matters more."""

    def __init__(self, memory: RecentContacts, *, call_timeout: float) -> None:
        self._memory = memory
        self._seconds = min(_LOOK_UP_SECONDS, call_timeout)

    async def lookup(
        self, connector: Connector, session: Session, log: LogRow, contents: Sequence[Payload]
    ) -> GroupLookup:
        """Return what the CRM says of the numbers in these messages, which are all of one group."""
        numbers = _numbers_to_look_up(contents, log.contact_name)
        own: list[str] = []
        failed = False
        others: dict[str, Contact] = {}
        try:
            async with asyncio.timeout(self._seconds):
                for number, written in numbers.items():
                    matches = await self._find_first(connector, session, written)
                    if any(match.id == log.contact_id for match in matches):
                        own.append(number)
                    elif matches:
                        others.setdefault(matches[0].id, matches[0])
        except Exception as error:  # noqa: BLE001 - the connector's own mistakes too
            failed = True
            _log.warning("correspondents_not_found", connector=connector.name, error=type(error).__name__)
        return GroupLookup(tuple(own), tuple(others.values()), uncertain=failed and not own)

    async def _find_first(
        self, connector: Connector, session: Session, written: Sequence[str]
    ) -> list[Contact]:
        """Return the contacts that have a number, in the first of its spellings that the CRM knows."""
        for spelling in written:
            if matches := await self._memory.find(connector, session, spelling):
                return matches
        return []


def _numbers_to_look_up(contents: Sequence[Payload], contact_name: str) -> dict[str, tuple[str, ...]]:
    """Return the numbers of these messages' correspondents to look up, each with its spellings.

    Those with the contact's name come first, so that they are looked up however many there are.
    """
    named: dict[str, tuple[str, ...]] = {}
    unnamed: dict[str, tuple[str, ...]] = {}
    for content in contents:
        sides = content.sides or NOTHING_KNOWN
        for party in content.conversation.correspondents:
            if not party.phone_number:
                continue
            number = international(party.phone_number, home(sides, content.conversation, party.phone_number))
            written = dict.fromkeys((*format_variants(number, sides.formats), party.phone_number))
            place = named if party.name == contact_name else unnamed
            place.setdefault(number, tuple(written))
    return dict(
        [*named.items(), *((each, unnamed[each]) for each in unnamed if each not in named)][:_MOST_ASKED]
    )
