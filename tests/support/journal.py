"""Rows of the journal and a connector's abilities, as the pure parts of the core take them: no database is needed."""

from __future__ import annotations

from typing import Any

from messagelog.compose import LogFormat, TextSettings, write_text_settings
from messagelog.core.delivery.capabilities import Capabilities
from messagelog.storage.records.journal import LogKey, LogRow, MessageRow, RowState

ADA, BEN = "ada", "ben"
ACTIVITY = "a-1"
SETTLE_MS = 7_000
PINS = write_text_settings(TextSettings(format=LogFormat.PLAIN, zone="UTC"))


def log_row(call: str | None = "create", *, shared: bool = False, **values: Any) -> LogRow:
    """Return a conversation log with this call of Ada's under way; any but a create has an activity."""
    made: dict[str, Any] = {"call": call, "call_user": ADA if call else None}
    if call not in {None, "create"}:
        made |= {"third_party_log_id": ACTIVITY, "created_by": ADA}
    key = LogKey("acme", "memory", "conv/1", shared=shared)
    return LogRow(key, "conv", "c-1", "contact", "Maya Patel", PINS, **(made | values))


def message_row(number: int = 1, **values: Any) -> MessageRow:
    """A message of Ada's that a call brings; the greater its number, the later it was sent."""
    made: dict[str, Any] = {
        "id": str(number),
        "conversation_id": "conv",
        "client_log_id": "conv/1",
        "third_party_log_id": None,
        "user_id": ADA,
        "state": RowState.CALLING,
        "reason": None,
        "sent_at": number,
        "version": 0,
        "entry_hash": None,
        "created_at": 0,
        "updated_at": 0,
        "payload": b"sealed",
    }
    return MessageRow(**(made | values))


def message_rows(count: int, **values: Any) -> list[MessageRow]:
    """So many messages, oldest first."""
    return [message_row(number, **values) for number in range(1, count + 1)]


def abilities(*names: str, settle_ms: int = SETTLE_MS) -> Capabilities:
    """A connector that can do what is named, and nothing else."""
    flags = ("upserts", "finds", "reads_back", "amends", "not_found_means_gone", "in_runs")
    assert set(names) <= set(flags)
    return Capabilities(name="Memory CRM", settle_ms=settle_ms, **{flag: flag in names for flag in flags})
