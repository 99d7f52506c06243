"""The inputs and outputs of composing."""

import dataclasses
import functools
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from messagelog.messages import MessageKind

_TODAYS_WORDING: Final = 3

LINE_MARK: Final = "\x1fline"
"""The mark behind a message's id if the known text is its status line (see `compose.changes`), not its entry."""


class LogFormat(StrEnum):
    """The form of a CRM's texts. `CUSTOM` means that the connector writes its own, so nothing is composed."""

    PLAIN = "text/plain"
    HTML = "text/html"
    MARKDOWN = "text/markdown"
    CUSTOM = "custom"


class Measure(StrEnum):
    """The unit in which a CRM limits a body."""

    CHARACTERS = "characters"
    UTF16 = "utf-16"
    BYTES = "bytes"

    def of(self, text: str) -> int:
        """Return how much of the limit a text takes: code points, UTF-16 units (an emoji is two), or UTF-8 bytes."""
        if self is Measure.CHARACTERS or text.isascii():
            return len(text)
        return len(text.encode()) if self is Measure.BYTES else len(text.encode("utf-16-le")) // 2


@dataclasses.dataclass(frozen=True, slots=True)
class TextSettings:
    """Settings that an activity keeps for ever, so that its text can be recognised and amended.

    `zone` is an IANA name, `UTC` or an offset like `UTC-07:00` (see `pick_zone`); `language` is one of
    `LANGUAGES` (see `pick_language`); `template` is the version of the wording: in 1 the heading had no counts, and
    1 and 2 are in `compose.earlier`.
    `limit` is the greatest length of a body, as `measure` counts; None if the CRM sets none. `appends`: the CRM is
    append-only, so the heading holds nothing that a later message makes wrong. `selected`: the user picked the
    messages, so the subject has the time of the first one beside its day.
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
        """Return whether a body is within the limit."""
        return self.limit is None or self.measure.of(body) <= self.limit


@functools.lru_cache(maxsize=1024)
def read_text_settings(text: str) -> TextSettings:
    """Return the text settings of an activity, from the journal."""
    return msgspec.json.decode(text, type=TextSettings)


def write_text_settings(text_settings: TextSettings) -> str:
    """Return the text settings as the journal keeps them."""
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

    `hash` (16 bytes) is that of its visible text, by which it is recognised. `sent_at` (milliseconds since 1970, 0 if
    unknown) gives its place. `text` is the block in the pinned format. `id` is its message's or entity's; headings
    have none. `kind` is the kind that the heading counts.
    """

    hash: bytes
    sent_at: int
    text: str
    id: str | None = None
    kind: MessageKind = MessageKind.OTHER


KnownEntry = tuple[int, bytes] | tuple[int, bytes, str]
"""Time, hash and perhaps id of an entry that was logged earlier, as in `Entry`. With ids, entries of one
millisecond are in the order of their ids; without, later ones come after."""
