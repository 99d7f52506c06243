"""Plans what a request means. Pure: nothing here reads a database, a clock or a CRM."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING

import msgspec

from messagelog.core.delivery.payload import Item
from messagelog.messages import LogRequest, Message, MessageKind, message_order
from messagelog.storage.records.journal import LogKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class RequestPlan(msgspec.Struct, frozen=True):
    """A request as the journal sees it: the log that it is about, and the items to write, oldest first.

    `refused` are the messages of kinds that the connector does not log. Messages that were deleted or purged are in
    neither: nothing of them is left to log.
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
    """Return the plan of a request. `contact_id` is the resolved one; `day_of` names the day of a time (epoch ms).

    A group can be logged for several contacts: the contact is a part of its log's key, and follows the ids that are
    shown. A shared thread is one log, however many correspondents it has. Selected messages have a log of their own,
    whatever day the request names.
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
        # The same messages have the same log whenever they are selected.
        ids = "\0".join(sorted(message.id for message in messages))
        digest = hashlib.blake2b(ids.encode(), digest_size=12).hexdigest()
        log_id = f"{info.conversation_id}/selected/{digest}"
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
        conversation_id=key.display_id(info.conversation_id),
        contact_id=contact_id,
        items=tuple(items),
        refused=tuple(refused),
    )


def _log_id(
    request: LogRequest, messages: Sequence[Message], day_of: Callable[[int], str], arrived_at: int
) -> str:
    """Return the client's conversation-log id, or one made of conversation and day if the client sent none."""
    info = request.info
    if info.conversation_log_id is not None:
        return info.conversation_log_id
    # The date is the browser's text for the day: taken as it is, never parsed, as in the client itself.
    day = info.date or day_of((messages and messages[-1].sent_at) or arrived_at)
    return f"{info.conversation_id}/{day}"


def day_in(zone: dt.tzinfo) -> Callable[[int], str]:
    """Return a function that names the day of a time (epoch milliseconds) in a zone, as `2026-07-13`."""

    def name(sent_at: int) -> str:
        return dt.datetime.fromtimestamp(sent_at / 1000, tz=zone).date().isoformat()

    return name
