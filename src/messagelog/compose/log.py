"""One conversation as a person reads it in the CRM: a heading and an entry per message, oldest first."""

from collections.abc import Sequence

import msgspec

from messagelog.compose import earlier
from messagelog.compose.blocks import Block
from messagelog.compose.heading import heading_text
from messagelog.compose.model import Content, Entry, People, Pins
from messagelog.compose.recognise import entry_of, syntax_of
from messagelog.compose.said import message_lines
from messagelog.compose.shorten import shorten, size_of
from messagelog.compose.speakers import contact, is_outbound, speaker
from messagelog.compose.times import day, stamp
from messagelog.compose.words import words_of
from messagelog.messages import Conversation, Message, message_order


def compose_log(  # noqa: PLR0917 - what `entries` takes
    pins: Pins,
    people: People,
    messages: Sequence[Message],
    conversation: Conversation,
    key: bytes,
    written: Sequence[Entry] | None = None,
    *,
    continued: bool = False,
) -> Content:
    """The text of a new activity. `key` is that of the hashes, as for `entries`.

    `written` are the entries of these messages where they are there already. `continued` says so in subject and title.
    """
    written = entries(pins, people, messages, conversation, key) if written is None else written
    syntax = syntax_of(pins)
    heading = heading_text(pins, people, messages, conversation, continued=continued)
    return Content(
        subject=subject_of(pins, people, messages, conversation, continued=continued),
        body=syntax.separator.join([heading, *[entry.text for entry in written]]),
    )


def subject_of(
    pins: Pins,
    people: People,
    messages: Sequence[Message],
    conversation: Conversation,
    *,
    continued: bool = False,
) -> str:
    """The subject of an activity with these messages: their kind, the contact, and the day of the first."""
    words = words_of(pins)
    directions = {"outbound" if is_outbound(message, conversation) else "inbound" for message in messages}
    subject = words.subject({message.kind for message in messages}, directions, contact(people, words))
    times = [message.sent_at for message in messages if message.sent_at is not None]
    if times and not pins.is_earlier:
        name_of = stamp if pins.selected else day
        subject = words.dated(subject, name_of(min(times), pins.zone, pins.language))
    return words.continued(subject) if continued else subject


def entries(
    pins: Pins, people: People, messages: Sequence[Message], conversation: Conversation, key: bytes
) -> list[Entry]:
    """An entry per message, oldest first: when, who, what was said, and the media.

    One that would not fit into an activity of its own is shortened; that it did not arrive is said all the same.
    """
    written = []
    for message in sorted(messages, key=message_order):
        block = block_of(pins, people, message, conversation)
        entry = entry_of(block, pins, key)
        if pins.limit is not None and pins.measure.of(entry.text) > pins.limit // 3:
            room = room_for(pins, people, message, conversation)
            entry = entry_of(_shortened(pins, people, message, conversation, block, room), pins, key)
        written.append(entry)
    return written


def _shortened(  # noqa: PLR0917 - what `entries` takes, and how much room there is
    pins: Pins, people: People, message: Message, conversation: Conversation, block: Block, room: int
) -> Block:
    """The message's block within `room`: cut from its end, but for the lines that say that it did not arrive."""
    said = block_of(pins, people, without_failure(message), conversation).lines
    failure = block.lines[len(said) :] if block.lines[: len(said)] == said else []
    if failure:
        cut = shorten(block._replace(lines=said), pins, room, failure)
        if size_of(cut, pins) <= room:
            return cut
    return shorten(block, pins, room)


def without_failure(message: Message) -> Message:
    """The record as it was when nothing was known of whether it arrived."""
    to = tuple(
        someone
        and msgspec.structs.replace(someone, message_status=None, fax_error_code=None, error_code=None)
        for someone in message.to
    )
    return msgspec.structs.replace(message, message_status=None, delivery_error_code=None, to=to)


def room_for(pins: Pins, people: People, message: Message, conversation: Conversation) -> int:
    """What an activity with this message alone leaves for it."""
    heading = heading_text(pins, people, [message], conversation, continued=True)
    return (pins.limit or 0) - pins.measure.of(heading + syntax_of(pins).separator)


def block_of(pins: Pins, people: People, message: Message, conversation: Conversation) -> Block:
    """What an entry says, at its whole length, in the pinned wording."""
    words = words_of(pins)
    sent_at = message.sent_at
    outbound = is_outbound(message, conversation)
    if pins.is_earlier:
        who = earlier.speaker(message, people, conversation, words, outbound=outbound)
        lines = earlier.message_lines(message, words, outbound=outbound)
    else:
        who = speaker(message, people, conversation, words, outbound=outbound)
        lines = message_lines(message, people, words, outbound=outbound)
    return Block(
        who,
        lines,
        words.when(sent_at, pins.zone),
        sent_at or 0,
        message.id,
        message.kind,
    )
