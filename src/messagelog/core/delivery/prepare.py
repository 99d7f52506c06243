"""Prepares calls: reads what a call needs, and composes the typed object that the connector is given."""

from __future__ import annotations

import base64
import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from msgspec.structs import replace

from messagelog import compose
from messagelog.compose import KnownEntry, LogFormat, read_text_settings
from messagelog.connectors import Contact, ExistingLog, LoggedMessage, MessageLog, Session
from messagelog.connectors.log import ChangeForms, JournalView, SentBlocks
from messagelog.core.contacts.resolve import RecentContacts
from messagelog.core.delivery import payload as payloads
from messagelog.core.delivery import runs
from messagelog.core.delivery.correspondents import NOTHING_FOUND, Correspondents, GroupLookup
from messagelog.core.delivery.faults import error_summary
from messagelog.core.delivery.outcomes import earlier_activities
from messagelog.core.delivery.participants import (
    is_looked_up,
    needs_look_up,
    participants_of,
    with_lookup,
    without_uncertainty,
)
from messagelog.core.errors import NothingToChange, NotPrepared
from messagelog.storage import transactions
from messagelog.storage.records.journal import MessageRow, RowState, is_change, message_id_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from messagelog.connectors import Connector
    from messagelog.core.delivery.media import MediaFetcher
    from messagelog.core.delivery.payload import Payload
    from messagelog.storage import Sealer, Store
    from messagelog.storage.records.journal import LogRow

_BETWEEN: Final = 8
"""The characters between a body and what is added to it: line breaks or a tag, which are the connector's own."""

NOTHING_COUNTED: Final = "{}"
"""The counts of a call that needs none: they say that its intent was recorded."""

_log = structlog.get_logger(__name__)


class PreparedCall(msgspec.Struct, frozen=True):
    """A call that is ready to be made: its session, and what the connector is given.

    `rows` are those that it brings, `hashes` their entries' by row id. `fitting` is how many of the rows a new activity
    has room for. `change` are the texts of a call that changes a message, as far as they are ours. `lookup` has what
    the CRM said of a group's numbers, and `new_payloads` the rows' payloads (sealed) with that in them, to be
    journalled before the call leaves.
    """

    session: Session
    log: MessageLog
    rows: tuple[MessageRow, ...]
    hashes: dict[str, bytes]
    journal: JournalView
    fitting: int
    lookup: GroupLookup = NOTHING_FOUND
    new_payloads: dict[str, bytes] = msgspec.field(default_factory=dict)
    change: ChangeForms | None = None

    @property
    def activity(self) -> str:
        """The CRM's id of the activity that the call is for; empty for one that is to be created."""
        return self.log.existing.third_party_log_id if self.log.existing is not None else ""

    @property
    def is_ambiguous(self) -> bool:
        """True if a new entry reads like one that is there: then it must be known how often it was there before."""
        return self.journal.is_ambiguous(self.hashes.values())

    @property
    def pending_blocks(self) -> bytes:
        """The blocks that may be in a shared thread's activity once this call has left, for the journal."""
        return self.journal.sent.with_pending(self.log.entries).packed

    def size_after(self, log: LogRow) -> int:
        """Return the size of an append-only activity once this call is done; 0 for all others.

        A text in the connector's own format cannot be measured.
        """
        text_settings = read_text_settings(log.text_settings)
        if not self.journal.appends or text_settings.format is LogFormat.CUSTOM:
            return 0
        if self.log.existing is None:
            return text_settings.measure.of(_body(self.log))
        return (self.journal.size or 0) + text_settings.measure.of(self.log.text) + _BETWEEN


class CallPreparer:
    """Prepares calls from journal rows. `call_timeout` is in seconds."""

    def __init__(self, store: Store, sealer: Sealer, media: MediaFetcher, *, call_timeout: float) -> None:
        self._store = store
        self._sealer = sealer
        self._media = media
        self._correspondents = Correspondents(RecentContacts(), call_timeout=call_timeout)

    async def prepare(
        self,
        connector: Connector,
        session: Session,
        log: LogRow,
        rows: Sequence[MessageRow],
        *,
        linked: bool = False,
        behind: PreparedCall | None = None,
        first_time: bool = False,
    ) -> PreparedCall:
        """Prepare the call that brings these rows.

        `linked` reads the contact's activities of other logs too, for a search through all of them. `behind` is the
        call of the same run that will have been made just before this one. `first_time`: no call that brings these
        rows can have been done, so that their text may still take something from the CRM. Raises `NotPrepared` when
        the text cannot be composed, and `TextErased` or `SealBroken` when the rows cannot be read.
        """
        contents = [payloads.open_payload(self._sealer, log.key, row) for row in rows]
        if behind is None:
            journal = await self._read_journal(connector, log, linked=linked)
        else:
            journal = runs.journal_after(log, behind)
        conversation = contents[0].conversation
        lookup = NOTHING_FOUND
        if not log.shared and conversation.is_group:
            if behind is None or behind.log.conversation.correspondents != conversation.correspondents:
                lookup = await self._correspondents.lookup(connector, session, log, contents)
            else:  # each look-up may take seconds, and a run has few
                lookup = behind.lookup
        with _text_faults(log):
            new = self._with_lookup(log, rows, contents, lookup) if first_time else {}
            contents = [new.get(row.id, content) for row, content in zip(rows, contents, strict=True)]
            return self._compose(
                session, log, rows, contents, journal=journal, lookup=lookup, new_payloads=new
            )

    async def prepare_change(
        self,
        connector: Connector,
        session: Session,
        log: LogRow,
        row: MessageRow,
        *,
        first_time: bool = False,
    ) -> PreparedCall:
        """Prepare the call for a change of a logged message, in the message's own activity.

        Raises `NothingToChange` when the message is logged nowhere, or its entry would read as it does now.
        """
        content = payloads.open_payload(self._sealer, log.key, row)
        message = await self._store.read(lambda: transactions.find_message(log.key, message_id_of(row.id)))
        if message is None or message.state is not RowState.LOGGED or message.third_party_log_id is None:
            raise NothingToChange
        activity, lookup = message.third_party_log_id, NOTHING_FOUND
        if content.conversation.is_group:
            lookup = await self._correspondents.lookup(connector, session, log, [content])
        new = self._with_lookup(log, [row], [content], lookup) if first_time else {}
        # The activity may be one that the log has gone on from: then its size is not known.
        entries = await self._store.read(lambda: transactions.find_entries(log, activity))
        measured = connector.append_only and activity == log.third_party_log_id
        journal = JournalView(
            known=_journal_entries(entries),
            before=_decode_counts(log.call_before),
            appends=connector.append_only,
            size=log.body_size if measured else None,
        )
        with _text_faults(log):
            call = self._compose_change(
                session, log, row, new.get(row.id, content), journal=journal, activity=activity, lookup=lookup
            )
        texts = call.change.texts if call.change is not None else None
        if texts is not None and (
            texts.entry.hash == message.entry_hash or (connector.append_only and texts.line is None)
        ):
            raise NothingToChange
        return replace(call, new_payloads=self._seal_all(log, new))

    def may_have_left(self, log: LogRow, row: MessageRow) -> bool:
        """Return False if a call that brings this row cannot have left: not all that its text takes is journalled."""
        return is_looked_up(
            read_text_settings(log.text_settings), payloads.open_payload(self._sealer, log.key, row)
        )

    def without_uncertainty(self, log: LogRow, rows: Sequence[MessageRow]) -> dict[str, bytes]:
        """Return the payloads (sealed) of those rows whose words were uncertain, and are certain now."""
        contents = {
            row.id: without_uncertainty(payloads.open_payload(self._sealer, log.key, row)) for row in rows
        }
        return self._seal_all(log, {id_: content for id_, content in contents.items() if content})

    async def _read_journal(self, connector: Connector, log: LogRow, *, linked: bool) -> JournalView:
        """Read what this call needs of the journal: little for a create, the entries for an update by amending."""
        earlier = earlier_activities(log)
        others = (
            await self._store.read(lambda: transactions.find_linked_activities(log))
            if linked
            else frozenset[str]()
        )
        view = JournalView(
            appends=connector.append_only,
            linked=others.union(earlier) if earlier else others,
            continued=bool(earlier),
            size=log.body_size if connector.append_only else None,
        )
        if log.shared:
            return replace(view, sent=SentBlocks(bytes(log.blocks)))
        if log.third_party_log_id is None or (
            connector.append_only and not connector.can("read_message_log")
        ):
            return view
        known = await self._store.read(lambda: transactions.find_entries(log))
        return replace(view, known=_journal_entries(known), before=_decode_counts(log.call_before))

    def _with_lookup(
        self, log: LogRow, rows: Sequence[MessageRow], contents: Sequence[Payload], lookup: GroupLookup
    ) -> dict[str, Payload]:
        """Return the payloads, by row id, whose text takes something from what the CRM has said now."""
        text_settings = read_text_settings(log.text_settings)
        return {
            row.id: with_lookup(content, lookup.contact_numbers, uncertain=lookup.uncertain)
            for row, content in zip(rows, contents, strict=True)
            if needs_look_up(text_settings, content)
        }

    def _seal_all(self, log: LogRow, contents: Mapping[str, Payload]) -> dict[str, bytes]:
        return {id_: payloads.seal(self._sealer, log.key, id_, content) for id_, content in contents.items()}

    def _compose(
        self,
        session: Session,
        log: LogRow,
        rows: Sequence[MessageRow],
        contents: Sequence[Payload],
        *,
        journal: JournalView,
        lookup: GroupLookup,
        new_payloads: Mapping[str, Payload],
    ) -> PreparedCall:
        """Return the call that brings these contents; `new_payloads` are those that must be journalled before it."""
        text_settings, key = read_text_settings(log.text_settings), self._sealer.entry_key
        first = contents[0]
        participants = participants_of(log, text_settings, contents)
        message_log = MessageLog(
            contact=_contact(log, participants.contact_phone),
            correspondents=lookup.others,
            messages=tuple(self._message(content) for content in contents if content.message is not None),
            thread=first.thread,
            conversation=first.conversation,
            additional_submission=first.additional_submission,
            idempotency_key=idempotency_key(log, rows),
            existing=ExistingLog(log.third_party_log_id) if log.third_party_log_id is not None else None,
            text_settings=text_settings,
            participants=participants,
            key=key,
            journal=journal,
        )
        fitting = len(rows)
        if len(rows) > 1 and log.third_party_log_id is None and not text_settings.fits(_body(message_log)):
            records = [content.message for content in contents if content.message is not None]
            fitting = compose.fit_log(
                text_settings, participants, records, first.conversation, key, continued=journal.continued
            )
        return PreparedCall(
            session=session,
            log=message_log,
            rows=tuple(rows),
            hashes=_entry_hashes(rows, contents, message_log),
            journal=journal,
            fitting=fitting,
            lookup=lookup,
            new_payloads=self._seal_all(log, new_payloads) if new_payloads else {},
        )

    def _compose_change(
        self,
        session: Session,
        log: LogRow,
        row: MessageRow,
        content: Payload,
        *,
        journal: JournalView,
        activity: str,
        lookup: GroupLookup,
    ) -> PreparedCall:
        """Return the call that changes a logged message in its activity."""
        text_settings, key = read_text_settings(log.text_settings), self._sealer.entry_key
        participants = participants_of(log, text_settings, [content])
        change = None
        if content.message is not None and text_settings.format is not LogFormat.CUSTOM:
            texts = compose.compose_change(
                text_settings, participants, content.message, content.conversation, key
            )
            change = ChangeForms(texts, appends=journal.appends)
        message_log = MessageLog(
            contact=_contact(log, participants.contact_phone),
            correspondents=lookup.others,
            messages=(),
            thread=None,
            conversation=content.conversation,
            additional_submission={},
            idempotency_key=idempotency_key(log, [row]),
            existing=ExistingLog(activity),
            text_settings=text_settings,
            participants=participants,
            key=key,
            journal=journal,
            changes=(self._message(content),),
            change=change,
        )
        hashes = (
            {} if change is None else {hash_.hex(): hash_ for hash_ in compose.change_hashes(change.texts)}
        )
        return PreparedCall(session, message_log, (row,), hashes, journal, 1, lookup, change=change)

    def _message(self, content: Payload) -> LoggedMessage:
        if content.message is None:
            raise TypeError("a shared thread has no message of its own")
        return LoggedMessage(content.message, self._media.opener(content.rc_access_token))


def idempotency_key(log: LogRow, rows: Sequence[MessageRow]) -> str:
    """Return a key that is the same whenever this call is repeated, and no other call's: 43 characters of [a-z0-9-].

    A create's key belongs to the conversation log and its generation, so that there is one activity whichever message
    is first. The key shows the id of the journal that the log was begun in.
    """
    key, call = log.key, "create"
    messages: list[str] = []
    if any(row.is_change for row in rows):
        call = "change"
    elif log.third_party_log_id is not None:
        call = "update"
    if call != "create":
        messages = [f"{row.id if log.journal else key.display_id(row.id)}@{row.version}" for row in rows]
    if not log.journal:  # a log that was begun before a journal had an id keeps the form of its key
        parts = [call, key.tenant, key.platform, key.conversation_log_id, str(log.generation), *messages]
        return "messagelog-" + hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
    ids = (key.tenant, key.platform, key.kind, key.client_log_id, key.group_contact_id)
    parts = [log.journal, call, *ids, str(log.generation), *messages]
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=14).digest()
    return f"messagelog-{log.journal}-{base64.b32encode(digest).decode().rstrip('=').lower()}"


@contextmanager
def _text_faults(log: LogRow) -> Iterator[None]:
    """Raise `NotPrepared` for a mistake in our own text, which one message shows: the others are logged."""
    try:
        yield
    except Exception as error:
        _log.error("text_failed", log=log.key.conversation_log_id, error=error_summary(error))
        raise NotPrepared(f"its text cannot be written: {error_summary(error)}") from error


def encode_counts(counts: Mapping[bytes, int]) -> str:
    """Return the counts of entries by hash as the journal keeps them."""
    return msgspec.json.encode({hash_.hex(): n for hash_, n in counts.items()}).decode()


def _decode_counts(before: str | None) -> dict[bytes, int] | None:
    if before is None:
        return None
    return {bytes.fromhex(hash_): n for hash_, n in msgspec.json.decode(before, type=dict[str, int]).items()}


def _contact(log: LogRow, phone: str | None) -> Contact:
    return Contact(id=log.contact_id, name=log.contact_name, type=log.contact_type, phone_number=phone)


def _body(log: MessageLog) -> str:
    return log.content.body if log.content is not None else ""


def _journal_entries(entries: Sequence[tuple[int, bytes, str]]) -> list[KnownEntry]:
    """Return what the journal knows of an activity's texts: a message's entry, then the lines of its changes."""
    return [
        (at, hash_, message_id_of(id_) + compose.LINE_MARK if is_change(id_) else id_)
        for at, hash_, id_ in sorted(entries, key=lambda each: (len(each[2]), each[2]))
    ]


def _entry_hashes(
    rows: Sequence[MessageRow], contents: Sequence[Payload], log: MessageLog
) -> dict[str, bytes]:
    """Return the hash of each row's entry, by row id; a custom format and a shared thread have none."""
    if log.thread is not None:
        return {}
    by_id = {entry.id: entry.hash for entry in log.entries}
    pairs = [
        (row.id, content.message.id)
        for row, content in zip(rows, contents, strict=True)
        if content.message is not None
    ]
    return {row_id: by_id[id_] for row_id, id_ in pairs if id_ in by_id}
