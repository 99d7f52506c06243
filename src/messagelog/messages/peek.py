"""A quick look at a request's body: the ids of its messages, without their contents.

The client sends the whole day of a conversation again and again, and mostly all of it is logged. The ids alone show
that, for a fraction of the work of reading everything.
"""

from typing import Final

import msgspec

from messagelog.messages.fields import identifier
from messagelog.messages.records import is_gone
from messagelog.messages.request import MOST_MESSAGES

_LEAST_MESSAGES = 8  # below that, a second look costs as much as it saves


class MessageIds(msgspec.Struct, frozen=True, kw_only=True):
    """An ordinary conversation's log, contact, and the ids of what can be logged, in the order of the body."""

    conversation_log_id: str
    contact_id: str
    message_ids: tuple[str, ...]


_INBOUND: Final = "Received"
_SAYS_NOTHING: Final = frozenset({None, "Queued", "Sent", "Delivered", _INBOUND})
"""Statuses of a message whose entry does not mention it."""


class _Party(msgspec.Struct, frozen=True):
    pass


class _Message(msgspec.Struct, frozen=True):
    id: str | int
    type: str  # required, since a record without it may be only an id
    availability: str | None = None
    status: str | None = msgspec.field(name="messageStatus", default=None)
    transcript: str | None = None


class _Info(msgspec.Struct, frozen=True):
    messages: tuple[_Message, ...]
    correspondents: tuple[_Party, ...]
    conversation_log_id: str = msgspec.field(name="conversationLogId")
    owner: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    selected: msgspec.Raw | msgspec.UnsetType = msgspec.field(
        name="selectedMessageIds", default=msgspec.UNSET
    )


class _Body(msgspec.Struct, frozen=True):
    info: _Info = msgspec.field(name="logInfo")
    contact_id: str = msgspec.field(name="contactId")
    selected: msgspec.Raw | msgspec.UnsetType = msgspec.field(
        name="selectedMessageIds", default=msgspec.UNSET
    )


_decoder = msgspec.json.Decoder(_Body)


def peek(body: bytes) -> MessageIds | None:
    """Return the ids in a body that is an ordinary conversation of several messages; None for any other body.

    Groups, shared threads, selected messages, messages whose records may have changed, and odd bodies are left to
    `parse_log_request`, which says what is wrong with them.
    """
    try:
        seen = _decoder.decode(body)
        info = seen.info
        whole = info.selected is msgspec.UNSET and seen.selected is msgspec.UNSET
        ordinary = whole and len(info.correspondents) == 1 and info.owner is msgspec.UNSET
        if not ordinary or not _LEAST_MESSAGES <= len(info.messages) <= MOST_MESSAGES:
            return None
        if _may_have_facts(body, info.messages):
            return None
        ids = {identifier(each.id, "id"): each.availability for each in reversed(info.messages)}
        left = [id_ for id_, availability in reversed(ids.items()) if not is_gone(availability)]
        if not left:
            return None
        return MessageIds(
            conversation_log_id=identifier(info.conversation_log_id, "conversationLogId"),
            contact_id=identifier(seen.contact_id, "contactId"),
            message_ids=tuple(left),
        )
    except (ValueError, RecursionError):  # msgspec's errors and bad UTF-8 are ValueErrors
        return None


def _may_have_facts(body: bytes, messages: tuple[_Message, ...]) -> bool:
    """Return whether a message may have facts: a failed delivery, a transcript.

    It is asked for each request that brings nothing new, so it does not read the recipients of the messages: where one
    has a status of its own, the body has more statuses than messages.
    """
    statuses = {each.status if each.transcript is None else "said" for each in messages}
    if not statuses <= _SAYS_NOTHING or (None in statuses and b'rrorCode"' in body):
        return True
    if statuses == {_INBOUND}:
        return False
    return body.count(b'"messageStatus"') > sum(each.status is not None for each in messages)
