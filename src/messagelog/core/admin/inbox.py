"""The inbox of the person who runs the server: what failed, is parked or waits, why, and what can be done about it.

Decisions change the journal and call no CRM: any server's next sweep takes up what is due after them.
"""

from __future__ import annotations

import base64
import binascii
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from messagelog.core.admin import decisions
from messagelog.core.admin.audit import READ_TEXT
from messagelog.core.admin.inbox_models import (
    Decided,
    FailedCall,
    InboxDetails,
    InboxEntry,
    InboxExport,
    InboxPage,
    InboxRow,
    Progress,
    RetriedBatch,
)
from messagelog.core.contacts.resolve import existing_contact
from messagelog.core.delivery import payload as payloads
from messagelog.core.delivery.attempts import open_body
from messagelog.core.delivery.outcomes import FailureReason, first_reason
from messagelog.core.operators.accounts import Role
from messagelog.errors import MessagelogError
from messagelog.messages import BadRequest
from messagelog.storage import transactions
from messagelog.storage.encryption.sealer import SealBroken
from messagelog.storage.records.audit import AuditEntry
from messagelog.storage.records.inbox import InboxFilter, InboxPlace, LogMove, StaleDecision
from messagelog.storage.records.journal import LogKey, LogKind, LogState, RowState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from messagelog.core.operators.accounts import Operator
    from messagelog.storage import LogRow, MessageRow, Sealer, Store
    from messagelog.storage.records.inbox import Cause, Decide, Decision, InboxCount
    from messagelog.storage.records.journal import Attempt

STATES: Final = ("failed", "parked", "waiting")
CAUSES: Final = tuple(sorted({*FailureReason, "expired"}))
"""The first words of reasons: of those in trouble, and of those whose text was erased since."""

_BATCH: Final = 50
_LOOKS: Final = 5  # how often a log may get new rows between being looked at and being locked
_LATEST: Final = 2**62
_DONE: Final = RowState.LOGGED


_SEALED: Final = "Its text was sealed with a secret key that is not given: it cannot be moved."
_SEVERAL: Final = "Several conversation logs have this id: say which kind, and of a group which contact."


class NotThere(MessagelogError, LookupError):
    """The journal has no such conversation log."""


class DecisionRefused(MessagelogError):
    """The decision may not be carried out; the text is a sentence that says why."""


def check_cause(cause: str | None) -> str | None:
    """Return the same cause; raise `BadRequest` for one that no reason begins with."""
    if cause not in {None, *CAUSES}:
        raise BadRequest("cause", f"expected one of {', '.join(CAUSES)}")
    return cause


class Inbox:
    """What is in trouble in a journal, for an operator. To show text it needs a `sealer`.

    Each decision, and each text that the operator looks at, is recorded in the same transaction; `RoleMissing` is
    raised without the role. A decision about one log may name the `fence` of the entry that it is about: it is refused
    if the server has worked on the log since, so that it is never about a call whose outcome the operator has not seen.
    """

    def __init__(self, store: Store, operator: Operator, sealer: Sealer | None = None) -> None:
        self._store = store
        self._operator = operator
        self._sealer = sealer

    # ------------------------------------------------------------------------------------ to look at

    async def find(
        self,
        tenant: str,
        platform: str,
        conversation_log_id: str,
        kind: str | None = None,
        group_contact_id: str | None = None,
    ) -> LogKey:
        """Return the log that is shown with this id; of several, the one of this kind and this contact of a group.

        Raises `NotThere`, and `DecisionRefused` if there are still several.
        """
        keys = [
            key
            for key in await self._store.read(lambda: transactions.find_log_keys(conversation_log_id))
            if (key.tenant, key.platform) == (tenant, platform)
            and kind in {None, key.kind}
            and group_contact_id in {None, key.group_contact_id}
        ]
        if not keys:
            raise NotThere(conversation_log_id)
        if len(keys) > 1:
            raise DecisionRefused(_SEVERAL)
        return keys[0]

    async def entries(
        self, wanted: InboxFilter | None = None, *, after: str | None = None, limit: int = _BATCH
    ) -> InboxPage:
        """Return conversation logs in trouble, the last changed first; `after` is the previous page's `next`.

        Raises `BadRequest` for an `after` that no page has had.
        """
        wanted, behind = wanted or InboxFilter(), _read_cursor(after)
        places = await self._store.read(lambda: transactions.list_inbox(wanted, behind, limit))
        entries = await self._entries(places)
        return InboxPage(entries=entries, next=_next_cursor(places, limit))

    async def entry(self, key: LogKey, *, text: bool = False) -> InboxDetails:
        """Return one conversation log, with its messages that are not logged, and its failed calls.

        `text` adds the stored texts of messages and of the CRM's answers, and is recorded. Raises `NotThere`.
        """
        if text:
            self._operator.needs(Role.TEXT)
        rows = await self._store.read(lambda: transactions.find_unlogged_rows(key))
        attempts = await self._store.read(lambda: transactions.list_attempts(key))
        texts, bodies = await self._read_texts(key) if text else ({}, {})
        newest = max(rows, key=lambda row: (row.reason is not None, row.updated_at), default=None)
        place = InboxPlace(key, newest.updated_at if newest else 0, "", (newest and newest.reason) or "")
        entries = await self._entries([place])
        if not entries:
            raise NotThere(key.conversation_log_id)
        return InboxDetails(
            entry=entries[0],
            rows=[_row(key, row, texts.get(row.id)) for row in rows],
            attempts=[_attempt(attempt, bodies.get(attempt.id)) for attempt in attempts],
        )

    async def causes(self, tenant: str | None = None, *, since: int = 0) -> list[Cause]:
        """Return how much is in trouble for each cause, since a time (epoch milliseconds)."""
        return await self._store.read(lambda: transactions.count_causes(tenant, since))

    async def count(self, wanted: InboxFilter) -> int:
        """Return how many logs match the filter."""
        return await self._store.read(lambda: transactions.count_inbox(wanted))

    async def export(
        self, wanted: InboxFilter | None = None, *, text: bool = False
    ) -> AsyncIterator[InboxDetails]:
        """Yield everything that `entries` lists, each with its details as `entry` returns them."""
        after = None
        while True:
            page = await self.export_some(wanted, after=after, text=text)
            for details in page.logs:
                yield details
            after = page.next
            if after is None:
                return

    async def export_some(
        self,
        wanted: InboxFilter | None = None,
        *,
        after: str | None = None,
        limit: int = _BATCH,
        text: bool = False,
    ) -> InboxExport:
        """Return a page of the export; `after` is the previous page's `next`."""
        if text:
            self._operator.needs(Role.TEXT)
        page = await self.entries(wanted, after=after, limit=limit)
        logs = []
        for each in page.entries:
            with suppress(NotThere):  # dropped since the page was read
                logs.append(await self.entry(key_of(each), text=text))
        return InboxExport(logs=logs, next=page.next)

    # ---------------------------------------------------------------------------------------- to do

    async def retry(self, key: LogKey, *, not_in_crm: bool = False, fence: int | None = None) -> Decided:
        """Retry what failed, and make due now what waits.

        A parked log is retried only if a person has looked and says that it is `not_in_crm`. Raises `NotThere`, and
        `DecisionRefused` with the reason.
        """
        return await self._decide(key, "retry", partial(decisions.retry, not_in_crm=not_in_crm), fence)

    async def retry_all(self, wanted: InboxFilter, *, not_in_crm: bool = False) -> AsyncIterator[Progress]:
        """Retry everything that matches the filter, and yield the progress after each batch."""
        seen = Progress(done=0, total=await self.count(wanted))
        after: str | None = None
        while True:
            batch = await self.retry_some(wanted, after=after, not_in_crm=not_in_crm)
            if batch.done:
                done = seen.done + batch.done
                seen = Progress(
                    done=done,
                    total=max(seen.total, done),
                    planned=seen.planned + batch.planned,
                    without_text=seen.without_text + batch.without_text,
                    refused=seen.refused + batch.refused,
                )
                yield seen
            after = batch.next
            if after is None:
                return

    async def retry_some(
        self, wanted: InboxFilter, *, after: str | None = None, limit: int = _BATCH, not_in_crm: bool = False
    ) -> RetriedBatch:
        """Retry a batch of what matches the filter; `after` is the previous batch's `next`."""
        self._operator.needs(Role.ACT)
        behind = _read_cursor(after)
        places = await self._store.read(lambda: transactions.list_inbox(wanted, behind, limit))
        tried: list[Decided] = []
        for place in places:
            with suppress(NotThere, DecisionRefused):
                tried.append(await self.retry(place.key, not_in_crm=not_in_crm))
        return RetriedBatch(
            done=len(places),
            planned=sum(outcome.planned for outcome in tried),
            without_text=sum(outcome.without_text for outcome in tried),
            refused=len(places) - len(tried),
            next=_next_cursor(places, limit),
        )

    async def link(
        self,
        key: LogKey,
        contact_id: str,
        name: str,
        type_: str = "contact",
        *,
        fence: int | None = None,
    ) -> Decided:
        """Give a log to another contact, if nothing of it is in the CRM. Nothing is sent: `retry` does that.

        A group's log is moved, since it has one for each contact: it gets another id. That needs the inbox's sealer.
        Raises `BadRequest` for a contact that cannot be one of a CRM.
        """
        contact = existing_contact(contact_id, name, type_)
        judge = partial(decisions.link, contact=contact)
        if key.kind is not LogKind.GROUP or key.group_contact_id == contact.id:
            return await self._decide(key, "link", judge, fence)
        to = key._replace(group_contact_id=contact.id)
        move = LogMove(to, partial(payloads.reseal, self._unsealing, key, to))
        try:
            return await self._decide(key, "link", judge, fence, move)
        except SealBroken:
            raise DecisionRefused(_SEALED) from None

    async def mark_done(
        self,
        key: LogKey,
        third_party_log_id: str | None = None,
        *,
        everything: bool = False,
        fence: int | None = None,
    ) -> Decided:
        """Record that the CRM has it in the activity `third_party_log_id`; without one the next message makes another.

        Only what is in question counts as logged, not what was held back by it, unless `everything` is said to be
        there. Raises `BadRequest` for an id that is empty or holds a control character.
        """
        id_ = third_party_log_id
        if id_ is not None and (not id_.strip() or not id_.isprintable()):
            raise BadRequest("thirdPartyLogId", "expected an activity's id of printable characters")
        judge = partial(decisions.mark_done, activity=third_party_log_id, everything=everything)
        return await self._decide(key, "mark_done", judge, fence)

    # -------------------------------------------------------------------------------------- the rest

    async def _decide(
        self, key: LogKey, act: str, judge: Decide, fence: int | None, move: LogMove | None = None
    ) -> Decided:
        self._operator.needs(Role.ACT)
        entry = self._entry(act, Role.ACT, key, key.conversation_log_id)
        judge = partial(decisions.if_unchanged, judge=judge, fence=fence)
        decision = await self._apply(key, judge, entry, move)
        if decision is None:
            raise NotThere(key.conversation_log_id)
        if decision.refused is not None:
            raise DecisionRefused(decision.refused)
        states = [change.state for change in decision.changes]
        return Decided(
            conversation_log_id=(key if move is None else move.to).conversation_log_id,
            planned=states.count(RowState.PLANNED),
            logged=states.count(RowState.LOGGED),
            without_text=states.count(RowState.FAILED),
        )

    async def _apply(
        self, key: LogKey, judge: Decide, entry: AuditEntry, move: LogMove | None
    ) -> Decision | None:
        """Carry out a decision. It locks the log and its rows by their names, as requests that bring them do."""
        keys = (key,) if move is None else (key, move.to)
        for _ in range(_LOOKS):
            rows = await self._store.read(lambda: transactions.find_unlogged_rows(key))
            ids = frozenset(row.id for row in rows)
            locks = (*keys, *(each.row(id_) for each in keys for id_ in sorted(ids)))
            deciding = partial(transactions.apply_decision, key, ids, judge, entry, move)
            try:
                return await self._store.write(deciding, locks=locks)
            except StaleDecision:
                continue
        raise DecisionRefused("Messages keep coming in: look again in a minute.")

    async def _entries(self, places: Sequence[InboxPlace]) -> list[InboxEntry]:
        if not places:
            return []
        found = await self._store.read(lambda: transactions.find_inbox_logs([place.key for place in places]))
        return [_entry(place, *seen) for place, seen in zip(places, found, strict=True) if seen is not None]

    async def _read_texts(self, key: LogKey) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """Return the stored texts of messages and of the CRM's answers; each look is on disk when this returns.

        Texts that were sealed with another secret key are left out.
        """
        sealer = self._unsealing
        look = partial(self._entry, READ_TEXT, Role.TEXT, key)
        sealed, bodies = await self._store.write(lambda: transactions.read_texts_audited(key, look))
        texts, answers = {}, {}
        for id_, payload in sealed.items():
            with suppress(SealBroken):
                texts[id_] = payloads.to_readable(sealer, key, id_, payload)
        for id_, body in bodies.items():
            with suppress(SealBroken):
                answers[id_] = open_body(sealer, key, id_, body)
        return texts, answers

    def _entry(self, act: str, role: Role, key: LogKey, subject: str) -> AuditEntry:
        return AuditEntry(self._operator.name, act, role, key.tenant, key.platform, subject)

    @property
    def _unsealing(self) -> Sealer:
        if self._sealer is None:
            raise TypeError("an inbox without a sealer shows no text")
        return self._sealer


def key_of(entry: InboxEntry) -> LogKey:
    """Return the conversation log that an entry is about."""
    contact = entry.group_contact_id or ""
    id_ = entry.conversation_log_id.removesuffix(f"-{contact}") if contact else entry.conversation_log_id
    return LogKey(entry.tenant, entry.platform, id_, entry.kind == LogKind.THREAD, contact)


def _entry(place: InboxPlace, log: LogRow, counts: Sequence[InboxCount], attempts: int) -> InboxEntry:
    states = {count.state: count.rows for count in counts}
    waiting = [count for count in counts if count.state != _DONE]
    reason = first_reason(place.reason or log.reason or "")
    return InboxEntry(
        tenant=log.key.tenant,
        platform=log.key.platform,
        conversation_log_id=log.key.conversation_log_id,
        kind=log.key.kind,
        group_contact_id=log.key.group_contact_id or None,
        contact_id=log.contact_id,
        contact_name=log.contact_name,
        third_party_log_id=log.third_party_log_id,
        state=_state(log, states),
        cause=reason.partition(":")[0],
        reason=reason,
        states=states,
        without_text=sum(count.without_text for count in waiting),
        users=sorted({count.user_id for count in waiting}),
        attempts=attempts,
        tries=log.attempt_count,
        due_at=log.due_at,
        since=min((count.since for count in waiting), default=None),
        changed_at=place.at or log.updated_at,
        fence=log.fence,
    )


def _state(log: LogRow, states: dict[str, int]) -> str:
    if log.state is LogState.PARKED:
        return "parked"
    if states.get(RowState.FAILED):
        return "failed"
    return "waiting" if set(states) - {_DONE} else "logged"


def _row(key: LogKey, row: MessageRow, text: dict[str, Any] | None) -> InboxRow:
    return InboxRow(
        id=key.display_id(row.id),
        state=row.state,
        reason=row.reason,
        user_id=row.user_id,
        sent_at=row.sent_at,
        updated_at=row.updated_at,
        has_text=row.payload is not None,
        text=text,
    )


def _attempt(attempt: Attempt, body: str | None) -> FailedCall:
    return FailedCall(
        at=attempt.at,
        call=attempt.call,
        error=attempt.error,
        status=attempt.status,
        reason=attempt.reason,
        body=body,
    )


def _next_cursor(places: Sequence[InboxPlace], limit: int) -> str | None:
    if len(places) != limit:
        return None
    key, last = places[-1].key, places[-1]
    where = (last.at, last.id, key.group_contact_id, key.shared, key.tenant, key.platform)
    return base64.urlsafe_b64encode(msgspec.json.encode(where)).decode()


def _read_cursor(cursor: str | None) -> InboxPlace | None:
    if cursor is None:
        return None
    try:
        decoded = base64.b64decode(cursor, altchars=b"-_", validate=True)
        where = msgspec.json.decode(decoded, type=tuple[int, str, str, bool, str, str])
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise BadRequest("after", "this is no page's next") from error
    at, id_, contact, shared, tenant, platform = where
    if abs(at) > _LATEST or "\0" in f"{id_}{contact}{tenant}{platform}":
        raise BadRequest("after", "this is no page's next")
    return InboxPlace(LogKey(tenant, platform, "", shared, contact), at, id_, "")
