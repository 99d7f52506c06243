"""The lines of an entry, from a message's text and media."""

import re
import unicodedata
from typing import Final

from messagelog.compose.blocks import Link
from messagelog.compose.clean import PLACEHOLDER, clean, clean_line
from messagelog.compose.failures import failure_lines
from messagelog.compose.files import word_of
from messagelog.compose.model import Participants
from messagelog.compose.times import seconds
from messagelog.compose.wording import Words
from messagelog.messages import Media, MediaAttachment, Message, MessageKind

_A_NUMBER = re.compile(r"\+?[\d\s().-]+")
_LONGEST_RECORDING: Final = 100 * 60 * 60  # seconds: a longer length is an error in the record
_SPOKEN_OR_SENT: Final = frozenset({MessageKind.VOICEMAIL, MessageKind.FAX})
_FAXED: Final = frozenset({"sourcedocument", "rendereddocument"})

_NO_TRANSCRIPT_YET: Final = frozenset({"inprogress", "timedout", "failed"})
_PLACEHOLDER = re.compile(
    r"(?:(?:transcription )?in progress|fetching transcription|failed to fetch transcription)[\s.\u2026]*",
    re.IGNORECASE,
)
"""The text that the widget shows, and sends, when it has no transcript."""

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Mn", "Me", "Zl", "Zp", "Zs"})
_BLANK: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # invisible letters and symbols


def message_lines(
    message: Message, participants: Participants, words: Words, *, outbound: bool
) -> list[str | Link]:
    """Return text, media, cover page, transcript, and a failed delivery, as lines; there is at least one."""
    kind = message.kind
    lines: list[str | Link] = [*text_lines(_own_text(message, kind))]
    media = message.media if message.attachments else None
    if media:
        lines += media_lines(media, words, message)
    elif kind in _SPOKEN_OR_SENT:
        lines.append(_label(None, words, message))
    if message.cover_page_text and (cover := _says(message.cover_page_text)):
        lines += text_lines(words.cover_page(cover))
    if transcript := transcript_of(message):
        lines += text_lines(words.transcript(transcript))
    if not lines:
        lines.append(words.no_text)
    return [*lines, *failure_lines(message, participants, words)] if outbound else lines


def transcript_of(message: Message) -> str:
    """Return the transcript; empty for the widget's text that stands in for a missing one."""
    if not message.transcript:
        return ""
    if (message.vm_transcription_status or "").casefold() in _NO_TRANSCRIPT_YET:
        return ""
    text = _says(message.transcript)
    return "" if _PLACEHOLDER.fullmatch(text) else text


def text_lines(text: str) -> list[str]:
    """Return text from outside as clean lines; none if nothing of it is visible."""
    said = _says(text)
    return said.split("\n") if said else []


def media_lines(media: Media, words: Words, message: Message | None = None) -> list[str | Link]:
    """Return a line for each file with its details, as a link if there is one."""
    labelled = [
        (_label(attachment, words, message), attachment.view_link) for attachment in media.attachments
    ]
    return [Link(label, url) if url and url.startswith("https://") else label for label, url in labelled]


def _says(text: str) -> str:
    """Return the clean text; empty if nothing of it is visible."""
    cleaned = clean(text.replace(PLACEHOLDER, ""))
    if cleaned.isascii():
        return "" if cleaned.isspace() else cleaned
    shown = any(char not in _BLANK and unicodedata.category(char) not in _INVISIBLE for char in cleaned)
    return cleaned if shown else ""


def _own_text(message: Message, kind: MessageKind) -> str:
    """Return what a person wrote. RingCentral itself fills the subject of a voicemail or fax.

    The subject of a sent fax may be the user's, unless it only names the recipient.
    """
    if kind is MessageKind.VOICEMAIL:
        return ""
    text = message.body_text
    if kind is MessageKind.FAX:
        if (message.direction or "").casefold() != "outbound":
            return ""
        names = {party.name for party in (message.from_, *message.to) if party is not None}
        line = text.strip()
        return "" if _A_NUMBER.fullmatch(line) or line in names else text
    return text


def _label(attachment: MediaAttachment | None, words: Words, message: Message | None) -> str:
    fax = message is not None and message.kind is MessageKind.FAX
    kind = _kind(attachment, message)
    urgent = message is not None and (message.priority or "").casefold() == "high"
    known = []
    if attachment and attachment.duration and 0 < attachment.duration < _LONGEST_RECORDING:
        known.append(seconds(attachment.duration))
    if kind == "fax" and fax and message is not None:
        known.append(words.pages(message.fax_page_count, clean_line(message.fax_resolution)))
    details = words.comma.join(part for part in known if part)
    name = clean_line(attachment.file_name) if attachment else ""
    word = words.urgent_voicemail if urgent and kind == "recording" else words.media(kind)
    return " ".join(part for part in (word, name, f"({details})" if details else "") if part)


def _kind(attachment: MediaAttachment | None, message: Message | None) -> str:
    """Return the kind of a file for `Words.media`."""
    fax = message is not None and message.kind is MessageKind.FAX
    if attachment is None:
        return "fax" if fax else "recording"
    if fax and (attachment.type or "").casefold() in _FAXED:
        return "fax"
    return word_of(attachment) if attachment.kind == "file" else attachment.kind
