"""The wording, in English, without any markup."""

from collections.abc import Collection

from messagelog.messages import MessageKind

UNKNOWN_AGENT = "Unknown agent"
UNKNOWN_CONTACT = "Unknown contact"
NO_TEXT = "(no text)"

MOST_PAGES = 100_000
"""Of a fax: what is more is a slip of the sender, and is not shown."""

SUBJECTS = {
    MessageKind.SMS: "SMS conversation with {name}",
    MessageKind.VOICEMAIL: "Voicemail {way} {name}",
    MessageKind.FAX: "Fax {way} {name}",
    MessageKind.THREAD: "Shared SMS conversation with {name}",
}
MIXED = "Conversation with {name}"
WAYS = {"inbound": "from", "outbound": "to"}

FAILURES = {
    "deliveryfailed": "Not delivered",
    "sendingfailed": "Not sent: sending failed",
    "failed": "Not delivered",
    "undelivered": "Not delivered",
}

MEDIA = {"recording": "Voicemail", "fax": "Fax", "image": "Picture", "video": "Video", "file": "File"}


def subject(kinds: Collection[MessageKind], directions: Collection[str], name: str) -> str:
    """The subject of a conversation whose messages are of these kinds and directions."""
    kind = next(iter(kinds)) if len(kinds) == 1 else MessageKind.OTHER
    way = WAYS.get(next(iter(directions)), "with") if len(directions) == 1 else "with"
    return SUBJECTS.get(kind, MIXED).format(name=name, way=way)


def zone_note(zone: str) -> str:
    """Says what the clock times mean. Also how our heading is found again."""
    return f"Times in {zone}"


def failure(status: str | None, name: str | None = None) -> str | None:
    """A failed delivery in words, to whom if several; None for any other status."""
    words = FAILURES.get((status or "").casefold())
    return f"{words} ({name})" if words and name else words


def pages(count: float | None, resolution: str | None) -> str:
    """What is known about a fax's pages: `2 pages, High resolution`."""
    sensible = int(count) if count and 0 < count < MOST_PAGES else 0
    known = [
        f"{sensible} page{'' if sensible == 1 else 's'}" if sensible else "",
        f"{resolution} resolution" if resolution else "",
    ]
    return ", ".join(part for part in known if part)
