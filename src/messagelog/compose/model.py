"""What goes into writing and what comes out."""

import dataclasses
from enum import StrEnum


class LogFormat(StrEnum):
    """How a CRM wants its text. `CUSTOM` means that the connector writes its own, so nothing is composed."""

    PLAIN = "text/plain"
    HTML = "text/html"
    MARKDOWN = "text/markdown"
    CUSTOM = "custom"


@dataclasses.dataclass(frozen=True, slots=True)
class Pins:
    """What an activity keeps for ever, so that its text can be recognised and amended.

    `zone` is an IANA name, `UTC` or an offset like `UTC-07:00` (see `pick_zone`); `template` is the version
    of the wording.
    """

    format: LogFormat
    zone: str
    locale: str = "en"
    template: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class People:
    """The two sides by name, as the CRM and the user's account know them."""

    contact_name: str
    contact_phone: str | None = None
    agent_name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Content:
    """An activity's text: `subject` is always plain text in one line, `body` is in the pinned format."""

    subject: str
    body: str


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One block of an activity's text, ready to stand in it.

    `hash` (16 bytes) recognises it by its visible text, `sent_at` (milliseconds since 1970, 0 where unknown)
    places it, `text` is the block in the pinned format. `id` is that of the message or entity it is about;
    headings have none.
    """

    hash: bytes
    sent_at: int
    text: str
    id: str | None = None
