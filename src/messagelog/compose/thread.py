"""A shared thread as a person reads it in the CRM: a summary, then what happened, oldest first."""

from collections.abc import Iterable, Sequence

from messagelog.compose import words
from messagelog.compose.blocks import Block, Link
from messagelog.compose.clean import clean_line
from messagelog.compose.model import Content, Entry, People, Pins
from messagelog.compose.recognise import entry_of, syntax_of
from messagelog.compose.said import media_lines, text_lines
from messagelog.compose.speakers import contact, contact_with_number
from messagelog.compose.times import duration, stamp
from messagelog.messages import Entity, MessageKind, Owner, Party, Thread

Said = tuple[str, Sequence[str | Link]]
"""Title and lines of an entry."""

_ALIVE = "Alive"
_ASSIGNED = "ThreadAssignedHint"
_CHANGES = {"ThreadResolvedHint": "Resolved", "ThreadReopenedHint": "Reopened"}


def compose_thread(pins: Pins, people: People, thread: Thread, key: bytes) -> Content:
    """The text of a new activity for a shared thread."""
    texts = [block.text for block in thread_blocks(pins, people, thread, key)]
    return Content(
        subject=words.subject({MessageKind.THREAD}, (), contact(people)),
        body=syntax_of(pins).separator.join(texts),
    )


def thread_blocks(pins: Pins, people: People, thread: Thread, key: bytes) -> list[Entry]:
    """All that is our part of the text: the summary (without id) and an entry per entity that is shown."""
    blocks = [_summary(pins, people, thread)]
    assigned: Party | None = None
    for entity in thread.entities:
        said = _said(entity, people, thread, assigned)
        if said is not None:
            title, lines = said
            at = entity.happened_at
            blocks.append(Block(title, lines, stamp(at, pins.zone), at or 0, entity.id))
        if entity.record_type == _ASSIGNED:
            assigned = entity.assignee
    return [entry_of(block, pins, key) for block in blocks]


def _said(entity: Entity, people: People, thread: Thread, assigned: Party | None) -> Said | None:
    """What happened; None for what is not shown: deleted things, and hints that tell nothing new."""
    if (entity.availability or _ALIVE) != _ALIVE:
        return None
    if entity.record_type in {"AliveMessage", None}:
        return _message(entity, people, thread)
    if entity.record_type == "AliveNote":
        author = _agent(entity.author) or words.UNKNOWN_AGENT
        return f"Note by {author}", text_lines(entity.body_text) or [words.NO_TEXT]
    by = _agent(entity.initiator or entity.author)
    if entity.record_type == _ASSIGNED:
        return _assignment(entity, assigned, by), ()
    change = _CHANGES.get(entity.record_type or "")
    return (_by(change, by), ()) if change else None


def _message(entity: Entity, people: People, thread: Thread) -> Said:
    lines = [*text_lines(entity.body_text), *media_lines(entity.media)] or [words.NO_TEXT]
    if not _is_outbound(entity):
        return contact(people), lines
    failed = words.failure(entity.message_status)
    who = _agent(entity.author) or _owner_name(thread.owner) or words.UNKNOWN_AGENT
    return who, [*lines, failed] if failed else lines


def _is_outbound(entity: Entity) -> bool:
    """Without a direction, an author tells: only our side has one."""
    return entity.direction.casefold() == "outbound" if entity.direction else entity.author is not None


def _assignment(entity: Entity, assigned: Party | None, by: str) -> str:
    before, now = _agent(entity.previous_assignee or assigned), _agent(entity.assignee)
    change = f"Assigned to {now}" if now else "Unassigned"
    if before and before != now:
        change = f"Assigned from {before} to {now}" if now else f"Unassigned from {before}"
    return _by(change, by)


def _by(what: str, who: str) -> str:
    return f"{what} by {who}" if who else what


def _summary(pins: Pins, people: People, thread: Thread) -> Block:
    times = [time for entity in thread.entities if (time := entity.happened_at) is not None]
    lines = [
        _line("Owner", _owner(thread.owner)),
        _line("Number", clean_line(thread.owner_party.phone_number) if thread.owner_party else ""),
        _line(
            "Status", " - ".join(filter(None, [clean_line(thread.status), clean_line(thread.status_reason)]))
        ),
        _line("Assigned to", _agent(thread.assignee)),
        _line("Agents", ", ".join(_agents(people, thread))),
    ]
    if times:
        lines.append(_line("Started", stamp(min(times), pins.zone)))
        lines.append(_line("Last activity", stamp(max(times), pins.zone)))
        lines.append(_line("Duration", duration(max(times) - min(times))))
    title = words.SUBJECTS[MessageKind.THREAD].format(name=contact_with_number(people))
    return Block(title, [*filter(None, lines), words.zone_note(pins.zone)])


def _line(name: str, value: str) -> str:
    return f"{name}: {value}" if value else ""


def _owner(owner: Owner | None) -> str:
    name = _owner_name(owner)
    return f"{name} (call queue)" if owner and name and owner.extension_type == "Department" else name


def _owner_name(owner: Owner | None) -> str:
    return clean_line(owner.name) if owner else ""


def _agent(someone: Party | None) -> str:
    return clean_line(someone.name or someone.extension_number or someone.phone_number) if someone else ""


def _agents(people: People, thread: Thread) -> list[str]:
    """Everybody of our side who took part, each once; never the customer."""
    customer = {clean_line(people.contact_name).casefold(), people.contact_phone}
    if thread.guest_party:
        customer |= {thread.guest_party.phone_number, clean_line(thread.guest_party.name).casefold()}
    seen: set[str | None] = customer
    names = []
    for someone in _our_side(thread):
        name = _agent(someone)
        keys = {name.casefold(), someone.extension_id, someone.phone_number} - {None, ""}
        if name and not keys & seen:
            names.append(name)
        if name:
            seen |= keys
    return names


def _our_side(thread: Thread) -> Iterable[Party]:
    for entity in thread.entities:
        author = entity.author if entity.record_type == "AliveNote" or _is_outbound(entity) else None
        yield from (someone for someone in (author, entity.initiator, entity.assignee) if someone)
    if thread.assignee:
        yield thread.assignee
