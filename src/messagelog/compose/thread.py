"""A shared thread as a person reads it in the CRM: a summary, then what happened, oldest first."""

from collections.abc import Sequence

from messagelog.compose import earlier
from messagelog.compose.blocks import Block, Link
from messagelog.compose.clean import clean_line
from messagelog.compose.detect import entry_of, syntax_of
from messagelog.compose.entry_lines import media_lines, text_lines
from messagelog.compose.failures import failure_line
from messagelog.compose.model import Content, Entry, Participants, TextSettings
from messagelog.compose.names import Names
from messagelog.compose.senders import contact, contact_with_number, first_of
from messagelog.compose.shorten import shorten
from messagelog.compose.times import day
from messagelog.compose.wording import MOST_NAMED, Words, words_of
from messagelog.messages import Entity, MessageKind, Owner, Party, Thread

TitleAndLines = tuple[str, Sequence[str | Link]]
"""Title and lines of an entry."""

_ALIVE = "Alive"
_MESSAGES = frozenset({"AliveMessage", None})
_NOTE = "AliveNote"
_ASSIGNED = "ThreadAssignedHint"
_RESOLVED, _REOPENED = "ThreadResolvedHint", "ThreadReopenedHint"
_DELETED = frozenset({"DeletedMessage", "DeletedNote"})


def compose_thread(
    text_settings: TextSettings,
    participants: Participants,
    thread: Thread,
    key: bytes,
    written: Sequence[Entry] | None = None,
    *,
    continued: bool = False,
) -> Content:
    """Return the text of a new activity for a shared thread. `written` are its blocks, if they exist already."""
    blocks = thread_blocks(text_settings, participants, thread, key) if written is None else written
    return Content(
        subject=thread_subject(text_settings, participants, thread, continued=continued),
        body=syntax_of(text_settings).separator.join([block.text for block in blocks]),
    )


def thread_subject(
    text_settings: TextSettings, participants: Participants, thread: Thread, *, continued: bool = False
) -> str:
    """Return the subject of an activity for a shared thread: the contact, and the day on which the thread began."""
    words = words_of(text_settings)
    subject = words.thread_title(contact(participants, words))
    times = _times(thread, [entity for entity in thread.entities if _is_alive(entity)])
    if times and not text_settings.is_earlier:
        subject = words.subject_with_day(subject, day(min(times), text_settings.zone, text_settings.language))
    return words.continuation(subject) if continued else subject


def thread_blocks(
    text_settings: TextSettings, participants: Participants, thread: Thread, key: bytes
) -> list[Entry]:
    """Return our part of the text: the summary (without id) and an entry for each entity that is shown."""
    parts = earlier.thread_parts if text_settings.is_earlier else _parts
    shown = parts(text_settings, participants, thread)
    if text_settings.limit is None:
        return [entry_of(block, text_settings, key) for block in shown]
    room = text_settings.limit - text_settings.measure.of(
        continuation_heading(text_settings, participants, key).text + syntax_of(text_settings).separator
    )
    return [entry_of(shorten(block, text_settings, room), text_settings, key) for block in shown]


def continuation_heading(text_settings: TextSettings, participants: Participants, key: bytes) -> Entry:
    """Return the heading of an activity that continues a thread."""
    words = words_of(text_settings)
    title = words.continuation(words.thread_title(contact_with_number(participants, words)))
    return entry_of(Block(title, [words.zone(text_settings.zone)]), text_settings, key)


def _parts(text_settings: TextSettings, participants: Participants, thread: Thread) -> list[Block]:
    """Return the summary, and a block for each entity that is shown."""
    words = words_of(text_settings)
    alive = [entity for entity in thread.entities if _is_alive(entity)]
    names = Names(thread, participants)
    shown = [_summary(text_settings, participants, thread, alive, names)]
    renderer = _EntityRenderer(words, participants, names)
    for entity in alive:
        said = renderer.render(entity)
        if said is not None:
            at = entity.happened_at
            shown.append(
                Block(*said, words.when(at, text_settings.zone), at or 0, entity.id, MessageKind.THREAD)
            )
    return shown


class _EntityRenderer:
    """Renders entities one after the other, and remembers the assignee."""

    def __init__(self, words: Words, participants: Participants, names: Names) -> None:
        self._words = words
        self._participants = participants
        self._names = names
        self._assigned: Party | None = None

    def render(self, entity: Entity) -> TitleAndLines | None:
        """Return title and lines; None for hints with no news, which are not shown."""
        words, name = self._words, self._names.of
        if entity.record_type in _MESSAGES:
            return self._message(entity)
        if entity.record_type == _NOTE:
            author = self._names.first(entity.author, entity.initiator, entity.from_) or words.unknown_agent
            return words.note(author), text_lines(entity.body_text) or [words.no_text]
        by = name(entity.initiator) or name(entity.author)
        if entity.record_type == _ASSIGNED:
            before, now = name(entity.previous_assignee or self._assigned), name(entity.assignee)
            self._assigned = entity.assignee
            return words.assignment("" if before == now else before, now, by), ()
        if entity.record_type == _RESOLVED:
            return words.resolution_line(by), ()
        return (words.reopening_line(by), ()) if entity.record_type == _REOPENED else None

    def _message(self, entity: Entity) -> TitleAndLines:
        words, names = self._words, self._names
        lines: list[str | Link] = [*text_lines(entity.body_text)]
        if entity.attachments:
            lines += media_lines(entity.media, words)
        if not lines:
            lines.append(words.no_text)
        if not names.is_outbound(entity):
            return contact(self._participants, words), lines
        failed = failure_line([entity.message_status], [entity.delivery_error_code], words)
        who = names.first(entity.author, entity.from_) or names.owner
        who = who or first_of(self._participants.agent_name) or words.unknown_agent
        return who, [*lines, failed] if failed else lines


def _is_alive(entity: Entity) -> bool:
    """Return whether an entity exists, and has something to show."""
    if entity.record_type in _MESSAGES or entity.record_type == _NOTE:
        return entity.is_there
    return (entity.availability or _ALIVE) == _ALIVE and entity.record_type not in _DELETED


def _summary(
    text_settings: TextSettings,
    participants: Participants,
    thread: Thread,
    alive: Sequence[Entity],
    names: Names,
) -> Block:
    """Return the heading: who takes part, the status, the times, the counts."""
    words = words_of(text_settings)
    number = clean_line(thread.owner_party.phone_number) if thread.owner_party else ""
    assignee = names.of(thread.assignee)
    lines = [words.owner(names.owner, queue=_is_queue(thread.owner)) if names.owner else ""]
    lines.append(words.number(number) if number else "")
    lines.append(
        words.participants_line(contact(participants, words), names.agents(thread, alive), MOST_NAMED)
    )
    lines.append(words.assignee_line(assignee) if assignee else "")
    lines += _course(text_settings, thread, alive)
    kinds = [entity.record_type for entity in alive]
    messages, notes = sum(kind in _MESSAGES for kind in kinds), kinds.count(_NOTE)
    lines.append(words.content_counts(messages, notes))
    title = words.thread_title(contact_with_number(participants, words))
    return Block(title, [*filter(None, lines), words.zone(text_settings.zone)])


def _is_queue(owner: Owner | None) -> bool:
    """Return whether an inbox is a call queue's: by its type, else by its name."""
    if owner is None:
        return False
    return (
        owner.extension_type == "Department"
        if owner.extension_type
        else "queue" in clean_line(owner.name).casefold()
    )


def _course(text_settings: TextSettings, thread: Thread, alive: Sequence[Entity]) -> list[str]:
    """Return the status, the first and last times, and the duration."""
    words = words_of(text_settings)
    status, resolved = _status(thread, alive)
    reason = words.status_reason(clean_line(thread.status_reason)) if resolved else ""
    lines = [words.status(status, reason)]
    times = _times(thread, alive)
    if not times:
        return lines
    first, last = min(times), max(times)
    ends = [time for entity in alive if entity.record_type == _RESOLVED and (time := entity.happened_at)]
    if resolved and ends:
        last = max(ends)
    return [
        *lines,
        words.start_line(words.when(first, text_settings.zone)),
        words.end_line(words.when(last, text_settings.zone), resolved=resolved),
        words.duration_line(last - first, resolved=resolved),
    ]


def _times(thread: Thread, alive: Sequence[Entity]) -> list[int]:
    """Return when the thread began, and when something happened in it."""
    times = [thread.creation_time, *(entity.happened_at for entity in alive)]
    return [time for time in times if time is not None]


def _status(thread: Thread, alive: Sequence[Entity]) -> tuple[str, bool]:
    """Return RingCentral's word for the status, and whether that is resolved; without one, the hints decide."""
    status = clean_line(thread.status)
    if not status:
        changes = [entity.record_type for entity in alive if entity.record_type in {_RESOLVED, _REOPENED}]
        status = "Resolved" if changes[-1:] == [_RESOLVED] else "Open"
    return status, status.casefold() == "resolved"
