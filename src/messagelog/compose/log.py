"""One conversation as a person reads it in the CRM: a heading and an entry per message, oldest first."""

from collections.abc import Sequence

import msgspec

from messagelog.compose import earlier
from messagelog.compose.blocks import Block
from messagelog.compose.detect import entry_of, syntax_of
from messagelog.compose.entry_lines import message_lines
from messagelog.compose.heading import heading_text
from messagelog.compose.model import Content, Entry, Participants, TextSettings
from messagelog.compose.senders import contact, is_outbound, speaker
from messagelog.compose.shorten import shorten, size_of
from messagelog.compose.times import day, stamp
from messagelog.compose.wording import words_of
from messagelog.messages import Conversation, Message, message_order


def compose_log(  # noqa: PLR0917 - what `entries` takes
    text_settings: TextSettings,
    participants: Participants,
    messages: Sequence[Message],
    conversation: Conversation,
    key: bytes,
    written: Sequence[Entry] | None = None,
    *,
    continued: bool = False,
) -> Content:
    """Return the text of a new activity. `key` is the hashes' key, as for `entries`.

    `written` are the entries of these messages, if they exist already. If `continued`, subject and title say so.
    """
    written = (
        entries(text_settings, participants, messages, conversation, key) if written is None else written
    )
    syntax = syntax_of(text_settings)
    heading = heading_text(text_settings, participants, messages, conversation, continued=continued)
    return Content(
        subject=subject_of(text_settings, participants, messages, conversation, continued=continued),
        body=syntax.separator.join([heading, *[entry.text for entry in written]]),
    )


def subject_of(
    text_settings: TextSettings,
    participants: Participants,
    messages: Sequence[Message],
    conversation: Conversation,
    *,
    continued: bool = False,
) -> str:
    """Return the subject of an activity with these messages: their kind, the contact, and the day of the first."""
    words = words_of(text_settings)
    directions = {"outbound" if is_outbound(message, conversation) else "inbound" for message in messages}
    subject = words.subject({message.kind for message in messages}, directions, contact(participants, words))
    times = [message.sent_at for message in messages if message.sent_at is not None]
    if times and not text_settings.is_earlier:
        name_of = stamp if text_settings.selected else day
        subject = words.subject_with_day(
            subject, name_of(min(times), text_settings.zone, text_settings.language)
        )
    return words.continuation(subject) if continued else subject


def entries(
    text_settings: TextSettings,
    participants: Participants,
    messages: Sequence[Message],
    conversation: Conversation,
    key: bytes,
) -> list[Entry]:
    """Return an entry for each message, oldest first: time, sender, text and media.

    An entry that would not fit into an activity of its own is shortened; a failed delivery is never cut.
    """
    written = []
    for message in sorted(messages, key=message_order):
        block = block_of(text_settings, participants, message, conversation)
        entry = entry_of(block, text_settings, key)
        if (
            text_settings.limit is not None
            and text_settings.measure.of(entry.text) > text_settings.limit // 3
        ):
            room = room_for(text_settings, participants, message, conversation)
            entry = entry_of(
                _shorten_to(text_settings, participants, message, conversation, block, room),
                text_settings,
                key,
            )
        written.append(entry)
    return written


def _shorten_to(  # noqa: PLR0917 - what `entries` takes, and how much room there is
    text_settings: TextSettings,
    participants: Participants,
    message: Message,
    conversation: Conversation,
    block: Block,
    room: int,
) -> Block:
    """Return the message's block within `room`: cut at its end, but for the lines about a failed delivery."""
    said = block_of(text_settings, participants, without_failure(message), conversation).lines
    failure = block.lines[len(said) :] if block.lines[: len(said)] == said else []
    if failure:
        cut = shorten(block._replace(lines=said), text_settings, room, failure)
        if size_of(cut, text_settings) <= room:
            return cut
    return shorten(block, text_settings, room)


def without_failure(message: Message) -> Message:
    """Return the record without statuses and error codes, as before the delivery was known."""
    to = tuple(
        someone
        and msgspec.structs.replace(someone, message_status=None, fax_error_code=None, error_code=None)
        for someone in message.to
    )
    return msgspec.structs.replace(message, message_status=None, delivery_error_code=None, to=to)


def room_for(
    text_settings: TextSettings, participants: Participants, message: Message, conversation: Conversation
) -> int:
    """Return the room for the entry in an activity with this message alone."""
    heading = heading_text(text_settings, participants, [message], conversation, continued=True)
    return (text_settings.limit or 0) - text_settings.measure.of(heading + syntax_of(text_settings).separator)


def block_of(
    text_settings: TextSettings, participants: Participants, message: Message, conversation: Conversation
) -> Block:
    """Return an entry's block at its full length, in the pinned wording."""
    words = words_of(text_settings)
    sent_at = message.sent_at
    outbound = is_outbound(message, conversation)
    if text_settings.is_earlier:
        who = earlier.speaker(message, participants, conversation, words, outbound=outbound)
        lines = earlier.message_lines(message, words, outbound=outbound)
    else:
        who = speaker(message, participants, conversation, words, outbound=outbound)
        lines = message_lines(message, participants, words, outbound=outbound)
    return Block(
        who,
        lines,
        words.when(sent_at, text_settings.zone),
        sent_at or 0,
        message.id,
        message.kind,
    )
