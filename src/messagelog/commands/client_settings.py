"""`messagelog settings`: settings of the client, for all users of a tenant."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from messagelog.commands.common import database_url_of, print_line, refuse, run_in_store
from messagelog.commands.options import DataOption
from messagelog.commands.tables import print_json
from messagelog.core.users.settings import AdminSetting, Locale, UserSettings, read_admin_settings
from messagelog.messages import BadRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

settings_app = typer.Typer(
    help="Show and change settings of the client, for all users of a tenant.", no_args_is_help=True
)

TenantOption = Annotated[str, typer.Option(help="Whose users: the tenant that the connector names at login.")]
PlatformOption = Annotated[str, typer.Option(help="The connector's name.")]


@settings_app.command("show")
def show_settings(tenant: TenantOption, platform: PlatformOption, data: DataOption = None) -> None:
    """Print the settings for all users of a tenant, as JSON that `load` takes."""
    print_json(_with_settings(data, lambda user_settings: user_settings.admins(tenant, platform)))


@settings_app.command("load")
def load_settings(
    file: Annotated[
        typer.FileBinaryRead, typer.Argument(help="JSON by the setting's id; - reads it from a pipe.")
    ],
    tenant: TenantOption,
    platform: PlatformOption,
    data: DataOption = None,
) -> None:
    """Replace the settings for all users of a tenant by those of a file."""

    async def replace(user_settings: UserSettings) -> int:
        wanted = read_admin_settings(file.read())
        gone = (await user_settings.admins(tenant, platform)).keys() - wanted.keys()
        await user_settings.change_admins(tenant, platform, wanted, gone)
        return len(wanted)

    count = _with_settings(data, replace)
    print_line(f"{count} settings for {tenant} at {platform}.")


@settings_app.command("set")
def set_setting(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The setting's id.")],
    value: Annotated[str, typer.Argument(help="Its value: JSON, or else a text.")],
    *,
    tenant: TenantOption,
    platform: PlatformOption,
    customizable: Annotated[bool, typer.Option(help="Whether users may choose another value.")] = False,
    data: DataOption = None,
) -> None:
    """Set one setting for all users of a tenant."""
    try:
        read = json.loads(value)
    except ValueError:
        read = value
    setting = AdminSetting(value=read, customizable=customizable)
    _with_settings(data, lambda user_settings: user_settings.change_admins(tenant, platform, {id_: setting}))


@settings_app.command("hide")
def hide_setting(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The setting's id.")],
    tenant: TenantOption,
    platform: PlatformOption,
    data: DataOption = None,
) -> None:
    """Hide a setting from all users of a tenant, also from those who have chosen a value."""
    hidden = {id_: AdminSetting(is_removed=True)}
    _with_settings(data, lambda user_settings: user_settings.change_admins(tenant, platform, hidden))


@settings_app.command("unset")
def unset_setting(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The setting's id.")],
    tenant: TenantOption,
    platform: PlatformOption,
    data: DataOption = None,
) -> None:
    """Remove a setting for all users of a tenant: each user's own value holds again."""
    _with_settings(data, lambda user_settings: user_settings.change_admins(tenant, platform, {}, [id_]))


def _with_settings(data: Path | None, work: Callable[[UserSettings], Awaitable[Any]]) -> Any:
    """Return the result of `work` with the settings in the database; refuse a setting that is not valid."""
    try:
        return run_in_store(database_url_of(data), lambda store: work(UserSettings(store, Locale())))
    except BadRequest as error:
        refuse(f"{error}.")
