"""Who said it: names for the parties of a message."""

import re

from messagelog.compose.clean import clean_line
from messagelog.compose.model import People
from messagelog.compose.words import Words
from messagelog.messages import Conversation, Message, Party

_NOT_A_DIGIT = re.compile(r"\D")


def is_outbound(message: Message, conversation: Conversation) -> bool:
    """Whether our side sent it. Without a direction, the sender's number tells."""
    if message.direction:
        return message.direction.casefold() == "outbound"
    ours = conversation.self_party.phone_number if conversation.self_party else None
    return bool(message.from_ and same_number(message.from_.phone_number, ours))


def speaker(
    message: Message, people: People, conversation: Conversation, words: Words, *, outbound: bool
) -> str:
    """The sender's name; on the other side else the contact's, or the number; on ours else the user's."""
    named = _name(message.from_)
    if outbound:
        names = (_name(message.author), named, people.agent_name, conversation.agent_name)
        return _first(*names) or words.unknown_agent
    number = message.from_.phone_number if message.from_ else None
    if len(conversation.correspondents) <= 1 or same_number(number, people.contact_phone):
        return _first(named, people.contact_name, number) or words.unknown_contact
    return _first(named, number) or words.unknown_contact


def same_number(one: str | None, other: str | None) -> bool:
    """Whether two phone numbers have the same digits, however they are written."""
    digits = _NOT_A_DIGIT.sub("", one or "")
    return bool(digits) and digits == _NOT_A_DIGIT.sub("", other or "")


def is_contact(someone: Party, people: People) -> bool:
    """Whether a party is the contact itself, by number or name."""
    name = clean_line(someone.name).casefold()
    return same_number(someone.phone_number, people.contact_phone) or bool(
        name and name == clean_line(people.contact_name).casefold()
    )


def contact(people: People, words: Words) -> str:
    """The contact's name, else number."""
    return _first(people.contact_name, people.contact_phone) or words.unknown_contact


def contact_with_number(people: People, words: Words) -> str:
    """The contact's name, and the number behind it."""
    name, number = contact(people, words), clean_line(people.contact_phone)
    return f"{name} ({number})" if number and number != name else name


def agent(people: People, conversation: Conversation) -> str:
    """Our side's name, else number; empty where nothing is known."""
    return _first(people.agent_name, conversation.agent_name)


def party(someone: Party) -> str:
    """A party's name, and the number behind it."""
    number = clean_line(someone.phone_number or someone.extension_number)
    name = clean_line(someone.name)
    return f"{name} ({number})" if name and number else name or number


def _name(someone: Party | None) -> str | None:
    return someone.name if someone else None


def _first(*names: str | None) -> str:
    """The first that is not blank, else nothing."""
    for name in names:
        if name and (line := clean_line(name)):
            return line
    return ""
