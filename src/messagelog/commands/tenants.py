"""`messagelog tenants`: the tenants with their hosts, and a CRM's move to another host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from messagelog import settings as configuration
from messagelog.commands.common import database_url_of, print_line, refuse, require_settings, run_in_store
from messagelog.commands.identity import current_operator
from messagelog.commands.options import DataOption, JsonOption
from messagelog.commands.tables import print_json, print_table, time_text
from messagelog.connectors.loading import load_connector
from messagelog.core.users.tenants import HostTaken, Tenants, TenantUnknown
from messagelog.messages import BadRequest

if TYPE_CHECKING:
    from messagelog.storage import Store, TenantHost

tenants_app = typer.Typer(help="List tenants with their hosts, and move them.", no_args_is_help=True)

_HEADS: Final = ("tenant", "platform", "host", "crmTenant", "createdAt")


@tenants_app.command("list")
def list_tenants(
    tenant: Annotated[str | None, typer.Argument(help="One tenant alone; all when it is left out.")] = None,
    *,
    platform: Annotated[str | None, typer.Option(help="At this platform alone.")] = None,
    json_: JsonOption = False,
    data: DataOption = None,
) -> None:
    """List tenants in the order of their names, a line for each host that is theirs."""

    async def fetch(store: Store) -> list[TenantHost]:
        page = await Tenants(store).page(tenant, platform)
        found = page.tenants
        while page.next is not None:
            page = await Tenants(store).page(tenant, platform, after=page.next)
            found += page.tenants
        return found

    found = run_in_store(database_url_of(data), fetch)
    if json_:
        print_json(found)
    else:
        lines = [
            (each.tenant, each.platform, each.host, each.crm_tenant, time_text(each.created_at))
            for each in found
        ]
        print_table(_HEADS, lines)


@tenants_app.command("move")
def move(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="The tenant, as `list` shows it.")],
    platform: Annotated[str, typer.Argument(metavar="PLATFORM", help="The connector's name.")],
    hostname: Annotated[
        str, typer.Argument(metavar="HOST", help="The host where its CRM is now, as users say it.")
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    data: DataOption = None,
) -> None:
    """Move a tenant to another host, the only one where its CRM is from now on. Nothing is logged again."""
    if data is None:
        _, (database_url, connectors) = require_settings(configuration.validate_for_moving)
    else:  # the demo serves its own CRM, at any port
        database_url = database_url_of(data)
        connectors = {"demo": load_connector("demo", demo_crm_url="http://127.0.0.1")}
    if platform not in connectors:
        refuse(f"There is no platform {platform}: this server has {', '.join(sorted(connectors))}.")
    if not yes:
        question = (
            f"Send the credentials of all users of {tenant} at {platform}, and what waits, to {hostname}?"
        )
        typer.confirm(question, abort=True)
    by, connector = current_operator(), connectors[platform]
    try:
        moved = run_in_store(database_url, lambda store: Tenants(store).move(by, connector, tenant, hostname))
    except TenantUnknown:
        refuse(f"There is no tenant {tenant} at {platform}: `messagelog tenants list` shows which there are.")
    except HostTaken as error:
        refuse(
            f"{hostname} is the host of another tenant, {error}: its users have signed in there.",
            f"If that is the same CRM, erase what is held of {error} first: `messagelog erase tenant`.",
        )
    except BadRequest as error:
        refuse(f"{error}.")
    print_line(f"{tenant} at {platform} is at {moved.host or 'whichever host its users say'} now.")
    print_line(f"users\t{moved.users}")
