"""A thread of a shared inbox: messages, notes and assignments."""

from collections.abc import Iterable

import msgspec

from messagelog.messages.fields import (
    Id,
    Many,
    One,
    Record,
    Text,
    Time,
    assign,
    compact,
    epoch_ms,
    first,
    optional_identifier,
    plain_text,
)
from messagelog.messages.media import Media
from messagelog.messages.parts import Attachment, MessageKind, Party
from messagelog.messages.records import Message, is_gone

ENTITIES_IN_VERSION = 1_000_000
"""The factor of the milliseconds in a version: the number of entities is below it."""


_ALIVE = frozenset({"AliveMessage", "AliveNote", None})


class Owner(Record, frozen=True, kw_only=True):
    """Who owns a shared inbox: a user or, with `extension_type` Department, a call queue."""

    name: str | None = None
    extension_type: str | None = None
    extension_id: Text | None = None

    def __post_init__(self) -> None:
        assign(self, "extension_id", plain_text(self.extension_id))


class Entity(Record, frozen=True, kw_only=True):
    """One event in a shared thread; `record_type` is its kind (AliveMessage, AliveNote, …Hint).

    Times are milliseconds since 1970; hints often have only a `last_modified_time`, or none. A note's text may be in
    `body`, and the sender or author only in `from_` or `initiator`.
    """

    id: Id | None = None
    record_type: str | None = None
    availability: str | None = None
    direction: str | None = None
    text: str | None = None
    subject: str | None = None
    body: str | None = None
    author: Party | None = None
    from_: One[Party] | None = msgspec.field(name="from", default=None)
    initiator: Party | None = None
    assignee: Party | None = None
    previous_assignee: Party | None = None
    creation_time: Time | None = None
    last_modified_time: Time | None = None
    message_status: str | None = None
    delivery_error_code: str | None = None
    attachments: Many[Attachment] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.from_, Party):
            assign(self, "from_", first(self.from_))
        assign(self, "id", optional_identifier(self.id, "id"))
        assign(self, "creation_time", epoch_ms(self.creation_time, "creationTime"))
        assign(self, "last_modified_time", epoch_ms(self.last_modified_time, "lastModifiedTime"))
        assign(self, "attachments", compact(self.attachments))

    @classmethod
    def from_message(cls, message: Message) -> "Entity":
        """Return a message as an entity, for threads without a list of entities."""
        return cls(
            id=message.id,
            record_type=message.record_type or "AliveMessage",
            availability=message.availability,
            direction=message.direction,
            text=message.body_text,
            author=message.author or message.from_,
            from_=message.from_,
            creation_time=message.creation_time,
            last_modified_time=message.last_modified_time,
            message_status=message.message_status,
            delivery_error_code=message.delivery_error_code,
            attachments=message.attachments,
        )

    @property
    def happened_at(self) -> int | None:
        """The time of the event, in milliseconds since 1970."""
        return self.last_modified_time if self.creation_time is None else self.creation_time

    @property
    def body_text(self) -> str:
        """The text, as it was written."""
        return self.text or self.subject or self.body or ""

    @property
    def is_there(self) -> bool:
        """Whether it is a message or a note that has not been deleted, and is more than an id."""
        if is_gone(self.availability) or self.record_type not in _ALIVE:
            return False
        people = self.author or self.from_ or self.initiator
        return bool(self.body_text or self.attachments or self.direction or people)

    @property
    def kind(self) -> MessageKind:
        """The kind of every entity: part of a thread."""
        return MessageKind.THREAD

    @property
    def media(self) -> Media:
        """Its pictures and other files, with links for people."""
        return Media(self)


class Thread(Record, frozen=True, kw_only=True):
    """A snapshot of a shared thread. `entities` are sorted oldest first; of equal ids the newest stays.

    `creation_time` is when the thread began, in milliseconds since 1970.
    """

    entities: Many[Entity] = ()
    owner: Owner | None = None
    assignee: Party | None = None
    status: str | None = None
    status_reason: str | None = None
    guest_party: Party | None = None
    owner_party: Party | None = None
    last_modified_time: Time | None = None
    creation_time: Time | None = None

    def __post_init__(self) -> None:
        assign(self, "entities", _in_order(_newest_of_each(compact(self.entities))))
        assign(self, "last_modified_time", epoch_ms(self.last_modified_time, "lastModifiedTime"))
        assign(self, "creation_time", epoch_ms(self.creation_time, "creationTime"))

    @property
    def is_empty(self) -> bool:
        """Whether all its messages and notes are deleted."""
        return not any(entity.is_there for entity in self.entities)

    @property
    def version(self) -> int:
        """A number that grows with every change: the newest time of change, then the number of entities.

        It fits into 63 bits. Without any time it is the number of entities.
        """
        times = [self.last_modified_time, *(_change_time(entity) for entity in self.entities)]
        newest = max((time for time in times if time is not None), default=0)
        return newest * ENTITIES_IN_VERSION + min(len(self.entities), ENTITIES_IN_VERSION - 1)


def _change_time(entity: Entity) -> int | None:
    return entity.creation_time if entity.last_modified_time is None else entity.last_modified_time


def _newest_of_each(entities: Iterable[Entity]) -> list[Entity]:
    kept: dict[str | int, Entity] = {}
    for position, entity in enumerate(entities):
        key = position if entity.id is None else entity.id
        if key not in kept or (_change_time(entity) or 0) > (_change_time(kept[key]) or 0):
            kept[key] = entity
    return list(kept.values())


def _in_order(entities: list[Entity]) -> tuple[Entity, ...]:
    """Return the entities, oldest first; those without a time stay after the one before them."""
    if not entities:
        return ()
    ranked: list[tuple[int, Entity]] = []
    last = next((time for entity in entities if (time := entity.happened_at) is not None), 0)
    for entity in entities:
        time = entity.happened_at
        last = last if time is None else time
        ranked.append((last, entity))
    return tuple(entity for _, entity in sorted(ranked, key=lambda pair: pair[0]))
