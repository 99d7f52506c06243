"""A shared thread as a person reads it in the CRM: a summary, then what happened, oldest first."""

from collections.abc import Iterable, Sequence

from messagelog.compose.blocks import Block, Link
from messagelog.compose.clean import clean_line
from messagelog.compose.heading import MOST_NAMED
from messagelog.compose.model import Content, Entry, People, Pins
from messagelog.compose.recognise import entry_of, syntax_of
from messagelog.compose.said import media_lines, text_lines
from messagelog.compose.shorten import shorten
from messagelog.compose.speakers import contact, contact_with_number
from messagelog.compose.words import Words, words_of
from messagelog.messages import Entity, MessageKind, Owner, Party, Thread

Said = tuple[str, Sequence[str | Link]]
"""Title and lines of an entry."""

_ALIVE = "Alive"
_MESSAGES = frozenset({"AliveMessage", None})
_NOTE = "AliveNote"
_ASSIGNED = "ThreadAssignedHint"
_RESOLVED, _REOPENED = "ThreadResolvedHint", "ThreadReopenedHint"
_DELETED = frozenset({"DeletedMessage", "DeletedNote"})


def compose_thread(
    pins: Pins,
    people: People,
    thread: Thread,
    key: bytes,
    written: Sequence[Entry] | None = None,
    *,
    continued: bool = False,
) -> Content:
    """The text of a new activity for a shared thread. `written` are its blocks where they are there already."""
    blocks = thread_blocks(pins, people, thread, key) if written is None else written
    return Content(
        subject=thread_subject(pins, people, continued=continued),
        body=syntax_of(pins).separator.join([block.text for block in blocks]),
    )


def thread_subject(pins: Pins, people: People, *, continued: bool = False) -> str:
    """The subject of an activity for a shared thread."""
    words = words_of(pins)
    title = words.thread_title(contact(people, words))
    return words.continued(title) if continued else title


def thread_blocks(pins: Pins, people: People, thread: Thread, key: bytes) -> list[Entry]:
    """All that is our part of the text: the summary (without id) and an entry per entity that is shown."""
    words = words_of(pins)
    alive = [entity for entity in thread.entities if _is_alive(entity)]
    shown = [_summary(pins, people, thread, alive)]
    teller = _Teller(words, contact(people, words), _owner_name(thread.owner))
    for entity in alive:
        said = teller.said(entity)
        if said is not None:
            at = entity.happened_at
            shown.append(Block(*said, words.when(at, pins.zone), at or 0, entity.id, MessageKind.THREAD))
    if pins.limit is None:
        return [entry_of(block, pins, key) for block in shown]
    room = pins.limit - pins.measure.of(continued_heading(pins, people, key).text + syntax_of(pins).separator)
    return [entry_of(shorten(block, pins, room), pins, key) for block in shown]


def continued_heading(pins: Pins, people: People, key: bytes) -> Entry:
    """What stands above the entries in an activity that goes on with a thread."""
    words = words_of(pins)
    title = words.continued(words.thread_title(contact_with_number(people, words)))
    return entry_of(Block(title, [words.zone(pins.zone)]), pins, key)


class _Teller:
    """Says what happened, one entity after the other: who is assigned is known from those before."""

    def __init__(self, words: Words, customer: str, owner: str) -> None:
        self._words = words
        self._customer = customer
        self._owner = owner
        self._assigned: Party | None = None

    def said(self, entity: Entity) -> Said | None:
        """Title and lines; None for what is not shown: hints that tell nothing new."""
        words = self._words
        if entity.record_type in _MESSAGES:
            return self._message(entity)
        if entity.record_type == _NOTE:
            author = _agent(entity.author) or words.unknown_agent
            return words.note(author), text_lines(entity.body_text) or [words.no_text]
        by = _agent(entity.initiator or entity.author)
        if entity.record_type == _ASSIGNED:
            return self._assignment(entity, by), ()
        if entity.record_type == _RESOLVED:
            return words.resolved(by), ()
        return (words.reopened(by), ()) if entity.record_type == _REOPENED else None

    def _message(self, entity: Entity) -> Said:
        words = self._words
        lines: list[str | Link] = [*text_lines(entity.body_text)]
        if entity.attachments:
            lines += media_lines(entity.media, words)
        if not lines:
            lines.append(words.no_text)
        if not _is_outbound(entity):
            return self._customer, lines
        failed = words.failure(entity.message_status)
        who = _agent(entity.author) or self._owner or words.unknown_agent
        return who, [*lines, failed] if failed else lines

    def _assignment(self, entity: Entity, by: str) -> str:
        before, now = _agent(entity.previous_assignee or self._assigned), _agent(entity.assignee)
        self._assigned = entity.assignee
        return self._words.assignment("" if before == now else before, now, by)


def _is_alive(entity: Entity) -> bool:
    return (entity.availability or _ALIVE) == _ALIVE and entity.record_type not in _DELETED


def _is_outbound(entity: Entity) -> bool:
    """Without a direction, an author tells: only our side has one."""
    return entity.direction.casefold() == "outbound" if entity.direction else entity.author is not None


def _summary(pins: Pins, people: People, thread: Thread, alive: Sequence[Entity]) -> Block:
    """What stands above the entries: who, how it stands, from when to when, how much."""
    words = words_of(pins)
    customer = contact_with_number(people, words)
    number = clean_line(thread.owner_party.phone_number) if thread.owner_party else ""
    assignee = _agent(thread.assignee)
    lines = [_owner_line(thread.owner, words)]
    lines.append(words.number(number) if number else "")
    lines.append(words.participants(contact(people, words), _agents(people, thread, alive), MOST_NAMED))
    lines.append(words.assigned(assignee) if assignee else "")
    lines += _course(pins, thread, alive)
    kinds = [entity.record_type for entity in alive]
    messages, notes = sum(kind in _MESSAGES for kind in kinds), kinds.count(_NOTE)
    lines.append(words.content_counts(messages, notes))
    return Block(words.thread_title(customer), [*filter(None, lines), words.zone(pins.zone)])


def _course(pins: Pins, thread: Thread, alive: Sequence[Entity]) -> list[str]:
    """How it stands, when it began and ended or was last heard of, and how long it took."""
    words = words_of(pins)
    status, resolved = _status(thread, alive)
    lines = [words.status(status, clean_line(thread.status_reason))]
    times = [time for entity in alive if (time := entity.happened_at) is not None]
    if not times:
        return lines
    first, last = min(times), max(times)
    ends = [time for entity in alive if entity.record_type == _RESOLVED and (time := entity.happened_at)]
    if resolved and ends:
        last = max(ends)
    return [
        *lines,
        words.began(words.when(first, pins.zone)),
        words.ended(words.when(last, pins.zone), resolved=resolved),
        words.took(last - first, resolved=resolved),
    ]


def _status(thread: Thread, alive: Sequence[Entity]) -> tuple[str, bool]:
    """RingCentral's word for how it stands, and whether that is resolved; without one the hints tell."""
    status = clean_line(thread.status)
    if not status:
        changes = [entity.record_type for entity in alive if entity.record_type in {_RESOLVED, _REOPENED}]
        status = "Resolved" if changes[-1:] == [_RESOLVED] else "Open"
    return status, status.casefold() == "resolved"


def _owner_line(owner: Owner | None, words: Words) -> str:
    name = _owner_name(owner)
    return words.owner(name, queue=owner.extension_type == "Department") if owner and name else ""


def _owner_name(owner: Owner | None) -> str:
    return clean_line(owner.name) if owner else ""


def _agent(someone: Party | None) -> str:
    return clean_line(someone.name or someone.extension_number or someone.phone_number) if someone else ""


def _agents(people: People, thread: Thread, alive: Sequence[Entity]) -> list[str]:
    """Everybody of our side who took part, each once; never the customer."""
    seen: set[str | None] = {clean_line(people.contact_name).casefold(), people.contact_phone}
    if thread.guest_party:
        seen |= {thread.guest_party.phone_number, clean_line(thread.guest_party.name).casefold()}
    names = []
    for someone in dict.fromkeys(_our_side(thread, alive)):
        name = _agent(someone)
        keys = {name.casefold(), someone.extension_id, someone.phone_number} - {None, ""}
        if name and not keys & seen:
            names.append(name)
        if name:
            seen |= keys
    return names


def _our_side(thread: Thread, alive: Sequence[Entity]) -> Iterable[Party]:
    for entity in alive:
        author = entity.author if entity.record_type == _NOTE or _is_outbound(entity) else None
        yield from (someone for someone in (author, entity.initiator, entity.assignee) if someone)
    if thread.assignee:
        yield thread.assignee
