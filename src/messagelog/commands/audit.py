"""`messagelog audit`: what operators looked at and did."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Final

import typer

from messagelog.commands.common import database_url_of, run_in_store
from messagelog.commands.options import DataOption, JsonOption
from messagelog.commands.tables import print_json, print_table, report_omitted
from messagelog.storage import transactions

if TYPE_CHECKING:
    from messagelog.storage import AuditRow, Store

_HEADS: Final = ("at", "operator", "act", "role", "tenant", "platform", "subject")
_MONTH: Final = dt.timedelta(days=30)


def audit(
    operator: Annotated[
        str | None, typer.Option(help="One operator's alone; local:USER for who ran a command.")
    ] = None,
    since: Annotated[
        dt.datetime | None, typer.Option(help="From when on, in UTC; the last 30 days when it is left out.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 1000,
    *,
    json_: JsonOption = False,
    data: DataOption = None,
) -> None:
    """List what operators looked at and did, the newest first: in columns, or with tabs in a pipe."""
    begin = dt.datetime.now(dt.UTC) - _MONTH if since is None else since.replace(tzinfo=dt.UTC)
    begin_ms = int(begin.timestamp() * 1000)

    async def read(store: Store) -> tuple[list[AuditRow], int]:
        rows = await store.read(lambda: transactions.read_audit(begin_ms, limit, operator))
        if len(rows) < limit:
            return rows, len(rows)
        return rows, await store.read(lambda: transactions.count_audit(begin_ms, operator))

    rows, total = run_in_store(database_url_of(data), read)
    if json_:
        print_json(rows)
    else:
        lines = [
            (
                dt.datetime.fromtimestamp(row.at / 1000, tz=dt.UTC).isoformat(timespec="milliseconds"),
                *(row.operator, row.act),
                *(each or "" for each in (row.role, row.tenant, row.platform, row.subject)),
            )
            for row in rows
        ]
        print_table(_HEADS, lines)
    report_omitted(len(rows), total)
