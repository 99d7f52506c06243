"""What lists of `messagelog` look like: columns on a terminal, lines with tabs in a pipe. Ids are never cut."""

from __future__ import annotations

import datetime as dt
import sys
from typing import TYPE_CHECKING, Any

import msgspec
from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from messagelog.storage import LogRow, MessageRow
    from messagelog.storage.rows import LogSummary

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


def print_logs(summaries: Iterable[LogSummary]) -> None:
    """Prints a line for each conversation log."""
    print_table(_LOG_HEADS, [_log_values(each.log, each.counts) for each in summaries])


def print_log(log: LogRow, rows: Sequence[MessageRow]) -> None:
    """Prints one conversation log and a line for each of its `messageLogs` rows."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    print_table(_LOG_HEADS, [_log_values(log, counts)])
    print_table(_ROW_HEADS, [_row_values(log, row) for row in rows])


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
    updated = dt.datetime.fromtimestamp(row.updated_at / 1000, tz=dt.UTC)
    return (
        log.key.shown(row.id),
        row.state,
        row.third_party_log_id or "",
        row.user_id,
        updated.isoformat(timespec="seconds"),
        row.reason or "",
    )


def print_table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Prints columns under their heads: side by side on a terminal, with tabs between them in a pipe."""
    table = [tuple(map(_printable, values)) for values in (heads, *lines)]
    if not sys.stdout.isatty():
        for values in table:
            print("\t".join(values))  # noqa: T201 - the command's output
        return
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    for values in table:
        # A line that is too long is wrapped by the terminal, and an id that is copied from it is whole.
        padded = (
            value + " " * (width - cell_len(value)) for value, width in zip(values, widths, strict=True)
        )
        print("  ".join(padded).rstrip())  # noqa: T201 - the command's output


def printable_json(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON, in one line unless it is to be indented.

    What drives a terminal or reorders what it shows (controls beyond those that JSON escapes, direction overrides, line
    separators) is escaped: the JSON says the same.
    """
    encoded = msgspec.json.encode(value)
    text = (encoded if indent is None else msgspec.json.format(encoded, indent=indent)).decode()
    if text.isprintable():
        return text
    # Such a character only stands within a text of the value; line ends of the indented JSON stay.
    return "".join(char if char.isprintable() or char == "\n" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{int.from_bytes(units[at : at + 2]):04x}" for at in range(0, len(units), 2))


def _printable(value: str) -> str:
    """A value on one line: names come from outside, and may hold what moves a terminal's cursor."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in value
    )
