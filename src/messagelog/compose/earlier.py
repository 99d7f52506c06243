"""The wording of templates 1 and 2, for activities that were created with it and for calls under way.

No text here may change, since an entry is recognised by its text. The other modules compose today's texts.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from messagelog.compose.blocks import Block, Link
from messagelog.compose.clean import clean, clean_line
from messagelog.compose.model import Participants, TextSettings
from messagelog.compose.senders import contact, contact_with_number, first_of, party, same_number
from messagelog.compose.times import seconds
from messagelog.compose.wording import MOST_NAMED, Reason, Words, words_of
from messagelog.messages import (
    Conversation,
    Entity,
    MediaAttachment,
    Message,
    MessageKind,
    Owner,
    Party,
    Thread,
)

_A_NUMBER = re.compile(r"\+?[\d\s().-]+")
_VOICE_MESSAGE = "voice message"
_LONGEST_RECORDING = 100 * 60 * 60  # seconds: a longer length is an error in the record
_SPOKEN_OR_SENT = frozenset({MessageKind.VOICEMAIL, MessageKind.FAX})


def message_lines(message: Message, words: Words, *, outbound: bool) -> list[str | Link]:
    """Return text, media, transcript, and a failed delivery, as lines; there is at least one."""
    kind = message.kind
    lines: list[str | Link] = [*text_lines(_own_text(message, kind))]
    parts = message.media.parts if message.attachments else ()
    if parts:
        lines += media_lines(parts, words, message)
    elif kind in _SPOKEN_OR_SENT:
        lines.append(_label(None, words, message))
    if message.transcript and (transcript := clean(message.transcript)):
        lines += text_lines(words.transcript(transcript))
    if not lines:
        lines.append(words.no_text)
    return [*lines, *_failures(message, words)] if outbound else lines


def text_lines(text: str) -> list[str]:
    """Return text from outside as clean lines."""
    cleaned = clean(text)
    return cleaned.split("\n") if cleaned and not cleaned.isspace() else []


def media_lines(
    parts: Iterable[MediaAttachment], words: Words, message: Message | None = None
) -> list[str | Link]:
    """Return a line for each file with its details, as a link if there is one."""
    labelled = [(_label(attachment, words, message), attachment.view_link) for attachment in parts]
    return [Link(label, url) if url and url.startswith("https://") else label for label, url in labelled]


def _own_text(message: Message, kind: MessageKind) -> str:
    """Return what a person wrote. RingCentral itself fills the subject of a voicemail or fax."""
    text = message.body_text
    if kind in _SPOKEN_OR_SENT:
        line = text.strip()
        sender = message.from_.name if message.from_ else None
        if line.casefold() == _VOICE_MESSAGE or _A_NUMBER.fullmatch(line) or line == sender:
            return ""
    return text


def _label(attachment: MediaAttachment | None, words: Words, message: Message | None) -> str:
    without_file = "fax" if message and message.kind is MessageKind.FAX else "recording"
    kind = attachment.kind if attachment else without_file
    known = []
    if attachment and attachment.duration and 0 < attachment.duration < _LONGEST_RECORDING:
        known.append(seconds(attachment.duration))
    if kind == "fax" and message:
        known.append(words.pages(message.fax_page_count, clean_line(message.fax_resolution)))
    if kind == "file" and attachment:
        known.append(clean_line(attachment.content_type))
    details = words.comma.join(part for part in known if part)
    name = clean_line(attachment.file_name) if attachment else ""
    return " ".join(part for part in (words.media(kind), name, f"({details})" if details else "") if part)


def _failures(message: Message, words: Words) -> list[str]:
    """Return a failed delivery in words: why if it is known; to whom, if it is known and there are other recipients."""
    to = [someone for someone in message.to if someone is not None]
    if len(to) > 1:
        each = [
            failure(
                words,
                someone.message_status,
                someone.fax_error_code,
                clean_line(someone.name or someone.phone_number),
            )
            for someone in to
        ]
        if any(each):
            return [line for line in each if line]
    reason = next((someone.fax_error_code for someone in to if someone.fax_error_code), None)
    statuses = [message.message_status, *[someone.message_status for someone in to]]
    return [line for status in statuses if (line := failure(words, status, reason))][:1]


_FAILED: Final = frozenset({"deliveryfailed", "failed", "undelivered"})
_REASONS: Final[dict[str, Reason]] = {
    "noanswer": "no answer",
    "nofaxmachine": "no fax machine",
    "linebusy": "line busy",
    "alllinesinuse": "line busy",
    "callerhungup": "hung up",
    "calldeclined": "call declined",
    "notaccepted": "call declined",
    "invalidnumber": "wrong number",
    "wrongnumber": "wrong number",
    "unknowncountrycode": "wrong number",
    "toomanypages": "too many pages",
    "sentpartially": "partially",
    "notenoughcredits": "no credit",
}


def failure(words: Words, status: str | None, code: str | None = None, name: str | None = None) -> str | None:
    """Return a failed delivery in words: why if it is known, to whom if several; None for any other status."""
    status = (status or "").casefold()
    if status not in _FAILED and status != "sendingfailed":
        return None
    reason = _REASONS.get((code or "").casefold())
    return words.failure("deliveryfailed" if reason else status, reason, name)


# -- senders


def speaker(
    message: Message, participants: Participants, conversation: Conversation, words: Words, *, outbound: bool
) -> str:
    """Return the sender's name; without one, on the other side the contact's, or the number; on our side the user's."""
    named = message.from_.name if message.from_ else None
    if outbound:
        author = message.author.name if message.author else None
        names = (author, named, participants.agent_name, conversation.agent_name)
        return first_of(*names) or words.unknown_agent
    number = message.from_.phone_number if message.from_ else None
    if len(conversation.correspondents) <= 1 or same_number(number, participants.contact_phone):
        return first_of(named, participants.contact_name, number) or words.unknown_contact
    return first_of(named, number) or words.unknown_contact


def agent(participants: Participants, conversation: Conversation) -> str:
    """Return our side's name, else number; empty if neither is known."""
    return first_of(participants.agent_name, conversation.agent_name)


def others(participants: Participants, conversation: Conversation) -> list[str]:
    """Return the participants of a group who are not the contact, by number or name."""
    if len(conversation.correspondents) <= 1:
        return []
    listed = [party(each) for each in conversation.correspondents if not _is_contact(each, participants)]
    return list(filter(None, listed))


def _is_contact(someone: Party, participants: Participants) -> bool:
    name = clean_line(someone.name).casefold()
    return same_number(someone.phone_number, participants.contact_phone) or bool(
        name and name == clean_line(participants.contact_name).casefold()
    )


# -- threads

TitleAndLines = tuple[str, Sequence[str | Link]]
"""Title and lines of an entry."""

_ALIVE = "Alive"
_MESSAGES = frozenset({"AliveMessage", None})
_NOTE = "AliveNote"
_ASSIGNED = "ThreadAssignedHint"
_RESOLVED, _REOPENED = "ThreadResolvedHint", "ThreadReopenedHint"
_DELETED = frozenset({"DeletedMessage", "DeletedNote"})


def thread_parts(text_settings: TextSettings, participants: Participants, thread: Thread) -> list[Block]:
    """Return the summary, and a block for each entity that is shown."""
    words = words_of(text_settings)
    alive = [
        entity
        for entity in thread.entities
        if (entity.availability or _ALIVE) == _ALIVE and entity.record_type not in _DELETED
    ]
    shown = [_summary(text_settings, participants, thread, alive)]
    renderer = _EntityRenderer(words, contact(participants, words), _owner_name(thread.owner))
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

    def __init__(self, words: Words, customer: str, owner: str) -> None:
        self._words = words
        self._customer = customer
        self._owner = owner
        self._assigned: Party | None = None

    def render(self, entity: Entity) -> TitleAndLines | None:
        """Return title and lines; None for hints with no news, which are not shown."""
        words = self._words
        if entity.record_type in _MESSAGES:
            return self._message(entity)
        if entity.record_type == _NOTE:
            author = _agent(entity.author) or words.unknown_agent
            return words.note(author), text_lines(_entity_text(entity)) or [words.no_text]
        by = _agent(entity.initiator or entity.author)
        if entity.record_type == _ASSIGNED:
            before, now = _agent(entity.previous_assignee or self._assigned), _agent(entity.assignee)
            self._assigned = entity.assignee
            return words.assignment("" if before == now else before, now, by), ()
        if entity.record_type == _RESOLVED:
            return words.resolution_line(by), ()
        return (words.reopening_line(by), ()) if entity.record_type == _REOPENED else None

    def _message(self, entity: Entity) -> TitleAndLines:
        words = self._words
        lines: list[str | Link] = [*text_lines(_entity_text(entity))]
        if entity.attachments:
            lines += media_lines(entity.media.parts, words)
        if not lines:
            lines.append(words.no_text)
        if not _is_outbound(entity):
            return self._customer, lines
        failed = failure(words, entity.message_status)
        who = _agent(entity.author) or self._owner or words.unknown_agent
        return who, [*lines, failed] if failed else lines


def _entity_text(entity: Entity) -> str:
    return entity.text or entity.subject or ""


def _is_outbound(entity: Entity) -> bool:
    """Return whether our side sent it. Without a direction: whether there is an author, which only our side has."""
    return entity.direction.casefold() == "outbound" if entity.direction else entity.author is not None


def _summary(
    text_settings: TextSettings, participants: Participants, thread: Thread, alive: Sequence[Entity]
) -> Block:
    """Return the heading: who takes part, the status, the times, the counts."""
    words = words_of(text_settings)
    customer = contact_with_number(participants, words)
    number = clean_line(thread.owner_party.phone_number) if thread.owner_party else ""
    assignee = _agent(thread.assignee)
    owner, owner_name = thread.owner, _owner_name(thread.owner)
    is_queue = owner is not None and owner.extension_type == "Department"
    lines = [words.owner(owner_name, queue=is_queue) if owner_name else ""]
    lines.append(words.number(number) if number else "")
    lines.append(
        words.participants_line(
            contact(participants, words), _agents(participants, thread, alive), MOST_NAMED
        )
    )
    lines.append(words.assignee_line(assignee) if assignee else "")
    lines += _course(text_settings, thread, alive)
    kinds = [entity.record_type for entity in alive]
    messages, notes = sum(kind in _MESSAGES for kind in kinds), kinds.count(_NOTE)
    lines.append(words.content_counts(messages, notes))
    return Block(words.thread_title(customer), [*filter(None, lines), words.zone(text_settings.zone)])


def _course(text_settings: TextSettings, thread: Thread, alive: Sequence[Entity]) -> list[str]:
    """Return the status, the first and last times, and the duration."""
    words = words_of(text_settings)
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
        words.start_line(words.when(first, text_settings.zone)),
        words.end_line(words.when(last, text_settings.zone), resolved=resolved),
        words.duration_line(last - first, resolved=resolved),
    ]


def _status(thread: Thread, alive: Sequence[Entity]) -> tuple[str, bool]:
    """Return RingCentral's word for the status, and whether that is resolved; without one, the hints decide."""
    status = clean_line(thread.status)
    if not status:
        changes = [entity.record_type for entity in alive if entity.record_type in {_RESOLVED, _REOPENED}]
        status = "Resolved" if changes[-1:] == [_RESOLVED] else "Open"
    return status, status.casefold() == "resolved"


def _owner_name(owner: Owner | None) -> str:
    return clean_line(owner.name) if owner else ""


def _agent(someone: Party | None) -> str:
    return clean_line(someone.name or someone.extension_number or someone.phone_number) if someone else ""


def _agents(participants: Participants, thread: Thread, alive: Sequence[Entity]) -> list[str]:
    """Return all who took part on our side, each once; never the customer."""
    seen: set[str | None] = {clean_line(participants.contact_name).casefold(), participants.contact_phone}
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
