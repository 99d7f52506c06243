"""Names for the parties of a message."""

import re
from collections.abc import Sequence

from messagelog.compose.clean import clean_line
from messagelog.compose.model import Participants
from messagelog.compose.wording import Words
from messagelog.messages import Conversation, Message, Party

_NOT_A_DIGIT = re.compile(r"\D")


def is_outbound(message: Message, conversation: Conversation) -> bool:
    """Return whether our side sent it. Without a direction, the sender's number decides."""
    if message.direction:
        return message.direction.casefold() == "outbound"
    ours = conversation.self_party.phone_number if conversation.self_party else None
    return bool(message.from_ and same_number(message.from_.phone_number, ours))


def speaker(
    message: Message, participants: Participants, conversation: Conversation, words: Words, *, outbound: bool
) -> str:
    """Return the name of a message's sender.

    On our side it is the name in the record, else the signed-in user's. On the other side the contact has the CRM's
    name, also if the telephone network has another for the number; others have the name in the record.
    """
    sender = message.from_
    if outbound:
        named = map(_name, (message.author, sender, conversation.self_party))
        return first_of(*named, participants.agent_name, conversation.agent_name) or words.unknown_agent
    number = sender.phone_number if sender else None
    if _is_from_contact(sender, participants, conversation):
        return first_of(participants.contact_name, _name(sender), number) or words.unknown_contact
    return (
        first_of(_name(sender), number, sender.extension_number if sender else None) or words.unknown_contact
    )


def _is_from_contact(sender: Party | None, participants: Participants, conversation: Conversation) -> bool:
    """Return whether a received message is the contact's: by number; outside groups also if a number is missing."""
    if sender is not None and is_contact(sender, participants):
        return True
    if conversation.is_group:
        return False
    return sender is None or not sender.phone_number or not participants.contact_phone


def same_number(one: str | None, other: str | None) -> bool:
    """Return whether two spellings of phone numbers have the same digits."""
    digits = _NOT_A_DIGIT.sub("", one or "")
    return bool(digits) and digits == _NOT_A_DIGIT.sub("", other or "")


def is_contact(someone: Party, participants: Participants) -> bool:
    """Return whether a party is the contact, by number. Two people may have the same name, so names do not count."""
    number = someone.phone_number
    return same_number(number, participants.contact_phone) or any(
        same_number(number, each) for each in participants.contact_numbers
    )


def contact(participants: Participants, words: Words) -> str:
    """Return the contact's name, else number."""
    return first_of(participants.contact_name, participants.contact_phone) or words.unknown_contact


def contact_with_number(participants: Participants, words: Words) -> str:
    """Return the contact's name with the number."""
    name, number = contact(participants, words), clean_line(participants.contact_phone)
    return f"{name} ({number})" if number and number != name else name


def agent(participants: Participants, conversation: Conversation, messages: Sequence[Message]) -> str:
    """Return our side's name in the records, else the signed-in user's, else the number; empty if none is known."""
    sent = (message.from_ for message in messages if is_outbound(message, conversation))
    names = map(_name, (conversation.self_party, *sent))
    return first_of(*names, participants.agent_name, conversation.agent_name)


def others(participants: Participants, conversation: Conversation) -> list[str]:
    """Return the participants of a group who are not the contact, by name and number."""
    if not conversation.is_group:
        return []
    named = [
        party(someone) for someone in conversation.correspondents if not is_contact(someone, participants)
    ]
    return list(dict.fromkeys(filter(None, named)))


def party(someone: Party) -> str:
    """Return a party's name with the number."""
    number = clean_line(someone.phone_number or someone.extension_number)
    name = clean_line(someone.name)
    return f"{name} ({number})" if name and number else name or number


def first_of(*names: str | None) -> str:
    """Return the first value that is not blank, else an empty text."""
    for name in names:
        if name and (line := clean_line(name)):
            return line
    return ""


def _name(someone: Party | None) -> str | None:
    return someone.name if someone else None
