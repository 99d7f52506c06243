"""Makes the typed object that a connector is given, and calls the connector within its time."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from msgspec.structs import replace

from messagelog import compose
from messagelog.compose import KnownEntry, LogFormat, read_text_settings
from messagelog.connectors import (
    Connector,
    ConnectorError,
    Contact,
    ExistingLog,
    LoggedMessage,
    MessageLog,
    OutcomeUnknown,
    RateLimited,
    Session,
)
from messagelog.connectors.errors import Throttled
from messagelog.connectors.log import ChangeForms, JournalView, SentBlocks
from messagelog.core.contacts.resolve import RecentContacts
from messagelog.core.delivery import payload as payloads
from messagelog.core.delivery.attempts import annotate_errors
from messagelog.core.delivery.correspondents import NOTHING_FOUND, Correspondents, GroupLookup
from messagelog.core.delivery.faults import error_summary, fault_of
from messagelog.core.delivery.metrics import Metrics
from messagelog.core.delivery.outcomes import earlier_activities
from messagelog.core.delivery.participants import (
    is_looked_up,
    needs_look_up,
    participants_of,
    with_lookup,
    without_uncertainty,
)
from messagelog.core.errors import ConnectorBroke, NoLogId, NothingToChange, NotPrepared
from messagelog.core.rate_limits import call_context
from messagelog.errors import error_location
from messagelog.storage import is_transient, transactions
from messagelog.storage.records.journal import MessageRow, RowState, is_change, message_id_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from messagelog.core.delivery.media import MediaFetcher
    from messagelog.core.delivery.payload import Payload
    from messagelog.storage import Sealer, Store
    from messagelog.storage.records.journal import LogRow

_BETWEEN: Final = 8  # line breaks or a tag between what stands there and what is added

NOTHING_COUNTED: Final = "{}"
"""Says that what a call needs was noted, where there was nothing to count."""

_log = structlog.get_logger(__name__)


class PreparedCall(msgspec.Struct, frozen=True):
    """A call that is ready to be made: the session it is made in and what the connector is given.

    `rows` are what it brings, `hashes` their entries' by row id. `fitting` is how many of the rows a new activity has
    room for. `change` are the texts of a call that changes a message, as far as they are ours. `matched` is what the
    CRM said of a group's numbers, and `told` the rows' payloads (sealed) with that in them, to be journalled before the
    call leaves.
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
        """The CRM's id of the activity that it is for; empty for one that is to be made."""
        return self.log.existing.third_party_log_id if self.log.existing is not None else ""


class ConnectorCaller:
    """Prepares calls from journal rows, and makes them."""

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        media: MediaFetcher,
        *,
        call_timeout: float,
        metrics: Metrics | None = None,
    ) -> None:
        self.metrics = metrics or Metrics()
        self._store = store
        self._sealer = sealer
        self._media = media
        self._call_timeout = call_timeout
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
        """Unseals the rows and puts together what the connector is given, with the journal's view of the activity.

        `linked` asks for the contact's activities that belong to other logs too, for a search through all of them.
        `behind` is the call that will have been made just before this one, of which the journal knows nothing yet.
        `first_time`: no call that brings these rows can have been done, so that their text may still take something
        from the CRM.
        """
        contents = [payloads.open_payload(self._sealer, log.key, row) for row in rows]
        if behind is None:
            journal = await self._journal(connector, log, linked=linked)
        else:
            journal = _journal_after(log, behind)
        conversation = contents[0].conversation
        lookup = NOTHING_FOUND
        if not log.shared and conversation.is_group:
            if behind is None or behind.log.conversation.correspondents != conversation.correspondents:
                lookup = await self._correspondents.lookup(connector, session, log, contents)
            else:  # each look-up may take seconds, of which a run has few
                lookup = behind.lookup
        try:
            new_payloads = self._with_lookup(log, rows, contents, lookup) if first_time else {}
            return self._compose(session, log, rows, contents, journal, lookup, new_payloads)
        except Exception as error:
            # A mistake in our own text, which this message shows: the others are logged all the same.
            _log.error("text_failed", log=log.key.conversation_log_id, error=error_summary(error))
            raise NotPrepared(f"its text cannot be written: {error_summary(error)}") from error

    async def prepare_change(
        self,
        connector: Connector,
        session: Session,
        log: LogRow,
        row: MessageRow,
        *,
        first_time: bool = False,
    ) -> PreparedCall:
        """Put together what the connector is given for a change of a logged message, in the message's own activity.

        Raises `NothingToChange` where the message is logged nowhere, or its entry would read as it does.
        """
        content = payloads.open_payload(self._sealer, log.key, row)
        message = await self._store.read(lambda: transactions.find_message(log.key, message_id_of(row.id)))
        if message is None or message.state is not RowState.LOGGED or message.third_party_log_id is None:
            raise NothingToChange
        activity, lookup = message.third_party_log_id, NOTHING_FOUND
        if content.conversation.is_group:
            lookup = await self._correspondents.lookup(connector, session, log, [content])
        new_payloads = self._with_lookup(log, [row], [content], lookup) if first_time else {}
        content = new_payloads.get(row.id, content)
        journal = await self._journal_of_change(connector, log, activity)
        try:
            call = self._compose_change_call(session, log, row, content, journal, activity, lookup)
        except Exception as error:
            _log.error("text_failed", log=log.key.conversation_log_id, error=error_summary(error))
            raise NotPrepared(f"its text cannot be written: {error_summary(error)}") from error
        texts = call.change.texts if call.change is not None else None
        if texts is not None and (
            texts.entry.hash == message.entry_hash or (connector.append_only and texts.line is None)
        ):
            raise NothingToChange
        sealer = self._sealer
        sealed = {id_: payloads.seal(sealer, log.key, id_, each) for id_, each in new_payloads.items()}
        return replace(call, new_payloads=sealed)

    async def _journal_of_change(self, connector: Connector, log: LogRow, activity: str) -> JournalView:
        """What the journal knows of an activity, which may be one that the log has gone on from."""
        entries = await self._store.read(lambda: transactions.find_entries(log, activity))
        measured = connector.append_only and activity == log.third_party_log_id
        return JournalView(
            known=_journal_entries(entries),
            before=_counts(log.call_before),
            appends=connector.append_only,
            size=log.body_size if measured else None,
        )

    def _compose_change_call(  # noqa: PLR0917 - all that a call is made of
        self,
        session: Session,
        log: LogRow,
        row: MessageRow,
        content: Payload,
        journal: JournalView,
        activity: str,
        lookup: GroupLookup,
    ) -> PreparedCall:
        text_settings, key = read_text_settings(log.text_settings), self._sealer.entry_key
        participants = participants_of(log, text_settings, [content])
        change = None
        if content.message is not None and text_settings.format is not LogFormat.CUSTOM:
            texts = compose.compose_change(
                text_settings, participants, content.message, content.conversation, key
            )
            change = ChangeForms(texts, appends=journal.appends)
        message_log = MessageLog(
            contact=Contact(
                id=log.contact_id,
                name=log.contact_name,
                type=log.contact_type,
                phone_number=participants.contact_phone,
            ),
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

    def _compose(  # noqa: PLR0917 - all that a call is made of
        self,
        session: Session,
        log: LogRow,
        rows: Sequence[MessageRow],
        contents: Sequence[Payload],
        journal: JournalView,
        lookup: GroupLookup,
        new_payloads: Mapping[str, Payload],
    ) -> PreparedCall:
        """What the connector is given, and what of it has to be journalled before it is."""
        text_settings = read_text_settings(log.text_settings)
        contents = [new_payloads.get(row.id, content) for row, content in zip(rows, contents, strict=True)]
        first = contents[0]
        participants = participants_of(log, text_settings, contents)
        message_log = MessageLog(
            contact=Contact(
                id=log.contact_id,
                name=log.contact_name,
                type=log.contact_type,
                phone_number=participants.contact_phone,
            ),
            correspondents=lookup.others,
            messages=tuple(self._message(content) for content in contents if content.message is not None),
            thread=first.thread,
            conversation=first.conversation,
            additional_submission=first.additional_submission,
            idempotency_key=idempotency_key(log, rows),
            existing=ExistingLog(log.third_party_log_id) if log.third_party_log_id is not None else None,
            text_settings=text_settings,
            participants=participants,
            key=self._sealer.entry_key,
            journal=journal,
        )
        fitting = len(rows)
        if len(rows) > 1 and log.third_party_log_id is None and not text_settings.fits(_body(message_log)):
            records = [content.message for content in contents if content.message is not None]
            given = (text_settings, participants, records, first.conversation, self._sealer.entry_key)
            fitting = compose.fit_log(*given, continued=journal.continued)
        return PreparedCall(
            session=session,
            log=message_log,
            rows=tuple(rows),
            hashes=_hashes(rows, contents, message_log),
            journal=journal,
            fitting=fitting,
            lookup=lookup,
            new_payloads={
                id_: payloads.seal(self._sealer, log.key, id_, content)
                for id_, content in new_payloads.items()
            },
        )

    def _with_lookup(
        self, log: LogRow, rows: Sequence[MessageRow], contents: Sequence[Payload], lookup: GroupLookup
    ) -> dict[str, Payload]:
        """The payloads, by row id, whose text takes something from what the CRM has said now."""
        text_settings = read_text_settings(log.text_settings)
        return {
            row.id: with_lookup(content, lookup.contact_numbers, uncertain=lookup.uncertain)
            for row, content in zip(rows, contents, strict=True)
            if needs_look_up(text_settings, content)
        }

    def may_have_left(self, log: LogRow, row: MessageRow) -> bool:
        """Whether a call that brings this row can have left: not before all that its text takes was journalled."""
        return is_looked_up(
            read_text_settings(log.text_settings), payloads.open_payload(self._sealer, log.key, row)
        )

    def without_uncertainty(self, log: LogRow, rows: Sequence[MessageRow]) -> dict[str, bytes]:
        """The payloads (sealed) of those rows whose words were uncertain, and are certain now."""
        contents = {
            row.id: without_uncertainty(payloads.open_payload(self._sealer, log.key, row)) for row in rows
        }
        key, sealer = log.key, self._sealer
        return {id_: payloads.seal(sealer, key, id_, each) for id_, each in contents.items() if each}

    async def create(self, connector: Connector, call: PreparedCall) -> str:
        """Creates the activity; its id. Raises `ConnectorError` for everything else."""
        with annotate_errors("create", call.session.credentials):
            made = await self._call_with_timeout(
                connector,
                "create",
                call.session,
                lambda: connector.create_message_log(call.session, call.log),
            )
            return _log_id(connector, made)

    async def update(self, connector: Connector, call: PreparedCall) -> None:
        """Updates the activity. What the connector returns does not matter."""
        with annotate_errors("update", call.session.credentials):
            await self._call_with_timeout(
                connector,
                "update",
                call.session,
                lambda: connector.update_message_log(call.session, call.log),
            )

    async def find(self, connector: Connector, call: PreparedCall) -> str | None:
        """The id of an activity that an earlier create made, or None."""
        with annotate_errors("find", call.session.credentials):
            found = await self._call_with_timeout(
                connector, "find", call.session, lambda: connector.find_message_log(call.session, call.log)
            )
            return None if found is None else _log_id(connector, found)

    async def read(self, connector: Connector, call: PreparedCall) -> str:
        """The body of the existing activity."""
        existing = call.log.existing
        if existing is None:
            raise OutcomeUnknown("there is no activity to read")
        id_ = existing.third_party_log_id
        with annotate_errors("read", call.session.credentials):
            body = await self._call_with_timeout(
                connector, "read", call.session, lambda: connector.read_message_log(call.session, id_)
            )
        return str(body)

    async def count_in_activity(
        self, connector: Connector, log: LogRow, calls: Sequence[PreparedCall]
    ) -> dict[bytes, int]:
        """How often the new entries of calls stand in the existing activity, by hash. It is read for the first one."""
        first = calls[0]
        body = await self.read(connector, first)
        hashes = dict.fromkeys((hash_ for call in calls for hash_ in call.hashes.values()), 0)
        others = first.journal.known_hashes
        text_settings, key = read_text_settings(log.text_settings), self._sealer.entry_key
        return hashes | compose.count_entries(body, text_settings, hashes.keys(), key, others)

    async def _call_with_timeout(
        self, connector: Connector, name: str, session: Session, call: Callable[[], Awaitable[Any]]
    ) -> Any:
        """Makes a call with a hard limit on its time, and counts it by what it came to.

        A connector's own mistake leaves the outcome unknown.
        """
        seconds = self._call_timeout
        with self.metrics.time_call(connector.name, name), call_context.single_call(seconds) as context:
            try:
                async with asyncio.timeout(seconds):
                    return await call()
            except ConnectorError as error:
                error.wrote = context.may_have_written
                if isinstance(error, RateLimited) and not isinstance(error, Throttled):
                    session.http.refused(error.retry_after)
                raise
            except TimeoutError as error:
                raise OutcomeUnknown(f"no answer within {seconds:g} s") from error
            except Exception as error:
                if is_transient(error):  # our database, which a renewed sign-in is written to
                    raise fault_of(error, wrote=context.may_have_written) from error
                # The text of such an error may quote a message: only its type and place are told.
                where = f"{type(error).__name__} at {error_location(error)}"
                _log.error("connector_failed", connector=connector.name, error=where)
                broke = f"the connector {connector.name} raised {type(error).__name__}"
                raise ConnectorBroke(broke) from error

    async def _journal(self, connector: Connector, log: LogRow, *, linked: bool) -> JournalView:
        """What of the journal this call needs: little for a create, the entries for an update that is amended."""
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
        return replace(view, known=_journal_entries(known), before=_counts(log.call_before))

    def _message(self, content: Payload) -> LoggedMessage:
        if content.message is None:
            raise TypeError("a shared thread has no message of its own")
        return LoggedMessage(content.message, self._media.opener(content.rc_access_token))


def _journal_entries(entries: Sequence[tuple[int, bytes, str]]) -> list[KnownEntry]:
    """What the journal knows of an activity's texts: a message's entry, then the lines of its changes."""
    return [
        (at, hash_, message_id_of(id_) + compose.LINE_MARK if is_change(id_) else id_)
        for at, hash_, id_ in sorted(entries, key=lambda each: (len(each[2]), each[2]))
    ]


def _journal_after(log: LogRow, call: PreparedCall) -> JournalView:
    """The journal's view of an activity once this call, of one message, is done."""
    journal = call.journal
    (row,), (message,) = call.rows, call.log.messages
    known = [*journal.known, *((row.sent_at, entry.hash, message.id) for entry in call.log.entries)]
    size = size_after_call(log, call) if journal.appends else None
    return replace(journal, known=known, before=None, size=size)


def size_after_call(log: LogRow, call: PreparedCall) -> int:
    """How much stands in an activity that can only be added to, once this call is done; 0 for all others.

    What a connector writes in a format of its own nobody can measure.
    """
    text_settings = read_text_settings(log.text_settings)
    if not call.journal.appends or text_settings.format is LogFormat.CUSTOM:
        return 0
    if call.log.existing is None:
        return text_settings.measure.of(_body(call.log))
    # What stands between is a connector's own, and short.
    return (call.journal.size or 0) + text_settings.measure.of(call.log.text) + _BETWEEN


def _body(log: MessageLog) -> str:
    return log.content.body if log.content is not None else ""


def _hashes(rows: Sequence[MessageRow], contents: Sequence[Payload], log: MessageLog) -> dict[str, bytes]:
    """The hash of each row's entry; of a custom format and a shared thread there are none."""
    if log.thread is not None:
        return {}
    by_id = {entry.id: entry.hash for entry in log.entries}
    pairs = [
        (row.id, content.message.id)
        for row, content in zip(rows, contents, strict=True)
        if content.message is not None
    ]
    return {row_id: by_id[id_] for row_id, id_ in pairs if id_ in by_id}


def idempotency_key(log: LogRow, rows: Sequence[MessageRow]) -> str:
    """A key that is the same whenever this call is repeated, and no other call's: 43 characters of [a-z0-9-].

    A create's key belongs to the conversation log (and to how often its activity had to be made anew), so that
    whichever message is first, there is one activity. It shows the id of the journal that the log was begun in.
    """
    key, call = log.key, "create"
    messages: list[str] = []
    if any(row.is_change for row in rows):
        call = "change"
    elif log.third_party_log_id is not None:
        call = "update"
    if call != "create":
        messages = [f"{row.id if log.journal else key.display_id(row.id)}@{row.version}" for row in rows]
    if not log.journal:  # as it was when it was begun, before a journal had an id
        parts = [call, key.tenant, key.platform, key.conversation_log_id, str(log.generation), *messages]
        return "messagelog-" + hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
    ids = (key.tenant, key.platform, key.kind, key.client_log_id, key.group_contact_id)
    parts = [log.journal, call, *ids, str(log.generation), *messages]
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=14).digest()
    return f"messagelog-{log.journal}-{base64.b32encode(digest).decode().rstrip('=').lower()}"


def ambiguous(call: PreparedCall) -> bool:
    """Whether a new entry reads like one that is there: then how often it stood there before has to be known."""
    return call.journal.is_ambiguous(call.hashes.values())


def encode_counts(counts: Mapping[bytes, int]) -> str:
    """Such counts for the journal."""
    return msgspec.json.encode({hash_.hex(): n for hash_, n in counts.items()}).decode()


def encode_blocks(call: PreparedCall) -> bytes:
    """The blocks that may stand in a shared thread's activity once this call has left, for the journal."""
    return call.journal.sent.with_pending(call.log.entries).packed


def _counts(before: str | None) -> dict[bytes, int] | None:
    if before is None:
        return None
    return {bytes.fromhex(hash_): n for hash_, n in msgspec.json.decode(before, type=dict[str, int]).items()}


def _log_id(connector: Connector, value: Any) -> str:
    """The CRM's id as text. Numbers and text are ids; anything else is the connector's mistake."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise NoLogId(f"the connector {connector.name} returned no log id")
    id_ = str(value)
    if "\0" in id_ or (not id_.isascii() and id_.encode("utf-8", "replace").decode() != id_):
        raise NoLogId(f"the connector {connector.name} returned a log id that no database can keep")
    return id_
