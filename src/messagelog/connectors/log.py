"""The argument of `create_message_log` and `update_message_log`: one typed object with everything about the log."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from messagelog import compose
from messagelog.compose import KnownEntry
from messagelog.connectors.errors import BodyFull
from messagelog.messages import Media, Message, MessageKind, Thread

if TYPE_CHECKING:
    from messagelog.compose import Change, Content, Entry, Participants, TextSettings
    from messagelog.connectors.models import Contact
    from messagelog.messages import Conversation, Opener


@dataclass(frozen=True, slots=True)
class ExistingLog:
    """The activity that an update is for."""

    third_party_log_id: str


class LoggedMessage:
    """One message to be logged: RingCentral's `record`, and the fields that connectors mostly need."""

    def __init__(self, record: Message, opener: Opener | None = None) -> None:
        self.record = record
        self._opener = opener

    @property
    def id(self) -> str:
        """RingCentral's id of the message, as text."""
        return self.record.id

    @property
    def kind(self) -> MessageKind:
        """SMS (MMS too), VoiceMail or Fax."""
        return self.record.kind

    @property
    def text(self) -> str:
        """The text; empty for media alone."""
        return self.record.body_text

    @property
    def direction(self) -> str | None:
        """`Inbound` or `Outbound`."""
        return self.record.direction

    @property
    def sent_at(self) -> int | None:
        """When it was sent or received, in epoch milliseconds (UTC)."""
        return self.record.sent_at

    @property
    def typing_duration_ms(self) -> float | None:
        """How long the user wrote it, in milliseconds; None if the client does not say."""
        return self.record.typing_duration_ms

    @cached_property
    def media(self) -> Media:
        """Its recording, fax, pictures and videos: links to view, and objects that can be opened as a stream."""
        return Media(self.record, self._opener)


class SentBlocks:
    """The blocks of a shared thread that were, or may have been, written into its activity.

    The journal keeps them packed: of each block the hash of its text, a short hash of its entity's id, and its state. A
    block is noted before its call leaves, and confirmed when the call is known to be done. It is closed when its
    activity is full: the thread goes on in another one, without it.
    """

    _HASH, _ID = 16, 8
    _MAYBE, _PENDING, _CONFIRMED, _CLOSED = 0, 1, 2, 3

    def __init__(self, packed: bytes = b"") -> None:
        size = self._HASH + self._ID + 1
        records = [packed[at : at + size] for at in range(0, len(packed), size)]
        self._blocks = {record[:-1]: record[-1] for record in records}

    @property
    def packed(self) -> bytes:
        """The blocks as bytes for the journal."""
        return b"".join(block + bytes((sure,)) for block, sure in sorted(self._blocks.items()))

    @property
    def hashes(self) -> frozenset[bytes]:
        """The text hashes of all blocks that may be in the activity."""
        return self._hashes(self._MAYBE)

    @property
    def pending(self) -> frozenset[bytes]:
        """The text hashes of the last call's blocks, and of those confirmed before it."""
        return self._hashes(self._PENDING)

    def has_text(self, entry: Entry) -> bool:
        """Return whether this very text is confirmed."""
        return entry.hash in self._texts

    def has_entity(self, entry: Entry) -> bool:
        """Return whether this entity is confirmed with any text; of a heading, whether this text is."""
        return self.has_text(entry) if entry.id is None else self._short(entry.id) in self._entities

    @cached_property
    def _texts(self) -> frozenset[bytes]:
        return self._hashes(self._CONFIRMED)

    @cached_property
    def _entities(self) -> frozenset[bytes]:
        return frozenset(
            block[self._HASH :] for block, sure in self._blocks.items() if sure == self._CONFIRMED
        )

    def with_pending(self, entries: Sequence[Entry]) -> SentBlocks:
        """Return these blocks, and the given entries as under way."""
        made = SentBlocks()
        made._blocks = {
            block: self._MAYBE if sure == self._PENDING else sure for block, sure in self._blocks.items()
        }
        for entry in entries:
            block = entry.hash + self._short(entry.id)
            made._blocks[block] = max(made._blocks.get(block, self._MAYBE), self._PENDING)
        return made

    def with_confirmed(self) -> SentBlocks:
        """Return these blocks, with those that were under way confirmed."""
        made = SentBlocks()
        made._blocks = {
            block: self._CONFIRMED if sure == self._PENDING else sure for block, sure in self._blocks.items()
        }
        return made

    def with_closed(self) -> SentBlocks:
        """Return the confirmed blocks, as those of a full activity. Blocks that may not be there are dropped."""
        made = SentBlocks()
        made._blocks = {
            block: self._CLOSED for block, sure in self._blocks.items() if sure >= self._CONFIRMED
        }
        return made

    def closed_only(self) -> SentBlocks:
        """Return the blocks of full activities, for the case that the present activity is gone."""
        made = SentBlocks()
        made._blocks = {block: sure for block, sure in self._blocks.items() if sure == self._CLOSED}
        return made

    def is_closed(self, entry: Entry) -> bool:
        """Return whether this entity is in a full activity."""
        return entry.id is not None and self._short(entry.id) in self._closed_entities

    @cached_property
    def _closed_entities(self) -> frozenset[bytes]:
        return frozenset(block[self._HASH :] for block, sure in self._blocks.items() if sure == self._CLOSED)

    def _hashes(self, least: int) -> frozenset[bytes]:
        return frozenset(
            block[: self._HASH] for block, sure in self._blocks.items() if least <= sure < self._CLOSED
        )

    def _short(self, id_: str | None) -> bytes:
        if id_ is None:
            return bytes(self._ID)
        return hashlib.blake2b(id_.encode(), digest_size=self._ID).digest()


NONE_SENT = SentBlocks()


class JournalView(msgspec.Struct, frozen=True):
    """What the journal knows of the activity's text, so that adding to it is idempotent.

    `known`: time, hash and id of each entry logged before; `before`: how often the new entries' hashes were in the body
    before the call, if it was read; `sent`: the blocks of a shared thread; `appends`: whether the CRM only takes
    additions; `linked`: the contact's activities of other conversation logs; `continued`: whether it goes on from a
    full activity; `size`: how much was written into one that can only be added to, if that is known.
    """

    known: Sequence[KnownEntry] = ()
    before: Mapping[bytes, int] | None = None
    sent: SentBlocks = NONE_SENT
    appends: bool = False
    linked: Collection[str] = ()
    continued: bool = False
    size: int | None = None

    @property
    def known_hashes(self) -> set[bytes]:
        """The hashes of the entries logged before."""
        return {each[1] for each in self.known}

    def is_ambiguous(self, hashes: Iterable[bytes]) -> bool:
        """Return whether one of these reads like an earlier entry, and how often that one stands is not known."""
        return self.before is None and not self.known_hashes.isdisjoint(hashes)

    def new_counts(self, found: Mapping[bytes, int]) -> Counter[bytes]:
        """Return how often entries are in a body, which `found` counts by hash, beyond those that were there before."""
        before = Counter(each[1] for each in self.known) if self.before is None else self.before
        return Counter({hash_: count - before.get(hash_, 0) for hash_, count in found.items()})


class ChangeForms:
    """The texts of a message's change, and the one that the activity was given last."""

    def __init__(self, texts: Change, *, appends: bool) -> None:
        self.texts = texts
        self.given: Entry | None = texts.line if appends else texts.entry
        """None if the activity took none: the message's entry was edited, and a line cannot say it."""

    def find_given(self, counts: Mapping[bytes, int]) -> bool:
        """Return whether one of the texts is in the activity, by how often each is there beyond before."""
        forms = (self.texts.entry, self.texts.short, self.texts.line)
        self.given = next((form for form in forms if form is not None and counts.get(form.hash, 0) > 0), None)
        return self.given is not None

    @property
    def is_line(self) -> bool:
        """Whether it is a line of its own beside the message's entry."""
        return self.given is not None and self.given == self.texts.line


class MessageLog:
    """One conversation log on its way to a CRM.

    `contact` is the chosen contact, `correspondents` are the other matched contacts of a group SMS, `messages` the new
    messages oldest first (one, unless the connector takes batches), `thread` the shared SMS thread (then `messages` is
    empty). `existing` is set for an update. `additional_submission` holds the manifest's custom fields.
    `idempotency_key` is stable over retries: the CRM's external id, if it has one. It contains the journal's id.

    `changes` are messages that are in the activity already, and whose records say something new: a text was not
    delivered, a voicemail has its transcript. Then `messages` is empty, there is no form, and it is an update; `amend`
    and `text` contain what is to be written.
    """

    def __init__(
        self,
        *,
        contact: Contact,
        correspondents: tuple[Contact, ...],
        messages: tuple[LoggedMessage, ...],
        thread: Thread | None,
        conversation: Conversation,
        additional_submission: dict[str, Any],
        idempotency_key: str,
        existing: ExistingLog | None,
        text_settings: TextSettings,
        participants: Participants,
        key: bytes,
        journal: JournalView,
        changes: tuple[LoggedMessage, ...] = (),
        change: ChangeForms | None = None,
    ) -> None:
        self.contact = contact
        self.correspondents = correspondents
        self.messages = messages
        self.thread = thread
        self.conversation = conversation
        self.additional_submission = additional_submission
        self.idempotency_key = idempotency_key
        self.existing = existing
        self._text_settings = text_settings
        self._participants = participants
        self._key = key
        self._journal = journal
        self.changes = changes
        self._change = change

    @property
    def message(self) -> LoggedMessage | None:
        """The first of the new messages; None for a shared thread."""
        return self.messages[0] if self.messages else None

    @cached_property
    def content(self) -> Content | None:
        """Subject and body of an activity with these messages, in the connector's format; None for `custom`."""
        if self._text_settings.format is compose.LogFormat.CUSTOM:
            return None
        continued = self._journal.continued
        if self.thread is not None:
            of_thread = (self._text_settings, self._participants, self.thread, self._key, self.entries)
            return compose.compose_thread(*of_thread, continued=continued)
        given = (self._text_settings, self._participants, self._records, self.conversation, self._key)
        return compose.compose_log(*given, self.entries, continued=continued)

    @cached_property
    def entries(self) -> list[Entry]:
        """The new entries (of a shared thread: all blocks of this activity) as rendered; empty for `custom`."""
        if self._text_settings.format is compose.LogFormat.CUSTOM:
            return []
        if self._change is not None:
            return [self._change.texts.entry]
        if self.thread is not None:
            blocks = self._blocks
            if self.existing is not None:  # `amend` sees in the body whether they fit
                return blocks
            return blocks[: compose.fit_blocks(self._text_settings, blocks)]
        return compose.entries(
            self._text_settings, self._participants, self._records, self.conversation, self._key
        )

    @cached_property
    def _blocks(self) -> list[Entry]:
        """A thread's blocks, without those in a full activity; none for `custom`."""
        if self.thread is None or self._text_settings.format is compose.LogFormat.CUSTOM:
            return []
        blocks = compose.thread_blocks(self._text_settings, self._participants, self.thread, self._key)
        if not self._journal.continued:
            return blocks
        heading = compose.continuation_heading(self._text_settings, self._participants, self._key)
        sent = self._journal.sent
        return [heading, *(each for each in blocks if each.id is not None and not sent.is_closed(each))]

    @property
    def has_more(self) -> bool:
        """Whether a shared thread has more than this activity can hold, and so goes on in another one."""
        return self.thread is not None and len(self.entries) < len(self._blocks)

    @cached_property
    def text(self) -> str:
        """Only the new entries, for CRMs whose activities can be added to but not changed.

        Raises `BodyFull` if the activity has no room for them.
        """
        if self._change is not None:
            text = compose.append_change(self._text_settings, self._change.texts)
        elif self.thread is None:
            text = compose.append_text(self._text_settings, self.entries)
        else:
            text = compose.append_thread_text(self._text_settings, self._unsent)
        text_settings, size = self._text_settings, self._journal.size
        if (
            size is not None
            and text_settings.limit is not None
            and size + text_settings.measure.of(text) > text_settings.limit
        ):
            raise BodyFull
        return text

    def amend(self, body: str) -> str:
        """Return the activity's `body` with the new entries in time order; people's own text stays as it is.

        An entry that is there already is not added again, so writing the result twice changes nothing. Raises
        `BodyFull` if the body has no room for them: let it pass, and the log goes on in another activity.
        """
        journal = self._journal
        if self._change is not None:
            return self._amend_with_change(body, self._change)
        if self.thread is not None:
            amended = compose.replace_thread(
                body, self._text_settings, self.entries, journal.sent.hashes, self._key
            )
        else:
            amended = compose.amend(
                body, self._text_settings, self.entries, journal.known, self._key, journal.before
            )
        if amended != body and not self._text_settings.fits(amended):
            raise BodyFull
        return amended

    def _amend_with_change(self, body: str, change: ChangeForms) -> str:
        journal = self._journal
        amended = compose.amend_change(
            body, self._text_settings, change.texts, journal.known, self._key, journal.before
        )
        if amended is None:
            raise BodyFull
        self._holds_change(amended, change)
        return amended

    def _holds_change(self, body: str, change: ChangeForms) -> bool:
        """Return whether `body` has one of the change's texts; `change` remembers which."""
        journal = self._journal
        counts = compose.count_change(body, self._text_settings, change.texts, journal.known, self._key)
        return change.find_given(journal.new_counts(counts))

    def holds(self, body: str) -> bool:
        """Return whether `body` has all new entries, beyond those that were in it before."""
        if self._change is not None:
            return self._holds_change(body, self._change)
        new = Counter(entry.hash for entry in (self.entries if self.thread is None else self._unsent))
        others = self._journal.known_hashes
        found = compose.count_entries(body, self._text_settings, new.keys(), self._key, others)
        if self.thread is not None:
            return all(found.get(hash_, 0) > 0 for hash_ in new)
        return bool(new) and new <= self._journal.new_counts(found)

    def recognises(self, third_party_log_id: str, body: str, external_id: str | None = None) -> bool:
        """Return whether an earlier create of this log made this activity of the contact.

        `external_id` is the one that the CRM keeps with the activity, None if there is none. It decides: an activity
        with another log's or journal's id is never taken for ours, whatever its text is.
        """
        if external_id:
            return external_id == self.idempotency_key
        if third_party_log_id in self._journal.linked:
            return False
        if self.thread is None:
            return self.holds(body)
        # The create may have sent an older snapshot than this one: its blocks were noted.
        brought = self._journal.sent.pending
        return bool(brought) and len(
            compose.count_entries(body, self._text_settings, brought, self._key)
        ) == len(brought)

    @property
    def _unsent(self) -> list[Entry]:
        """The entries of a shared thread that the CRM lacks: new entities if it appends, else every new text."""
        sent = self._journal.sent
        known = sent.has_entity if self._journal.appends else sent.has_text
        return [entry for entry in self.entries if not known(entry)]

    @property
    def _records(self) -> list[Message]:
        return [message.record for message in self.changes or self.messages]
