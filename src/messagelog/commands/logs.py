"""`messagelog logs`: conversation logs with their messageLogs rows; its sub-commands are those of the inbox too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from messagelog.commands import inbox, inbox_actions
from messagelog.commands.common import database_url_of, refuse, run_in_store
from messagelog.commands.options import DataOption, JsonOption
from messagelog.commands.tables import print_logs, print_whole_logs, report_omitted
from messagelog.storage import transactions

if TYPE_CHECKING:
    from pathlib import Path

logs_app = typer.Typer(help="Show conversation logs and their messageLogs rows.", invoke_without_command=True)
for _state, _meaning in inbox.STATES.items():
    logs_app.command(_state, help=_meaning)(inbox.list_command(_state))
for _command in (
    inbox.causes,
    inbox.why,
    inbox.export,
    inbox_actions.retry,
    inbox_actions.link,
    inbox_actions.done,
):
    logs_app.command()(_command)


@logs_app.callback()
def logs(
    context: typer.Context,
    data: DataOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the last changed first.")] = 50,
    *,
    json_: JsonOption = False,
) -> None:
    """List conversation logs with their states and reasons: in columns, or with tabs in a pipe."""
    if context.invoked_subcommand is not None:
        if json_:
            refuse(f"Put --json behind the command: messagelog logs {context.invoked_subcommand} --json")
        context.obj = data
        return
    found = _read(data, lambda: transactions.list_logs(limit))
    print_logs(found, as_json=json_)
    if len(found) == limit:
        report_omitted(limit, _read(data, transactions.count_logs))


@logs_app.command("show")
def show(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="A conversation log's id, or a message's.")],
    *,
    json_: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Show one conversation log with all its messageLogs rows."""
    found = _read(data or context.obj, lambda: transactions.show_logs(id_))
    if not found:
        refuse(f"There is no conversation log or message with the id {id_}.")
    print_whole_logs(found, as_json=json_)


def _read(data: Path | None, transaction: Any) -> Any:
    """Return what a transaction reads from the database."""
    return run_in_store(database_url_of(data), lambda store: store.read(transaction))
