"""Lists of `messagelog`: columns on a terminal, lines with tabs in a pipe, JSON. Ids are never cut."""

from __future__ import annotations

import datetime as dt
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from messagelog.storage import LogRow, MessageRow
    from messagelog.storage.records.journal import LogSummary

_LOG_HEADS = (
    "conversationLogId",
    "tenant",
    "platform",
    "contact",
    "thirdPartyLogId",
    "state",
    "rows",
    "reason",
)
_ROW_HEADS = ("id", "state", "thirdPartyLogId", "userId", "updatedAt", "reason")


def print_logs(summaries: Sequence[LogSummary], *, as_json: bool) -> None:
    """Print a line for each conversation log, or an array of them."""
    if as_json:
        print_json([_log_json(each.log, each.counts) for each in summaries])
    else:
        print_table(_LOG_HEADS, [_log_values(each.log, each.counts) for each in summaries])


def print_whole_logs(found: Sequence[tuple[LogRow, Sequence[MessageRow]]], *, as_json: bool) -> None:
    """Print conversation logs, each with a line for each of its `messageLogs` rows; or an array of them."""
    counted = [(log, rows, Counter(str(row.state) for row in rows)) for log, rows in found]
    if as_json:
        print_json(
            [
                {**_log_json(log, counts), "messages": [_row_json(log, row) for row in rows]}
                for log, rows, counts in counted
            ]
        )
        return
    for log, rows, counts in counted:
        print_table(_LOG_HEADS, [_log_values(log, counts)])
        print_table(_ROW_HEADS, [_row_values(log, row) for row in rows])


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(printable_json(value, indent=2))  # noqa: T201 - the command's output


def report_omitted(listed: int, total: int) -> None:
    """Print on standard error how much of a list is left out, if anything is."""
    if listed < total:
        print(f"{listed:,} of {total:,} are listed: --limit lists more.", file=sys.stderr)  # noqa: T201 - for a person


def _log_json(log: LogRow, counts: dict[str, int]) -> dict[str, Any]:
    return {
        "tenant": log.key.tenant,
        "platform": log.key.platform,
        "conversationLogId": log.key.conversation_log_id,
        "kind": log.key.kind,
        "groupContactId": log.key.group_contact_id or None,
        "conversationId": log.conversation_id,
        "contactId": log.contact_id,
        "contactName": log.contact_name,
        "thirdPartyLogId": log.third_party_log_id,
        "state": log.state,
        "reason": log.reason,
        "states": counts,
        "dueAt": log.due_at,
        "createdAt": log.created_at,
        "updatedAt": log.updated_at,
    }


def _row_json(log: LogRow, row: MessageRow) -> dict[str, Any]:
    return {
        "id": log.key.display_id(row.id),
        "state": row.state,
        "thirdPartyLogId": row.third_party_log_id,
        "userId": row.user_id,
        "reason": row.reason,
        "sentAt": row.sent_at,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
    }


def _log_values(log: LogRow, counts: dict[str, int]) -> tuple[str, ...]:
    return (
        log.key.conversation_log_id,
        log.key.tenant,
        log.key.platform,
        f"{log.contact_name} ({log.contact_id})",
        log.third_party_log_id or "",
        log.state,
        ", ".join(f"{count} {state}" for state, count in sorted(counts.items())),
        log.reason or "",
    )


def _row_values(log: LogRow, row: MessageRow) -> tuple[str, ...]:
    return (
        log.key.display_id(row.id),
        row.state,
        row.third_party_log_id or "",
        row.user_id,
        time_text(row.updated_at),
        row.reason or "",
    )


def time_text(at: int) -> str:
    """Return a time (epoch ms) as `2026-07-13T09:30:00+00:00`."""
    return dt.datetime.fromtimestamp(at / 1000, tz=dt.UTC).isoformat(timespec="seconds")


def print_table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Print columns under their heads: side by side on a terminal, with tabs between them in a pipe."""
    table = [tuple(map(_printable, values)) for values in (heads, *lines)]
    if not sys.stdout.isatty():
        for values in table:
            print("\t".join(values))  # noqa: T201 - the command's output
        return
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    for values in table:
        # The terminal wraps a line that is too long, so an id that is copied from it is whole.
        padded = (
            value + " " * (width - cell_len(value)) for value, width in zip(values, widths, strict=True)
        )
        print("  ".join(padded).rstrip())  # noqa: T201 - the command's output


def printable_json(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON, in one line unless `indent` is given.

    Characters that control a terminal or reorder its text (controls beyond those that JSON escapes, direction
    overrides, line separators) are escaped; the JSON's value is the same.
    """
    encoded = msgspec.json.encode(value)
    text = (encoded if indent is None else msgspec.json.format(encoded, indent=indent)).decode()
    if text.isprintable():
        return text
    # Such characters are only in texts of the value; the line ends of indented JSON stay.
    return "".join(char if char.isprintable() or char == "\n" else _escape(char) for char in text)


def _escape(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{int.from_bytes(units[at : at + 2]):04x}" for at in range(0, len(units), 2))


def _printable(value: str) -> str:
    """Return a value on one line: names come from outside, and may hold characters that move a terminal's cursor."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in value
    )
