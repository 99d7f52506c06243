"""One message as RingCentral records it."""

import msgspec

from messagelog.messages.fields import (
    Id,
    Many,
    ManyOrNull,
    Number,
    Record,
    Time,
    assign,
    compact,
    epoch_ms,
    identifier,
    is_epoch_ms,
    optional_identifier,
)
from messagelog.messages.media import Media
from messagelog.messages.parts import Attachment, MessageKind, Party


class ConversationRef(Record, frozen=True, kw_only=True):
    """A message's `conversation` in raw records; the widget sends `conversationId` instead."""

    id: Id | None = None


class Message(Record, frozen=True, kw_only=True):
    """An SMS (MMS is one with attachments), voicemail or fax.

    Times are milliseconds since 1970. `subject` holds the text of an SMS; messages of shared threads have it
    in `text` too. `typing_duration_ms` is how long the user wrote, where the manifest asks for it
    (`trackSmsTypingDuration`). Whatever RingCentral left out is None or empty.
    """

    id: Id
    creation_time: Time | None = None
    last_modified_time: Time | None = None
    type: str | None = None
    direction: str | None = None
    subject: str | None = None
    text: str | None = None
    from_: Party | None = msgspec.field(name="from", default=None)
    to: ManyOrNull[Party] = ()
    attachments: Many[Attachment] = ()
    message_status: str | None = None
    transcript: str | None = None
    fax_page_count: Number | None = None
    fax_resolution: str | None = None
    conversation_id: Id | None = None
    conversation: ConversationRef | None = None
    author: Party | None = None
    record_type: str | None = None
    availability: str | None = None
    typing_duration_ms: Number | None = None

    def __post_init__(self) -> None:
        # A request may hold a thousand of these: what is tidy already is left as it is.
        assign(self, "id", identifier(self.id, "id"))
        if not is_epoch_ms(self.creation_time):
            assign(self, "creation_time", epoch_ms(self.creation_time, "creationTime"))
        if not is_epoch_ms(self.last_modified_time):
            assign(self, "last_modified_time", epoch_ms(self.last_modified_time, "lastModifiedTime"))
        if not self.attachments or None in self.attachments:
            assign(self, "attachments", compact(self.attachments))
        if not self.to:
            assign(self, "to", ())
        if self.conversation_id is not None:
            assign(self, "conversation_id", optional_identifier(self.conversation_id, "conversationId"))
        if self.conversation is not None:
            named = optional_identifier(self.conversation.id, "conversation.id")
            assign(self, "conversation_id", self.conversation_id or named)
            assign(self, "conversation", None)

    @property
    def sent_at(self) -> int | None:
        """When it was sent or received, in milliseconds since 1970."""
        return self.last_modified_time if self.creation_time is None else self.creation_time

    @property
    def kind(self) -> MessageKind:
        """What it is; without a type, its attachments tell."""
        if self.type is None:
            types = {(attachment.type or "").casefold() for attachment in self.attachments}
            if "audiorecording" in types:
                return MessageKind.VOICEMAIL
            if "rendereddocument" in types:
                return MessageKind.FAX
        return MessageKind.of(self.type)

    @property
    def body_text(self) -> str:
        """What was written, as it was written."""
        return self.subject or self.text or ""

    @property
    def media(self) -> Media:
        """Its voicemail, fax, pictures and other files, with links for people. Nothing in it opens."""
        return Media(self)


def message_order(message: Message) -> tuple[int, int, str]:
    """A sort key, oldest first. In the same millisecond ids decide, those of digits by their number."""
    return (message.sent_at or 0, len(message.id), message.id)
