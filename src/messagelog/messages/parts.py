"""The parts of a message: its parties and its attachments."""

from enum import StrEnum

from messagelog.messages.fields import Quantity, Record, Text, assign, plain_text, quantity


class MessageKind(StrEnum):
    """The kind of a message. An MMS is an SMS with attachments; `OTHER` is an unknown kind, such as Pager."""

    SMS = "SMS"
    VOICEMAIL = "VoiceMail"
    FAX = "Fax"
    THREAD = "Thread"
    OTHER = "Other"

    @classmethod
    def of(cls, type_: str | None) -> "MessageKind":
        """Return the kind for RingCentral's `type`, in upper or lower case. No type means SMS, as in short records."""
        if type_ is None:
            return cls.SMS
        kind = _KINDS.get(type_)
        return _KINDS.get(type_.casefold(), cls.OTHER) if kind is None else kind


_KINDS: dict[str, MessageKind] = {
    **{kind.value: kind for kind in MessageKind if kind is not MessageKind.OTHER},  # the usual spelling
    "sms": MessageKind.SMS,
    "mms": MessageKind.SMS,
    "voicemail": MessageKind.VOICEMAIL,
    "fax": MessageKind.FAX,
    "thread": MessageKind.THREAD,
}


class Party(Record, frozen=True, kw_only=True):
    """A participant: a phone number, an extension, or only a name. Everything may be missing.

    `target` marks our addressee among several; `message_status` is the delivery to this one,
    `fax_error_code` why a fax was not delivered, and `error_code` why a text was not.
    """

    phone_number: Text | None = None
    extension_number: Text | None = None
    extension_id: Text | None = None
    name: str | None = None
    location: str | None = None
    target: bool | None = None
    message_status: str | None = None
    fax_error_code: str | None = None
    error_code: str | None = None

    def __post_init__(self) -> None:
        if self.phone_number is not None and type(self.phone_number) is not str:
            assign(self, "phone_number", plain_text(self.phone_number))
        if self.extension_number is not None and type(self.extension_number) is not str:
            assign(self, "extension_number", plain_text(self.extension_number))
        if self.extension_id is not None and type(self.extension_id) is not str:
            assign(self, "extension_id", plain_text(self.extension_id))


class Attachment(Record, frozen=True, kw_only=True):
    """A file of a message, as RingCentral lists it; the text of an SMS is listed too (`type` Text).

    `size` is in bytes, `vm_duration` in seconds. `link` is the widget's page that plays or shows the file.
    Files of shared threads arrive with `filename` and `contentUri`; here they are `file_name` and `uri`.
    """

    id: Text | None = None
    uri: str | None = None
    type: str | None = None
    content_type: str | None = None
    file_name: str | None = None
    link: str | None = None
    size: Quantity | None = None
    vm_duration: Quantity | None = None
    filename: str | None = None
    content_uri: str | None = None

    def __post_init__(self) -> None:
        if self.id is not None and type(self.id) is not str:
            assign(self, "id", plain_text(self.id))
        if self.size is not None:
            assign(self, "size", quantity(self.size))
        if self.vm_duration is not None:
            assign(self, "vm_duration", quantity(self.vm_duration))
        if self.filename is not None:
            assign(self, "file_name", self.file_name or self.filename)
            assign(self, "filename", None)
        if self.content_uri is not None:
            assign(self, "uri", self.uri or self.content_uri)
            assign(self, "content_uri", None)
