"""`messagelog export`: what is held about a person."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from messagelog.commands.common import refuse, run_in_store
from messagelog.commands.identity import current_operator, database_and_sealer
from messagelog.commands.options import DataOption
from messagelog.commands.tables import printable_json
from messagelog.core.admin.export import Export, export_contact
from messagelog.messages import BadRequest
from messagelog.storage.encryption.sealer import SealBroken

if TYPE_CHECKING:
    from messagelog.storage import Store

export_app = typer.Typer(help="Export what is held about a person.", no_args_is_help=True)


@export_app.callback()
def export() -> None:
    """Export what is held about a person."""


@export_app.command("contact")
def contact(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="The tenant.")],
    platform: Annotated[str, typer.Argument(metavar="PLATFORM", help="The connector's name.")],
    *,
    id_: Annotated[str | None, typer.Option("--id", help="The contact's id in the CRM.")] = None,
    phone: Annotated[str | None, typer.Option(help="A number that contacts were found with.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="A new file, for its owner's eyes only, instead of the terminal.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Print everything that is held about a contact as JSON, with texts that wait. The audit record notes it."""
    database_url, sealer = database_and_sealer(data)

    async def read(store: Store) -> Export:
        by = current_operator()
        return await export_contact(store, sealer, by, tenant, platform, contact_id=id_, phone_number=phone)

    try:
        found = run_in_store(database_url, read)
    except BadRequest:
        refuse("Say either --id or --phone, and a number with digits.")
    except SealBroken:
        refuse("The contacts of this number are sealed with another secret key.")
    text = f"{printable_json(found, indent=2)}\n".encode()
    if output is None:
        sys.stdout.buffer.write(text)
        return
    try:
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
    except OSError as error:
        refuse(f"{output} cannot be written: {error.strerror}.")
