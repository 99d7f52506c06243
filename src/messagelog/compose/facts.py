"""The facts of a message: parts of its record that may change later, so that its entry must be written again."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from messagelog.compose.entry_lines import transcript_of
from messagelog.compose.failures import has_failed

if TYPE_CHECKING:
    from messagelog.messages import Message


def facts_of(message: Message, key: bytes) -> str | None:
    """Return whether and why a message did not arrive, and its transcript: their kinds, and a keyed hash of them.

    None if there is neither. Names and wording are not facts: `failed:1f0a…` stays the same as long as statuses and
    codes do.
    """
    kinds, told = [], []
    parties = [
        (party.message_status, party.error_code, party.fax_error_code) for party in message.to if party
    ]
    statuses = [(message.message_status, message.delivery_error_code, None), *parties]
    # What was received was not sent by the user: nothing of it can fail.
    if message.message_status != "Received" and any(has_failed(status, codes) for status, *codes in statuses):
        kinds.append("failed")
        told += [repr(status) for status in statuses]
    if transcript := transcript_of(message):
        kinds.append("transcript")
        told.append(transcript)
    if not kinds:
        return None
    digest = blake2b("\0".join(told).encode("utf-8", "surrogatepass"), key=key, digest_size=8)
    return f"{'+'.join(kinds)}:{digest.hexdigest()}"
