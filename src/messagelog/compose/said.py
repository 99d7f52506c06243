"""What was said: the lines of an entry, from a message's text and media."""

import re

from messagelog.compose.blocks import Link
from messagelog.compose.clean import clean, clean_line
from messagelog.compose.times import seconds
from messagelog.compose.words import Words
from messagelog.messages import Media, MediaAttachment, Message, MessageKind

_A_NUMBER = re.compile(r"\+?[\d\s().-]+")
_VOICE_MESSAGE = "voice message"
_LONGEST_RECORDING = 100 * 60 * 60  # seconds: what is longer is a slip of the sender
_SPOKEN_OR_SENT = frozenset({MessageKind.VOICEMAIL, MessageKind.FAX})


def message_lines(message: Message, words: Words, *, outbound: bool) -> list[str | Link]:
    """Text, media, transcript, and whether it did not arrive; never empty."""
    kind = message.kind
    lines: list[str | Link] = [*text_lines(_written(message, kind))]
    media = message.media if message.attachments else None
    if media:
        lines += media_lines(media, words, message)
    elif kind in _SPOKEN_OR_SENT:
        lines.append(_label(None, words, message))
    if message.transcript and (transcript := clean(message.transcript)):
        lines += text_lines(words.transcript(transcript))
    if not lines:
        lines.append(words.no_text)
    return [*lines, *_failures(message, words)] if outbound else lines


def text_lines(text: str) -> list[str]:
    """Text of a stranger as clean lines."""
    cleaned = clean(text)
    return cleaned.split("\n") if cleaned and not cleaned.isspace() else []


def media_lines(media: Media, words: Words, message: Message | None = None) -> list[str | Link]:
    """Each file with what is known about it, as a link if there is one."""
    labelled = [
        (_label(attachment, words, message), attachment.view_link) for attachment in media.attachments
    ]
    return [Link(label, url) if url and url.startswith("https://") else label for label, url in labelled]


def _written(message: Message, kind: MessageKind) -> str:
    """What a person wrote. RingCentral fills the subject of a voicemail or fax by itself."""
    text = message.body_text
    if kind in _SPOKEN_OR_SENT:
        line = text.strip()
        sender = message.from_.name if message.from_ else None
        if line.casefold() == _VOICE_MESSAGE or _A_NUMBER.fullmatch(line) or line == sender:
            return ""
    return text


def _label(attachment: MediaAttachment | None, words: Words, message: Message | None) -> str:
    without_file = "fax" if message and message.kind is MessageKind.FAX else "recording"
    kind = attachment.kind if attachment else without_file
    known = []
    if attachment and attachment.duration and 0 < attachment.duration < _LONGEST_RECORDING:
        known.append(seconds(attachment.duration))
    if kind == "fax" and message:
        known.append(words.pages(message.fax_page_count, clean_line(message.fax_resolution)))
    if kind == "file" and attachment:
        known.append(clean_line(attachment.content_type))
    details = words.comma.join(part for part in known if part)
    name = clean_line(attachment.file_name) if attachment else ""
    return " ".join(part for part in (words.media(kind), name, f"({details})" if details else "") if part)


def _failures(message: Message, words: Words) -> list[str]:
    """A failed delivery in words: why if it is known; to whom, if it is known and others are there too."""
    to = [someone for someone in message.to if someone is not None]
    if len(to) > 1:
        each = [
            words.failure(
                someone.message_status,
                someone.fax_error_code,
                clean_line(someone.name or someone.phone_number),
            )
            for someone in to
        ]
        if any(each):
            return [line for line in each if line]
    reason = next((someone.fax_error_code for someone in to if someone.fax_error_code), None)
    statuses = [message.message_status, *[someone.message_status for someone in to]]
    return [line for status in statuses if (line := words.failure(status, reason))][:1]
