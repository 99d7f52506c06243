"""One conversation as a person reads it in the CRM: a heading and an entry per message, oldest first."""

from collections.abc import Sequence

from messagelog.compose import words
from messagelog.compose.blocks import Block
from messagelog.compose.model import Content, Entry, People, Pins
from messagelog.compose.recognise import entry_of, syntax_of
from messagelog.compose.said import message_lines
from messagelog.compose.speakers import contact, contact_with_number, is_contact, is_outbound, party, speaker
from messagelog.compose.times import day, stamp
from messagelog.messages import Conversation, Message, message_order


def compose_log(
    pins: Pins, people: People, messages: Sequence[Message], conversation: Conversation, key: bytes
) -> Content:
    """The text of a new activity. `key` is that of the hashes, as for `entries`."""
    syntax = syntax_of(pins)
    heading = syntax.render(_heading(pins, people, messages, conversation))
    texts = [entry.text for entry in entries(pins, people, messages, conversation, key)]
    return Content(
        subject=_title(contact(people), messages, conversation),
        body=syntax.separator.join([heading, *texts]),
    )


def entries(
    pins: Pins, people: People, messages: Sequence[Message], conversation: Conversation, key: bytes
) -> list[Entry]:
    """An entry per message, oldest first: when, who, what was said, and the media."""
    return [
        entry_of(_block(pins, people, message, conversation), pins, key)
        for message in sorted(messages, key=message_order)
    ]


def _block(pins: Pins, people: People, message: Message, conversation: Conversation) -> Block:
    return Block(
        title=speaker(message, people, conversation),
        lines=message_lines(message, outbound=is_outbound(message, conversation)),
        stamp=stamp(message.sent_at, pins.zone),
        sent_at=message.sent_at or 0,
        id=message.id,
    )


def _title(name: str, messages: Sequence[Message], conversation: Conversation) -> str:
    directions = {"outbound" if is_outbound(message, conversation) else "inbound" for message in messages}
    return words.subject({message.kind for message in messages}, directions, name)


def _heading(pins: Pins, people: People, messages: Sequence[Message], conversation: Conversation) -> Block:
    others = [party(someone) for someone in conversation.correspondents if not is_contact(someone, people)]
    lines = []
    if len(conversation.correspondents) > 1 and any(others):
        lines.append(f"Also taking part: {', '.join(filter(None, others))}")
    days = sorted({day(message.sent_at, pins.zone) for message in messages if message.sent_at is not None})
    if days:
        lines.append(days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}")
    title = _title(contact_with_number(people), messages, conversation)
    return Block(title=title, lines=[*lines, words.zone_note(pins.zone)])
