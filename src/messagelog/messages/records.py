"""RingCentral's record of one message."""

import msgspec

from messagelog.messages.fields import (
    Id,
    Many,
    One,
    OneOrMany,
    Quantity,
    Record,
    Time,
    as_tuple,
    assign,
    compact,
    epoch_ms,
    first,
    identifier,
    is_epoch_ms,
    optional_identifier,
    quantity,
)
from messagelog.messages.media import Media
from messagelog.messages.parts import Attachment, MessageKind, Party

_GONE = frozenset({"deleted", "purged"})


class ConversationRef(Record, frozen=True, kw_only=True):
    """A message's `conversation` in raw records: its id is exact, and `conversationId`, a number, may be rounded."""

    id: Id | None = None


class Message(Record, frozen=True, kw_only=True):
    """An SMS (MMS is one with attachments), voicemail or fax.

    Times are milliseconds since 1970. `subject` holds the text of an SMS; messages of shared threads have it
    in `text` too. `cover_page_text` is the text of a fax's sender, `delivery_error_code` says why a text failed.
    `typing_duration_ms` is how long the user wrote, where the manifest asks for it (`trackSmsTypingDuration`).
    Whatever RingCentral left out is None or empty.
    """

    id: Id
    creation_time: Time | None = None
    last_modified_time: Time | None = None
    type: str | None = None
    direction: str | None = None
    subject: str | None = None
    text: str | None = None
    from_: One[Party] | None = msgspec.field(name="from", default=None)
    to: OneOrMany[Party] = ()
    attachments: Many[Attachment] = ()
    message_status: str | None = None
    delivery_error_code: str | None = None
    priority: str | None = None
    transcript: str | None = None
    vm_transcription_status: str | None = None
    fax_page_count: Quantity | None = None
    fax_resolution: str | None = None
    cover_page_text: str | None = None
    conversation_id: Id | None = None
    conversation: ConversationRef | None = None
    author: Party | None = None
    record_type: str | None = None
    availability: str | None = None
    typing_duration_ms: Quantity | None = None

    def __post_init__(self) -> None:
        # A request may hold a thousand of these: tidy fields are not set again.
        assign(self, "id", identifier(self.id, "id"))
        if not is_epoch_ms(self.creation_time):
            assign(self, "creation_time", epoch_ms(self.creation_time, "creationTime"))
        if not is_epoch_ms(self.last_modified_time):
            assign(self, "last_modified_time", epoch_ms(self.last_modified_time, "lastModifiedTime"))
        if not self.attachments or None in self.attachments:
            assign(self, "attachments", compact(self.attachments))
        if not self.to or not isinstance(self.to, tuple):
            assign(self, "to", as_tuple(self.to))
        if not isinstance(self.from_, Party):
            assign(self, "from_", first(self.from_))
        if self.fax_page_count is not None:
            assign(self, "fax_page_count", quantity(self.fax_page_count))
        if self.conversation is not None:
            assign(self, "conversation_id", self._find_conversation_id())
            assign(self, "conversation", None)
        elif self.conversation_id is not None:
            assign(self, "conversation_id", optional_identifier(self.conversation_id, "conversationId"))

    def _find_conversation_id(self) -> str | None:
        """Return the conversation's own id; else that beside it, which may be rounded if it is a number."""
        given: object = self.conversation_id
        named: object = self.conversation.id if self.conversation is not None else None
        given_id = optional_identifier(given, "conversationId")
        named_id = optional_identifier(named, "conversation.id")
        return (
            given_id or named_id
            if isinstance(named, int) and isinstance(given, str)
            else named_id or given_id
        )

    @property
    def sent_at(self) -> int | None:
        """When it was sent or received, in milliseconds since 1970."""
        return self.last_modified_time if self.creation_time is None else self.creation_time

    @property
    def kind(self) -> MessageKind:
        """The message's kind; without a type, that of its attachments."""
        if self.type is None:
            types = {(attachment.type or "").casefold() for attachment in self.attachments}
            if "audiorecording" in types:
                return MessageKind.VOICEMAIL
            if "rendereddocument" in types:
                return MessageKind.FAX
        return MessageKind.of(self.type)

    @property
    def body_text(self) -> str:
        """The text, as it was written."""
        return self.subject or self.text or ""

    @property
    def is_stub(self) -> bool:
        """Whether there is nothing to log: it was deleted or purged, or has only an id."""
        if is_gone(self.availability):
            return True
        if self.type or self.direction or self.from_ or self.to or self.attachments or self.author:
            return False
        return not (self.body_text or self.transcript or self.cover_page_text)

    @property
    def correspondents(self) -> tuple[Party, ...]:
        """The parties at the other end, as the client determines them: the recipients, or the sender.

        For a text to several recipients, one of them marked as ours, also the others.
        """
        to = tuple(party for party in self.to if party is not None)
        if (self.direction or "").casefold() == "outbound":
            return to
        others = (party for party in to if not party.target) if any(party.target for party in to) else ()
        return (*((self.from_,) if self.from_ else ()), *others)

    @property
    def media(self) -> Media:
        """Its voicemail, fax, pictures and other files, with links for people. None can be opened."""
        return Media(self)


def is_gone(availability: str | None) -> bool:
    """Return whether RingCentral says that a message no longer exists."""
    return availability is not None and availability != "Alive" and availability.casefold() in _GONE


def message_order(message: Message) -> tuple[int, int, str]:
    """Return a sort key, oldest first. In the same millisecond ids decide, those of digits by their number."""
    return (message.sent_at or 0, len(message.id), message.id)
