"""The body of `POST /messageLog`: messages of one conversation, to be logged for one contact."""

from typing import Any

import msgspec

from messagelog.messages.fields import (
    Id,
    IdOrNull,
    Many,
    Record,
    Text,
    Time,
    assign,
    compact,
    distinct,
    epoch_ms,
    identifier,
    optional_identifier,
)
from messagelog.messages.parts import MessageKind, Party
from messagelog.messages.records import Message, message_order
from messagelog.messages.threads import Entity, Owner, Thread

MOST_MESSAGES = 1_000
MOST_ENTITIES = 10_000
MOST_CORRESPONDENTS = 100
DEEPEST_SUBMISSION = 32
"""Levels of lists and objects in `additionalSubmission`: a form's fields have two or three."""
_EXACT = 2**53  # whole numbers above it are rounded by JavaScript
_ANONYMOUS = frozenset({MessageKind.VOICEMAIL, MessageKind.FAX})
CREATE_NEW_CONTACT = "createNewContact"
"""The client's word for a contact's id while the contact is still being made. It is never passed to a CRM."""


class Conversation(Record, frozen=True, kw_only=True):
    """The two sides of a conversation, which composing needs besides the messages."""

    conversation_id: Id
    self_party: Party | None = None
    correspondents: Many[Party] = ()

    def __post_init__(self) -> None:
        assign(self, "conversation_id", identifier(self.conversation_id, "conversationId"))
        assign(self, "correspondents", compact(self.correspondents))

    @property
    def agent_name(self) -> str | None:
        """Our side: the name, else the number."""
        return (self.self_party.name or self.self_party.phone_number) if self.self_party else None

    @property
    def is_group(self) -> bool:
        """Whether there are several correspondents."""
        return len(self.correspondents) > 1


class LogInfo(Record, frozen=True, kw_only=True):
    """A conversation's messages of a day, or a whole shared thread, as the client sends them.

    `date` and the day inside `conversation_log_id` are text in the browser's locale: opaque, never parsed.
    `conversation_id` is empty only without messages: if the client gave none, it is taken from them.
    """

    conversation_id: IdOrNull = ""
    conversation_log_id: Id | None = None
    date: str | None = None
    type: str | None = None
    creation_time: Time | None = None
    last_modified_time: Time | None = None
    messages: Many[Message] = ()
    self_party: Party | None = msgspec.field(name="self", default=None)
    correspondents: Many[Party] = ()
    rc_access_token: str | None = None
    owner: Owner | None = None
    assignee: Party | None = None
    entities: Many[Entity] = ()
    status: str | None = None
    status_reason: str | None = None
    guest_party: Party | None = None
    owner_party: Party | None = None
    selected_message_ids: Many[Id] = ()

    def __post_init__(self) -> None:
        assign(
            self, "conversation_log_id", optional_identifier(self.conversation_log_id, "conversationLogId")
        )
        assign(self, "creation_time", epoch_ms(self.creation_time, "creationTime"))
        assign(self, "last_modified_time", epoch_ms(self.last_modified_time, "lastModifiedTime"))
        _within(self.messages, MOST_MESSAGES, "messages")
        _within(self.entities, MOST_ENTITIES, "entities")
        _within(self.correspondents, MOST_CORRESPONDENTS, "correspondents")
        assign(self, "selected_message_ids", _ids(self.selected_message_ids))
        messages = compact(self.messages)
        assign(self, "messages", distinct(messages, [message.id for message in messages]))
        assign(self, "entities", compact(self.entities))
        guest = (self.guest_party,) if self.is_shared and self.guest_party else ()
        correspondents = compact(self.correspondents) or guest or self._correspondents_of_messages()
        assign(self, "correspondents", correspondents)
        # A voicemail's or a fax's sender may be hidden or missing.
        is_anonymous = self.loggable and all(message.kind in _ANONYMOUS for message in self.loggable)
        if not correspondents and not self.is_empty and not is_anonymous:
            raise ValueError("correspondents: expected at least one correspondent")
        assign(self, "conversation_id", self._find_conversation_id())

    def _correspondents_of_messages(self) -> tuple[Party, ...]:
        """Return the newest message's correspondents, for requests with those of a stub."""
        loggable = self.loggable
        if len(loggable) == len(self.messages):
            return ()
        for message in sorted(loggable, key=message_order, reverse=True):
            if parties := message.correspondents:
                return parties
        return ()

    def _find_conversation_id(self) -> str:
        told = next((message.conversation_id for message in self.messages if message.conversation_id), None)
        given = optional_identifier(self.conversation_id or None, "conversationId")
        if given is not None:
            return told if told is not None and _rounds_to(told, self.conversation_id) else given
        # Voicemails and faxes belong to no conversation: their id is the message's own.
        own = (message.id for message in self.messages if message.kind in _ANONYMOUS)
        found = told or next(own, None) or ("" if self.is_empty else None)
        if found is None:
            raise ValueError("conversationId: is missing")
        return found

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to log."""
        return not self.loggable and not (self.is_shared and self.entities)

    @property
    def loggable(self) -> tuple[Message, ...]:
        """The messages that exist; others were deleted or purged, and are empty."""
        if not any(message.is_stub for message in self.messages):
            return self.messages
        return tuple(message for message in self.messages if not message.is_stub)

    @property
    def is_shared(self) -> bool:
        """Whether it is a thread of a shared inbox: those have an owner."""
        return self.owner is not None

    @property
    def is_group(self) -> bool:
        """Whether it is a group SMS: several correspondents, and not a shared thread (owner wins)."""
        return len(self.correspondents) > 1 and not self.is_shared

    @property
    def thread(self) -> Thread:
        """The shared thread; without a list of entities the messages are the entities."""
        return Thread(
            entities=self.entities or tuple(Entity.from_message(message) for message in self.messages),
            owner=self.owner,
            assignee=self.assignee,
            status=self.status,
            status_reason=self.status_reason,
            guest_party=self.guest_party,
            owner_party=self.owner_party,
            last_modified_time=self.last_modified_time,
            creation_time=self.creation_time,
        )

    @property
    def conversation(self) -> Conversation:
        """The two sides, for composing."""
        return Conversation(
            conversation_id=self.conversation_id,
            self_party=self.self_party or self.owner_party,
            correspondents=self.correspondents,
        )

    def __repr__(self) -> str:
        # Neither customers' words nor the access token may be in a log line or a traceback.
        return f"LogInfo(conversation_id={self.conversation_id!r}, {len(self.messages)} messages)"


class LogRequest(Record, frozen=True, kw_only=True):
    """The body of `POST /messageLog`.

    `contact_id` may be the client's word `createNewContact`. `additional_submission` holds the answers to the
    manifest's own form fields. `overriding_format` are the user's `formats`, as in the input. `selected_message_ids`,
    here or in `info`, are messages that the user picked.
    """

    info: LogInfo = msgspec.field(name="logInfo")
    contact_id: Id
    contact_type: str | None = None
    contact_name: str | None = None
    additional_submission: dict[str, Any] | None = None
    overriding_format: Many[str] | Text | None = ()
    selected_message_ids: Many[Id] = ()

    def __post_init__(self) -> None:
        assign(self, "contact_id", identifier(self.contact_id, "contactId"))
        assign(self, "selected_message_ids", _ids(self.selected_message_ids))
        formats = self.overriding_format
        assign(self, "overriding_format", (formats,) if isinstance(formats, str) else compact(formats))
        if _deeper_than(self.additional_submission, DEEPEST_SUBMISSION):
            raise ValueError(f"additionalSubmission: nested deeper than {DEEPEST_SUBMISSION} levels")

    @property
    def formats(self) -> tuple[str, ...]:
        """The spellings in which the user's CRM keeps phone numbers, with a `*` for each digit."""
        given = self.overriding_format
        return given if isinstance(given, tuple) else ()

    @property
    def selected_ids(self) -> frozenset[str]:
        """The ids of the messages to be logged in a record of their own; empty: all messages."""
        return frozenset(self.selected_message_ids or self.info.selected_message_ids)

    @property
    def is_shared(self) -> bool:
        """Whether it is a thread of a shared inbox."""
        return self.info.is_shared

    @property
    def is_group(self) -> bool:
        """Whether it is a group SMS."""
        return self.info.is_group

    @property
    def thread(self) -> Thread:
        """The shared thread."""
        return self.info.thread

    def __repr__(self) -> str:
        return f"LogRequest({self.info!r}, contact_id={self.contact_id!r})"


def _rounds_to(exact: str, given: object) -> bool:
    """Return whether an id is the exact form of a number that was too large, and so rounded."""
    if type(given) is not int or abs(given) < _EXACT or not exact.isascii() or not exact.isdigit():
        return False
    return len(exact) == len(str(given)) and float(exact) == float(given)


def _ids(ids: Many[Id]) -> tuple[str, ...]:
    """Return ids as text, each once."""
    _within(ids, MOST_MESSAGES, "selectedMessageIds")
    return tuple(dict.fromkeys(identifier(id_, "selectedMessageIds") for id_ in compact(ids)))


def _within(items: tuple[object, ...] | None, most: int, field: str) -> None:
    if items is not None and len(items) > most:
        raise ValueError(f"{field}: expected at most {most:,}")


def _deeper_than(value: object, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        inner: list[object] = []
        for item in layer:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        if not inner:
            return False
        layer = inner
    return any(isinstance(item, dict | list) for item in layer)
