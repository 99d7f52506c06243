"""What goes into writing and what comes out."""

import dataclasses
import functools
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from messagelog.messages import MessageKind

_TODAYS_WORDING: Final = 3

LINE_MARK: Final = "\x1fline"
"""Stands behind a message's id where what is known is its status line (see `compose.changes`), not its entry."""


class LogFormat(StrEnum):
    """How a CRM wants its text. `CUSTOM` means that the connector writes its own, so nothing is composed."""

    PLAIN = "text/plain"
    HTML = "text/html"
    MARKDOWN = "text/markdown"
    CUSTOM = "custom"


class Measure(StrEnum):
    """What a CRM counts when it limits a body."""

    CHARACTERS = "characters"
    UTF16 = "utf-16"
    BYTES = "bytes"

    def of(self, text: str) -> int:
        """How much of its limit a text takes: code points, UTF-16 units (an emoji is two), or UTF-8 bytes."""
        if self is Measure.CHARACTERS or text.isascii():
            return len(text)
        return len(text.encode()) if self is Measure.BYTES else len(text.encode("utf-16-le")) // 2


@dataclasses.dataclass(frozen=True, slots=True)
class TextSettings:
    """What an activity keeps for ever, so that its text can be recognised and amended.

    `zone` is an IANA name, `UTC` or an offset like `UTC-07:00` (see `pick_zone`); `language` is one of
    `LANGUAGES` (see `pick_language`); `template` is the version of the wording: in 1 the heading had no counts, and
    1 and 2 are in `compose.earlier`.
    `limit` is how long a body may be, as `measure` counts; None where the CRM sets none. `appends` says that the CRM
    only takes additions: then the heading holds nothing that a later message makes wrong. `selected` says that the user
    picked the messages: then the subject names the time of the first one beside its day.
    """

    format: LogFormat
    zone: str
    language: str = "en"
    template: int = _TODAYS_WORDING
    limit: int | None = None
    measure: Measure = Measure.CHARACTERS
    appends: bool = False
    selected: bool = False

    @property
    def is_earlier(self) -> bool:
        """Whether the wording is that of `compose.earlier`."""
        return self.template < _TODAYS_WORDING

    def fits(self, body: str) -> bool:
        """Whether a body is within the limit."""
        return self.limit is None or self.measure.of(body) <= self.limit


@functools.lru_cache(maxsize=1024)
def read_text_settings(text: str) -> TextSettings:
    """The pins of an activity, from the journal."""
    return msgspec.json.decode(text, type=TextSettings)


def write_text_settings(text_settings: TextSettings) -> str:
    """The pins as the journal keeps them."""
    return msgspec.json.encode(text_settings).decode()


@dataclasses.dataclass(frozen=True, slots=True)
class Participants:
    """The two sides, as the CRM and the user's account know them.

    `contact_phone` is the contact's number as it is shown, `contact_numbers` are all spellings of the contact's numbers
    in the records, and `agent_name` is the name of the user who signed in.
    """

    contact_name: str
    contact_phone: str | None = None
    agent_name: str | None = None
    contact_numbers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Content:
    """An activity's text: `subject` is always plain text in one line, `body` is in the pinned format."""

    subject: str
    body: str


class Entry(NamedTuple):
    """One block of an activity's text, ready to stand in it.

    `hash` (16 bytes) recognises it by its visible text, `sent_at` (milliseconds since 1970, 0 where unknown)
    places it, `text` is the block in the pinned format. `id` is that of the message or entity it is about;
    headings have none. `kind` is what the heading counts it as.
    """

    hash: bytes
    sent_at: int
    text: str
    id: str | None = None
    kind: MessageKind = MessageKind.OTHER


KnownEntry = tuple[int, bytes] | tuple[int, bytes, str]
"""Time and hash of an entry that was logged earlier, as of `Entry`. Where its id comes along, entries of one
millisecond stand in the order of their ids; else the later ones stand behind."""
