"""Queries that run outside of a transaction: each statement sees what is committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from messagelog.storage.records.journal import (
    ActivityLink,
    DayLog,
    Facts,
    JournalLookup,
    KnownFacts,
    LogState,
    LogSummary,
    OpenCount,
    RowState,
    RowStatus,
)
from messagelog.storage.transactions.clock import LONGEST_DELAY_MS
from messagelog.storage.transactions.commands import Batch, Query
from messagelog.storage.transactions.mapping import (
    KEY_COLUMNS,
    key_from,
    key_params,
    log_with_key_from,
    row_from,
    twin_params,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from messagelog.storage.records.journal import LogKey, LogRow, MessageRow, Window
    from messagelog.storage.transactions.commands import Transaction


def look_up_plain(key: LogKey, ids: Sequence[str]) -> Transaction[JournalLookup]:
    """Look up messages whose records say nothing that may change, and their conversation log, with one query.

    What has facts counts as not logged.
    """
    return _look_up((yield Query("look_up", {**key_params(key), "ids": ids, "plain": True})))


def look_up_everywhere(
    key: LogKey, ids: Sequence[str], contact_id: str, window: Window | None, *, with_facts: bool
) -> Transaction[JournalLookup]:
    """Look up messages and their conversation log. What the contact's other kind of log has counts as logged.

    If the log does not exist, find the conversation's other logs in the `window`. `with_facts` says that some of the
    records have facts: what is known of the facts of all messages is looked up then.
    """
    listed = [] if key.shared else ids
    asked = [
        Query("look_up", {**key_params(key), "ids": ids, "plain": False}),
        Query("twins", twin_params(key, contact_id, listed)),
        Query("find_facts", {**key_params(key), "ids": listed, "every": with_facts}),
    ]
    if window is not None:
        conversation_id, since, until = window
        place = {**key_params(key), "conversation": conversation_id, "since": since, "until": until}
        asked.append(Query("logs_of_days", place))
    rows, twins, facts, *days = yield Batch(*asked)
    known = _look_up(rows)
    return replace(
        known,
        unlogged=known.unlogged.difference(id_ for (id_,) in twins),
        days=tuple(map(_day_log, days[0])) if days else (),
        facts=tuple(KnownFacts(id_, log, Facts(told, at or 0)) for id_, log, told, at in facts),
    )


def _day_log(row: Sequence[Any]) -> DayLog:
    log_id, contact_id, contact_name, version, state, linked, first_at, last_at = row
    told = (contact_id, contact_name, version, LogState(state), bool(linked))
    return DayLog(log_id, *told, first_at, last_at)


def _look_up(rows: Sequence[Sequence[Any]]) -> JournalLookup:
    unlogged = frozenset(row[0] for row in rows if row[0] is not None)
    for id_, contact_id, contact_name, version, state, linked in rows:
        if id_ is None:
            return JournalLookup(unlogged, contact_id, contact_name, version, LogState(state), bool(linked))
    return JournalLookup(unlogged)


def find_holders(key: LogKey, ids: Sequence[str]) -> Transaction[list[tuple[str, str]]]:
    """Return the contacts (id, name) that these messages are logged for, in logs of this one's kind."""
    rows = yield Query("holders", {**key_params(key), "ids": ids})
    return [(contact_id, contact_name) for contact_id, contact_name in rows]


def report_rows(key: LogKey, ids: Sequence[str]) -> Transaction[list[RowStatus]]:
    """Return the states of these rows; leave out ids that the journal does not know.

    They may be in another log than this one, of its kind and its group's contact.
    """
    rows = yield Query("report_rows", {**key_params(key), "ids": ids})
    return [RowStatus(id_, RowState(state), *others) for id_, state, *others in rows]


def find_links(tenant: str, platform: str, ids: Sequence[str]) -> Transaction[list[ActivityLink]]:
    """Return the activities that hold these messages; leave out those that are not logged, and threads."""
    params = {"tenant": tenant, "platform": platform, "shared": False, "ids": ids}
    rows = yield Query("find_links", params)
    return [ActivityLink(*row) for row in rows]


def find_entries(log: LogRow, activity: str | None = None) -> Transaction[list[tuple[int, bytes, str]]]:
    """Time, hash and row id of every entry that the log's activity holds by the journal, or another one of its."""
    params = {**key_params(log.key), "third_party_log_id": activity or log.third_party_log_id}
    rows = yield Query("entries_of_activity", params)
    return [(sent_at, entry_hash, id_) for sent_at, entry_hash, id_ in rows]


def find_message(key: LogKey, id_: str) -> Transaction[MessageRow | None]:
    """Return a message's row, without its text; None if this conversation log has none."""
    rows = yield Query("find_rows", {**key_params(key), "ids": [id_]})
    found = [row for row in map(row_from, rows) if row.client_log_id == key.client_log_id]
    return found[0] if found else None


def find_linked_activities(log: LogRow) -> Transaction[frozenset[str]]:
    """Return the activities of the log's contact that belong to other conversation logs."""
    rows = yield Query("linked_activities", {**key_params(log.key), "contact_id": log.contact_id})
    return frozenset(row[0] for row in rows)


def find_due_logs(
    platforms: Sequence[str], *, each: int, tenants: int, after: str = ""
) -> Transaction[list[LogKey]]:
    """Return conversation logs of these platforms that may be claimed now: `each` of a tenant, the longest due first.

    Tenants whose CRM must not be called yet are left out. If there are more than so many `tenants`, those behind
    `after` come first, in the order of their names; a caller goes on behind the last one. Logs of a platform that is
    not served any more stay due.
    """
    found = yield Batch(
        *(
            Query(
                "due_tenants",
                {"platform": platform, "after": name, "limit": tenants, "longest_ms": LONGEST_DELAY_MS},
            )
            for platform in platforms
            for name in dict.fromkeys((after, ""))
        )
    )
    ways = len(dict.fromkeys((after, "")))
    pairs: dict[tuple[str, str], None] = {}
    for place, rows in enumerate(found):
        pairs.update(dict.fromkeys((tenant, platforms[place // ways]) for (tenant,) in rows))
    # Those behind `after` first, whatever their platform.
    chosen = sorted(pairs, key=lambda pair: (pair[0] <= after, pair))[:tenants]
    logs = yield Batch(
        *(
            Query("due_logs", {"tenant": tenant, "platform": platform, "limit": each})
            for tenant, platform in chosen
        )
    )
    return [key_from(row) for rows in logs for row in rows]


def find_next_due() -> Transaction[float | None]:
    """Return the seconds until the next conversation log is due: 0 if one is due, None if none waits."""
    rows = yield Query("next_due", {})
    due, now = rows[0]
    return None if due is None else max(0.0, (due - now) / 1000)


def count_open() -> Transaction[list[OpenCount]]:
    """Return how many messages have met an error and are not logged, by platform and state."""
    rows = yield Query("count_open", {})
    return [OpenCount(*row) for row in rows]


def list_logs(limit: int) -> Transaction[list[LogSummary]]:
    """Return conversation logs of all tenants, the last changed first, with their number of rows in each state."""
    logs = [log_with_key_from(row) for row in (yield Query("list_logs", {"limit": limit}))]
    counts = yield Batch(*(Query("count_states", key_params(log.key)) for log in logs))
    return [LogSummary(log, dict(states)) for log, states in zip(logs, counts, strict=True)]


def count_logs() -> Transaction[int]:
    """Return how many conversation logs there are, of all tenants."""
    rows = yield Query("count_logs", {})
    return int(rows[0][0])


def show_logs(id_: str) -> Transaction[list[tuple[LogRow, list[MessageRow]]]]:
    """Return the conversation logs that are shown with this id, or hold a message that is, each with all its rows."""
    params = {"shown": id_, "ids": _without_contact(id_)}
    found = yield Query("logs_by_id", params)
    if not found:
        found = yield Query("logs_of_message", params)
    logs = [log_with_key_from(row) for row in found]
    rows = yield Batch(*(Query("rows_of_log", key_params(log.key)) for log in logs))
    return [(log, [row_from(values) for values in held]) for log, held in zip(logs, rows, strict=True)]


def find_log_keys(id_: str) -> Transaction[list[LogKey]]:
    """Return the keys of the conversation logs that are shown with this id."""
    rows = yield Query("logs_by_id", {"shown": id_, "ids": _without_contact(id_)})
    return [key_from(row[:KEY_COLUMNS]) for row in rows]


def find_logs_of_contact(
    tenant: str, platform: str, contact_id: str
) -> Transaction[list[tuple[LogRow, list[MessageRow]]]]:
    """Return the conversation logs of a contact, the oldest first, each with all its rows (without their text)."""
    params = {"tenant": tenant, "platform": platform, "contact_id": contact_id}
    logs = [log_with_key_from(row) for row in (yield Query("logs_of_contact", params))]
    rows = yield Batch(*(Query("rows_of_log", key_params(log.key)) for log in logs))
    return [(log, [row_from(values) for values in held]) for log, held in zip(logs, rows, strict=True)]


def _without_contact(shown: str) -> list[str]:
    """Return the ids that a shown id may stand for: itself, and the text before each of its hyphens."""
    return [shown, *(shown[:at] for at, character in enumerate(shown) if character == "-")]
