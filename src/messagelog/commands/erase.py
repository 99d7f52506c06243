"""`messagelog erase`: a user or a tenant, with everything that is theirs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from messagelog.commands.common import print_line, refuse, run_in_store, with_database
from messagelog.commands.identity import current_operator, database_and_sealer
from messagelog.commands.options import DataOption
from messagelog.core.admin.erasure import Erased, Eraser
from messagelog.storage.vacuum import purge_deleted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from messagelog.storage import Store

erase_app = typer.Typer(help="Erase a user or a tenant, while servers run.", no_args_is_help=True)

_MOST_TRIES: Final = 30
_SECONDS: Final = 5.0

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


@erase_app.command("user")
def erase_user(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="The user's tenant.")],
    platform: Annotated[str, typer.Argument(metavar="PLATFORM", help="The connector's name.")],
    id_: Annotated[str, typer.Argument(metavar="ID", help="The user's id in the CRM.")],
    *,
    yes: YesOption = False,
    data: DataOption = None,
) -> None:
    """Erase a user: credentials, session, settings, and what waits for them. What is in the CRM stays there."""
    _confirm(f"Erase the user {id_} of {tenant} at {platform}?", yes=yes)
    by = current_operator()
    erased = _erase(data, lambda eraser: eraser.user(by, tenant, platform, id_))
    if erased.under_way:
        refuse(
            f"{erased.under_way} calls in the user's name have not ended yet. Please erase the user again later."
        )


@erase_app.command("tenant")
def erase_tenant(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="The tenant.")],
    platform: Annotated[
        str | None, typer.Argument(metavar="[PLATFORM]", help="At one platform; at all when it is left out.")
    ] = None,
    *,
    yes: YesOption = False,
    data: DataOption = None,
) -> None:
    """Erase a tenant: every row of every table. What is in the CRM stays there."""
    _confirm(f"Erase everything of {tenant}{f' at {platform}' if platform else ''}?", yes=yes)
    by = current_operator()
    _erase(data, lambda eraser: eraser.tenant(by, tenant, platform))


def _confirm(question: str, *, yes: bool) -> None:
    if not yes:
        typer.confirm(question, abort=True)


def _erase(data: Path | None, erase: Callable[[Eraser], Awaitable[Erased]]) -> Erased:
    """Erase until no call is under way, print what was erased, and purge the bytes from the database."""
    database_url, sealer = database_and_sealer(data)

    async def erase_all(store: Store) -> Erased:
        return await erase_until_done(lambda: erase(Eraser(store, sealer)), asyncio.sleep)

    erased = run_in_store(database_url, erase_all)
    for name, count in msgspec.to_builtins(erased).items():
        print_line(f"{name}\t{count}")
    if not with_database(purge_deleted, database_url):
        print_line(
            "The database keeps what it erased in free space, and so do its log and backups: see the manual."
        )
    return erased


async def erase_until_done(
    erase: Callable[[], Awaitable[Erased]], sleep: Callable[[float], Awaitable[None]]
) -> Erased:
    """Erase again while a call is under way; return the total of what was erased."""
    found = await erase()
    for _ in range(_MOST_TRIES):
        if not found.under_way:
            break
        await sleep(_SECONDS)
        found = found.and_then(await erase())
    return found
