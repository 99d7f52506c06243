"""What is read outside of any transaction: each statement sees what is committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from messagelog.storage.rows import (
    DayLog,
    Facts,
    KnownFacts,
    Link,
    LogState,
    LogSummary,
    LookUp,
    OpenCount,
    RowReport,
    RowState,
)
from messagelog.storage.scripts.asking import Fetch, Together
from messagelog.storage.scripts.clock import LONGEST_DELAY_MS
from messagelog.storage.scripts.values import (
    KEY_COLUMNS,
    key_from,
    key_params,
    keyed_log_from,
    row_from,
    twin_params,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from messagelog.storage.rows import LogKey, LogRow, MessageRow, Window
    from messagelog.storage.scripts.asking import Script


def look_up(key: LogKey, ids: Sequence[str]) -> Script[LookUp]:
    """What the journal knows of these message ids and of their conversation log, with one query."""
    return _look_up((yield Fetch("look_up", {**key_params(key), "ids": ids})))


def look_at_plain(key: LogKey, ids: Sequence[str]) -> Script[LookUp]:
    """The same of messages whose records say nothing that may change; what has facts counts as not logged."""
    return _look_up((yield Fetch("look_at_plain", {**key_params(key), "ids": ids})))


def look_around(
    key: LogKey, ids: Sequence[str], contact_id: str, window: Window | None, *, with_facts: bool
) -> Script[LookUp]:
    """The same, and what is logged elsewhere: for the same contact in its other kind of log, it is logged.

    In the `window` the conversation's other logs are looked for, where this one is not there. `with_facts` says that
    some of the records have facts: what is known of the facts of all messages is looked up then.
    """
    listed = [] if key.shared else ids
    asked = [
        Fetch("look_up", {**key_params(key), "ids": ids}),
        Fetch("twins", twin_params(key, contact_id, listed)),
        Fetch("find_facts", {**key_params(key), "ids": listed, "every": with_facts}),
    ]
    if window is not None:
        conversation_id, since, until = window
        place = {**key_params(key), "conversation": conversation_id, "since": since, "until": until}
        asked.append(Fetch("logs_of_days", place))
    rows, twins, facts, *days = yield Together(*asked)
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


def _look_up(rows: Sequence[Sequence[Any]]) -> LookUp:
    unlogged = frozenset(row[0] for row in rows if row[0] is not None)
    for id_, contact_id, contact_name, version, state, linked in rows:
        if id_ is None:
            return LookUp(unlogged, contact_id, contact_name, version, LogState(state), bool(linked))
    return LookUp(unlogged)


def holders(key: LogKey, ids: Sequence[str]) -> Script[list[tuple[str, str]]]:
    """The contacts (id, name) that these messages are logged for, in logs of this one's kind."""
    rows = yield Fetch("holders", {**key_params(key), "ids": ids})
    return [(contact_id, contact_name) for contact_id, contact_name in rows]


def report_rows(key: LogKey, ids: Sequence[str]) -> Script[list[RowReport]]:
    """The states of these rows; ids that the journal does not know are left out.

    They may be in another log than this one, of its kind and its group's contact.
    """
    rows = yield Fetch("report_rows", {**key_params(key), "ids": ids})
    return [RowReport(id_, RowState(state), *others) for id_, state, *others in rows]


def find_links(tenant: str, platform: str, ids: Sequence[str]) -> Script[list[Link]]:
    """The activities that hold these messages; those that are not logged are left out, and so are threads."""
    params = {"tenant": tenant, "platform": platform, "shared": False, "ids": ids}
    rows = yield Fetch("find_links", params)
    return [Link(*row) for row in rows]


def entries_of(log: LogRow, activity: str | None = None) -> Script[list[tuple[int, bytes, str]]]:
    """Time, hash and row id of every entry that the log's activity holds by the journal, or another one of its."""
    params = {**key_params(log.key), "third_party_log_id": activity or log.third_party_log_id}
    rows = yield Fetch("entries_of_activity", params)
    return [(sent_at, entry_hash, id_) for sent_at, entry_hash, id_ in rows]


def find_message(key: LogKey, id_: str) -> Script[MessageRow | None]:
    """A message's row, without its text; None where there is none in this conversation log."""
    rows = yield Fetch("find_rows", {**key_params(key), "ids": [id_]})
    found = [row for row in map(row_from, rows) if row.client_log_id == key.client_log_id]
    return found[0] if found else None


def linked_activities(log: LogRow) -> Script[frozenset[str]]:
    """The activities of the log's contact that belong to other conversation logs."""
    rows = yield Fetch("linked_activities", {**key_params(log.key), "contact_id": log.contact_id})
    return frozenset(row[0] for row in rows)


def due_logs(platforms: Sequence[str], *, each: int, tenants: int, after: str = "") -> Script[list[LogKey]]:
    """Conversation logs of these platforms that somebody may take up now: `each` of a tenant, the longest due first.

    Tenants whose CRM must not be called yet are left out. Of more than so many `tenants` those behind `after` come
    first, in the order of their names; a caller goes on behind the last one. Logs of a platform that nobody serves
    any more stay due.
    """
    found = yield Together(
        *(
            Fetch(
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
    logs = yield Together(
        *(
            Fetch("due_logs", {"tenant": tenant, "platform": platform, "limit": each})
            for tenant, platform in chosen
        )
    )
    return [key_from(row) for rows in logs for row in rows]


def next_due() -> Script[float | None]:
    """Seconds until the next conversation log is due (0 when one is), None when none waits."""
    rows = yield Fetch("next_due", {})
    due, now = rows[0]
    return None if due is None else max(0.0, (due - now) / 1000)


def count_open() -> Script[list[OpenCount]]:
    """How many messages met with trouble and are not logged, by platform and state."""
    rows = yield Fetch("count_open", {})
    return [OpenCount(*row) for row in rows]


def list_logs(limit: int) -> Script[list[LogSummary]]:
    """Conversation logs of all tenants, the last changed first, with the number of rows in each state."""
    logs = [keyed_log_from(row) for row in (yield Fetch("list_logs", {"limit": limit}))]
    counts = yield Together(*(Fetch("count_states", key_params(log.key)) for log in logs))
    return [LogSummary(log, dict(states)) for log, states in zip(logs, counts, strict=True)]


def count_logs() -> Script[int]:
    """How many conversation logs there are, of all tenants."""
    rows = yield Fetch("count_logs", {})
    return int(rows[0][0])


def show_logs(id_: str) -> Script[list[tuple[LogRow, list[MessageRow]]]]:
    """The conversation logs that are shown with this id, or hold a message that is, each with all its rows."""
    params = {"shown": id_, "ids": _without_contact(id_)}
    found = yield Fetch("logs_by_id", params)
    if not found:
        found = yield Fetch("logs_of_message", params)
    logs = [keyed_log_from(row) for row in found]
    rows = yield Together(*(Fetch("rows_of_log", key_params(log.key)) for log in logs))
    return [(log, [row_from(values) for values in held]) for log, held in zip(logs, rows, strict=True)]


def logs_shown_as(id_: str) -> Script[list[LogKey]]:
    """The keys of the conversation logs that are shown with this id."""
    rows = yield Fetch("logs_by_id", {"shown": id_, "ids": _without_contact(id_)})
    return [key_from(row[:KEY_COLUMNS]) for row in rows]


def logs_of_contact(
    tenant: str, platform: str, contact_id: str
) -> Script[list[tuple[LogRow, list[MessageRow]]]]:
    """The conversation logs of a contact, the oldest first, each with all its rows (without their text)."""
    params = {"tenant": tenant, "platform": platform, "contact_id": contact_id}
    logs = [keyed_log_from(row) for row in (yield Fetch("logs_of_contact", params))]
    rows = yield Together(*(Fetch("rows_of_log", key_params(log.key)) for log in logs))
    return [(log, [row_from(values) for values in held]) for log, held in zip(logs, rows, strict=True)]


def _without_contact(shown: str) -> list[str]:
    """The ids that a shown one may be: itself, and what stands before each of its hyphens."""
    return [shown, *(shown[:at] for at, character in enumerate(shown) if character == "-")]
