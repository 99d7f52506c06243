"""What is kept sealed with a row until it is logged: the message, and what else its call needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from messagelog.compose import facts_of
from messagelog.core.delivery.participants import Sides, with_spelling, without_contact_numbers
from messagelog.errors import MessagelogError
from messagelog.messages import Conversation, LogRequest, Message, Thread
from messagelog.storage.records.journal import NO_FACTS, Facts, NewRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from messagelog.storage.encryption.sealer import Sealer
    from messagelog.storage.records.journal import LogKey, MessageRow


class Item(msgspec.Struct, frozen=True):
    """One thing to log under one id: a message, or the snapshot of a shared thread."""

    id: str
    sent_at: int
    version: int
    message: Message | None
    thread: Thread | None


class Payload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message (or snapshot of a thread), the conversation around it, and the form's fields.

    `rc_access_token` opens the media of a fax; it is erased with the text. `sides` is None in rows of
    older releases.
    """

    conversation: Conversation
    contact_name: str
    contact_type: str
    additional_submission: dict[str, Any] = msgspec.field(default_factory=dict)
    rc_access_token: str | None = None
    message: Message | None = None
    thread: Thread | None = None
    sides: Sides | None = None


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Payload)


class TextErased(MessagelogError, LookupError):
    """The text of a row was erased: it is logged, or was kept for long enough."""


def seal_rows(  # noqa: PLR0917 - all that a row is made of
    sealer: Sealer,
    key: LogKey,
    request: LogRequest,
    contact: tuple[str, str],
    sides: Sides,
    items: Sequence[Item],
    facts: Mapping[str, Facts],
) -> tuple[NewRow, ...]:
    """Return the rows that journal these items, whose `facts` are given by id; `contact` is a name and a type."""
    info, rows = request.info, []
    conversation = info.conversation
    for item in items:
        spelled = sides if item.message is None else with_spelling(sides, item.message, conversation)
        payload = Payload(
            conversation=conversation,
            contact_name=contact[0],
            contact_type=contact[1],
            additional_submission=request.additional_submission or {},
            rc_access_token=info.rc_access_token,
            message=item.message,
            thread=item.thread,
            sides=spelled,
        )
        sealed = seal(sealer, key, item.id, payload)
        rows.append(NewRow(item.id, item.sent_at, item.version, sealed, facts[item.id]))
    return tuple(rows)


def row_facts(sealer: Sealer, message: Message | None) -> Facts:
    """Return the facts of a message as its row keeps them; a shared thread has none: each snapshot has all of it."""
    if message is None:
        return NO_FACTS
    at = message.last_modified_time or message.sent_at or 0
    return Facts(facts_of(message, sealer.entry_key), at)


def seal(sealer: Sealer, key: LogKey, id_: str, payload: Payload) -> bytes:
    """Return a payload as its row keeps it."""
    return sealer.seal(_ENCODER.encode(payload), *_context(key, id_))


def open_payload(sealer: Sealer, key: LogKey, row: MessageRow) -> Payload:
    """Return the payload of a row; raise `TextErased` if there is none any more."""
    if row.payload is None:
        raise TextErased("the text of this row was erased")
    return _DECODER.decode(sealer.open(row.payload, *_context(key, row.id)))


def to_readable(sealer: Sealer, key: LogKey, id_: str, sealed: bytes) -> dict[str, Any]:
    """Return what a person may read of a row's payload: all but RingCentral's token."""
    payload = _DECODER.decode(sealer.open(sealed, *_context(key, id_)))
    read: dict[str, Any] = msgspec.to_builtins(replace(payload, rc_access_token=None))
    return read


def reseal(sealer: Sealer, before: LogKey, after: LogKey, id_: str, text: bytes) -> bytes:
    """Return a row's payload, sealed for the log that it moves to. That contact's numbers are not known yet."""
    payload = _DECODER.decode(sealer.open(text, *_context(before, id_)))
    if payload.sides is not None:
        payload = replace(payload, sides=without_contact_numbers(payload.sides))
    return seal(sealer, after, id_, payload)


def _context(key: LogKey, id_: str) -> tuple[str, ...]:
    """Return what a payload is bound to: the row as it is shown, so that payloads of older releases open too."""
    return ("messageLogs", key.tenant, key.platform, key.display_id(id_))
