"""The two sides of a conversation: what its text takes from the session, the settings and the CRM.

All of it is sealed with the row before its call leaves, so that reconciling composes the very same words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from messagelog.compose import Participants
from messagelog.core.contacts.phone_numbers import alike, country_of, normalize_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from messagelog.compose import TextSettings
    from messagelog.core.delivery.payload import Payload
    from messagelog.messages import Conversation, Message
    from messagelog.storage.records.journal import LogRow


class Sides(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of the two sides besides a conversation's records.

    `user_name` is the signed-in user's. `country` (ISO 3166) is the one that numbers without a country code belong to,
    if the operator has set it, and `formats` are the spellings in which the user's CRM keeps numbers.
    `contact_numbers` are the contact's, as the records spell them; None in a group whose numbers are not looked up yet.
    With `uncertain` the CRM could not be asked: it is asked again, unless a call may have been done meanwhile.
    """

    user_name: str = ""
    country: str = ""
    formats: tuple[str, ...] = ()
    contact_numbers: tuple[str, ...] | None = None
    uncertain: bool = False


NOTHING_KNOWN = Sides()


def without_contact_numbers(sides: Sides) -> Sides:
    """Return the sides of a group's message that goes to another contact: the CRM has to be asked about that one."""
    return replace(sides, contact_numbers=None, uncertain=False)


def with_spelling(sides: Sides, message: Message, conversation: Conversation) -> Sides:
    """Return the sides with the spelling in which a message has the number of its only correspondent.

    For a group nothing is known until the CRM has been asked.
    """
    if len(conversation.correspondents) != 1 or message.from_ is None:
        return sides
    number, sender = conversation.correspondents[0].phone_number, message.from_.phone_number
    if not number or not sender or normalize_number(sender) == normalize_number(number):
        return sides
    return replace(
        sides, contact_numbers=alike([sender], [number], home(sides, conversation, sender, number))
    )


def home(sides: Sides, conversation: Conversation, *numbers: str) -> str:
    """Return the country of those numbers that lack its code: the operator's, or else that of our own number.

    Empty if all of them have a code.
    """
    if all(number.lstrip().startswith("+") for number in numbers):
        return ""
    ours = conversation.self_party.phone_number if conversation.self_party else None
    return sides.country or country_of(ours or "")


def is_looked_up(text_settings: TextSettings, content: Payload) -> bool:
    """Return True if all that a text takes from the CRM is journalled: which of a group's numbers are the contact's."""
    if text_settings.is_earlier or content.thread is not None or not content.conversation.is_group:
        return True
    return (content.sides or NOTHING_KNOWN).contact_numbers is not None


def needs_look_up(text_settings: TextSettings, content: Payload) -> bool:
    """Return True if the CRM has to be asked before a call that is known not to have been made."""
    return not is_looked_up(text_settings, content) or (content.sides or NOTHING_KNOWN).uncertain


def with_lookup(content: Payload, contact_numbers: Iterable[str], *, uncertain: bool) -> Payload:
    """Return the payload of a group's message with the contact's numbers (`+14155550142`) in its own spellings."""
    sides = content.sides or NOTHING_KNOWN
    numbers = _numbers(content)
    written = alike(numbers, contact_numbers, home(sides, content.conversation, *numbers))
    return replace(content, sides=replace(sides, contact_numbers=written, uncertain=uncertain))


def without_uncertainty(content: Payload) -> Payload | None:
    """Return the payload of a message that may be in the CRM in these words; None if they were certain already."""
    sides = content.sides
    if sides is None or not sides.uncertain:
        return None
    return replace(content, sides=replace(sides, uncertain=False))


def participants_of(log: LogRow, text_settings: TextSettings, contents: Sequence[Payload]) -> Participants:
    """Return the two sides, for the text of these messages."""
    conversation = contents[0].conversation
    if text_settings.is_earlier:
        phone = _phone_by_name(log, conversation)
        return Participants(log.contact_name or phone or "", phone, conversation.agent_name)
    sides = contents[0].sides or NOTHING_KNOWN
    every = (each.sides.contact_numbers or () for each in contents if each.sides is not None)
    numbers = tuple(dict.fromkeys(number for written in every for number in written))
    # A shared thread has one number at its other end, whatever its correspondents are.
    guest = contents[0].thread.guest_party if contents[0].thread is not None else None
    phone = (guest.phone_number if guest is not None else None) or _phone(conversation, numbers)
    return Participants(log.contact_name or phone or "", phone, sides.user_name or None, numbers)


def _phone(conversation: Conversation, contact_numbers: Sequence[str]) -> str | None:
    """Return the contact's number: the only correspondent's, or in a group the one that the CRM knows as theirs."""
    parties = conversation.correspondents
    if not conversation.is_group:
        return parties[0].phone_number if parties else None
    return next((party.phone_number for party in parties if party.phone_number in contact_numbers), None)


def _phone_by_name(log: LogRow, conversation: Conversation) -> str | None:
    """Return the number as the earlier wordings have it: the only correspondent's, or that of the contact's name."""
    parties = conversation.correspondents
    if len(parties) == 1:
        return parties[0].phone_number
    return next((party.phone_number for party in parties if party.name == log.contact_name), None)


def _numbers(content: Payload) -> list[str]:
    """Return every number in a group's message, as it is written."""
    message = content.message
    parties = [*content.conversation.correspondents]
    if message is not None:
        parties += [party for party in (message.from_, *message.to) if party is not None]
    return [party.phone_number for party in parties if party.phone_number]
