"""What a request means, and which call comes next. Pure: nothing here reads a database, a clock or a CRM."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING

import msgspec

from messagelog.messages import LogRequest, Message, MessageKind, Thread, message_order
from messagelog.storage.rows import LogKey, LogRow, MessageRow, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from messagelog.storage.rows import Planner

CREATE_NEW_CONTACT = "createNewContact"
"""What the client sends for a contact's id while the contact is still being made. Never passed to a CRM."""


class Item(msgspec.Struct, frozen=True):
    """One thing to log under one id: a message, or the snapshot of a shared thread."""

    id: str
    sent_at: int
    version: int
    message: Message | None
    thread: Thread | None


class RequestPlan(msgspec.Struct, frozen=True):
    """A request as the journal sees it: whose log it is about, and what may have to be written, oldest first.

    `refused` are the messages of kinds that the connector does not log. Messages that were deleted or purged are in
    neither: nothing of them is left to be logged.
    """

    key: LogKey
    conversation_id: str
    contact_id: str
    items: tuple[Item, ...]
    refused: tuple[Message, ...]


def plan_request(
    request: LogRequest,
    *,
    tenant: str,
    platform: str,
    contact_id: str,
    kinds: frozenset[MessageKind],
    day_of: Callable[[int], str],
    arrived_at: int,
) -> RequestPlan:
    """The plan of a request. `contact_id` is the resolved one; `day_of` names the day of a time (epoch ms).

    A group can be logged for several contacts: the contact is a part of its log's key, and stands behind the ids that
    are shown. An owner wins over a group: a shared thread is one log whatever the number of its correspondents.
    Selected messages have a log of their own, whatever day the request names.
    """
    info = request.info
    if request.is_shared:
        log_id = info.conversation_log_id or info.conversation_id
        thread = info.thread
        logged = MessageKind.THREAD in kinds
        return RequestPlan(
            key=LogKey(tenant, platform, log_id, shared=True),
            conversation_id=info.conversation_id,
            contact_id=contact_id,
            items=(Item(log_id, arrived_at, thread.version, None, thread),) if logged else (),
            refused=() if logged else info.loggable,
        )
    selected = request.selected_ids
    messages = sorted(info.loggable, key=message_order)
    if selected:
        messages = [message for message in messages if message.id in selected]
        log_id = _selected_log_id(info.conversation_id, [message.id for message in messages])
    else:
        log_id = _log_id(request, messages, day_of, arrived_at)
    key = LogKey(tenant, platform, log_id, group_contact_id=contact_id if request.is_group else "")
    items: list[Item] = []
    refused: list[Message] = []
    for message in messages:
        if message.kind in kinds:
            items.append(Item(message.id, message.sent_at or arrived_at, 0, message, None))
        else:
            refused.append(message)
    return RequestPlan(
        key=key,
        conversation_id=key.shown(info.conversation_id),
        contact_id=contact_id,
        items=tuple(items),
        refused=tuple(refused),
    )


def _log_id(
    request: LogRequest, messages: Sequence[Message], day_of: Callable[[int], str], arrived_at: int
) -> str:
    """The client's conversation-log id; derived from conversation and day where it sent none."""
    info = request.info
    if info.conversation_log_id is not None:
        return info.conversation_log_id
    # The date is the browser's text for the day: taken as it is, never parsed, as the client itself does.
    day = info.date or day_of((messages and messages[-1].sent_at) or arrived_at)
    return f"{info.conversation_id}/{day}"


def _selected_log_id(conversation_id: str, ids: Sequence[str]) -> str:
    """The id of the log of these messages alone: the same whenever the same ones are selected."""
    digest = hashlib.blake2b("\0".join(sorted(ids)).encode(), digest_size=12).hexdigest()
    return f"{conversation_id}/selected/{digest}"


def day_in(zone: dt.tzinfo) -> Callable[[int], str]:
    """Names the day of a time (epoch milliseconds) in a zone, as `2026-07-13`."""

    def name(sent_at: int) -> str:
        return dt.datetime.fromtimestamp(sent_at / 1000, tz=zone).date().isoformat()

    return name


def next_step(*, takes_batches: bool, in_runs: bool = False) -> Planner:
    """Decides the next step: the oldest waiting message, with those behind it where the connector takes batches.

    One step belongs to one user, since it is made in her session. The first message of a conversation log creates
    its activity, all others update it: `in_runs`, several updates with a call each are one step. After a refusal they
    go one by one, until one is taken; so they do after any trouble where each has its own call. So does what the
    activity may hold already, and which is only made sure of: there is room for it, and may be none for more. A change
    of a message has a call of its own: it may go to another activity than the log's present one.
    """

    def is_made_sure_of(log: LogRow, row: MessageRow) -> bool:
        return row.third_party_log_id is not None and row.third_party_log_id == log.third_party_log_id

    def plan(log: LogRow, waiting: Sequence[MessageRow]) -> Step | None:
        if not waiting:
            return None
        first = waiting[0]
        if first.is_change:
            return Step("change", first.user_id, (first,), first.version)
        rows = [first]
        call = "update" if log.third_party_log_id is not None else "create"
        together = takes_batches or (in_runs and call == "update" and not log.tries)
        if together and not log.shared and not log.refusals and not is_made_sure_of(log, first):
            for row in waiting[1:]:
                if row.user_id != first.user_id or row.is_change or is_made_sure_of(log, row):
                    break
                rows.append(row)
        return Step(call, first.user_id, tuple(rows), first.version)

    return plan
