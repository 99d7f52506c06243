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


_SAYS_NOTHING: Final = frozenset({None, "Queued", "Sent", "Delivered", "Received"})
"""Statuses of a message whose entry does not mention it."""
_DELIVERY_TO_ONE: Final = (b'"messageStatus"', b'rrorCode"')


class _Party(msgspec.Struct, frozen=True):
    pass


class _Message(msgspec.Struct, frozen=True):
    id: str | int
    type: str  # required, since a record without it may be only an id
    availability: str | None = None
    status: str | None = msgspec.field(name="messageStatus", default=None)
    error_code: str | None = msgspec.field(name="deliveryErrorCode", default=None)
    transcript: str | None = None
    to: msgspec.Raw = msgspec.Raw()

    @property
    def may_have_facts(self) -> bool:
        """Whether the message may have facts: a failed delivery, a transcript."""
        if self.status not in _SAYS_NOTHING or self.transcript or (self.status is None and self.error_code):
            return True
        to = bytes(self.to)
        return any(key in to for key in _DELIVERY_TO_ONE)


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
        if any(message.may_have_facts for message in info.messages):
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
