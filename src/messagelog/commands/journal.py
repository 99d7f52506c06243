"""`messagelog journal`: the id that external ids carry, and a new one for a copy of a database."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated

import typer

from messagelog.commands.common import database_url_of, print_line, run_in_store
from messagelog.commands.identity import current_operator
from messagelog.commands.options import DataOption
from messagelog.core.operators.accounts import Role
from messagelog.storage import AuditEntry, transactions

if TYPE_CHECKING:
    from messagelog.storage import Store

journal_app = typer.Typer(
    help="Show the journal's id, and make a copy of a database a journal of its own.", no_args_is_help=True
)

_MEANT = (
    "Is this database a copy, and do no servers run on it? What the original has under way is let go of here."
)


@journal_app.command("show")
def show(data: DataOption = None) -> None:
    """Show the id that this journal's external ids carry."""
    print_line(run_in_store(database_url_of(data), lambda store: store.read(transactions.read_journal_id)))


@journal_app.command("new-id")
def new_id(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    data: DataOption = None,
) -> None:
    """Make a copy of a database a journal of its own, while no server runs on it.

    From then on it leaves alone what is the original's in the CRM: it adds nothing to the original's activities, and
    does not go on with what the original has not logged yet. That has failed here, and can be tried again.
    """
    if not yes:
        typer.confirm(_MEANT, abort=True)
    id_ = secrets.token_hex(4)
    entry = AuditEntry(current_operator().name, "new_journal_id", Role.ADMINISTER, subject=id_)

    async def part(store: Store) -> None:
        await store.write(lambda: transactions.part_from_original(id_, entry))

    run_in_store(database_url_of(data), part)
    print_line(f"The journal's id is {id_}.")
