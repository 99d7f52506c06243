"""The commands of `messagelog`. A server loads none of this: `__main__.py` knows the command `serve` by itself."""

from __future__ import annotations

import json
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import messagelog
from messagelog import compose
from messagelog import settings as configuration
from messagelog.commands import inbox, inbox_actions
from messagelog.commands.audit import audit
from messagelog.commands.backup import backup, restore
from messagelog.commands.common import (
    database_url_of,
    load_settings_file,
    refuse,
    require_settings,
    run_in_store,
    with_database,
)
from messagelog.commands.config import config_app
from messagelog.commands.erase import erase_app
from messagelog.commands.export import export_app
from messagelog.commands.journal import journal_app
from messagelog.commands.keys import keys_app
from messagelog.commands.operators import operators_app
from messagelog.commands.options import DataOption, JsonOption
from messagelog.commands.serve import serve
from messagelog.commands.tenants import tenants_app
from messagelog.commands.users import users_app
from messagelog.core.users.settings import AdminSetting, Locale, UserSettings, read_admin_settings
from messagelog.listing import print_json, print_logs, print_whole_logs, report_omitted
from messagelog.messages import BadRequest, parse_log_request
from messagelog.server.asgi.uvicorn_server import CannotListen
from messagelog.server.routes.manifest import build_manifest
from messagelog.storage import transactions
from messagelog.storage.database import migrate
from messagelog.storage.store import UnusableFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


EnvFileOption = Annotated[
    Path | None,
    typer.Option(help="A file of settings, NAME=value in each line; MESSAGELOG_ENV_FILE names one as well."),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"messagelog {messagelog.__version__}")  # noqa: T201 - the command's output
        raise typer.Exit


@app.callback(help=messagelog.__doc__)
def main(
    env_file: EnvFileOption = None,
    *,
    version: Annotated[  # noqa: ARG001 - its callback has printed it
        bool,
        typer.Option("--version", help="Prints the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Reads a file of settings, whatever the command is. What the environment says goes before what the file says."""
    load_settings_file(env_file)


logs_app = typer.Typer(
    help="Shows conversation logs and their messageLogs rows.", invoke_without_command=True
)
app.add_typer(logs_app, name="logs")
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
settings_app = typer.Typer(
    help="Shows and changes settings of the client, for all users of a tenant.", no_args_is_help=True
)
app.add_typer(settings_app, name="settings")
app.add_typer(operators_app, name="operators")
app.add_typer(erase_app, name="erase")
app.add_typer(export_app, name="export")
app.command("audit")(audit)
app.command()(backup)
app.command()(restore)
app.add_typer(config_app, name="config")
app.add_typer(journal_app, name="journal")
app.add_typer(keys_app, name="keys")
app.add_typer(users_app, name="users")
app.add_typer(tenants_app, name="tenants")

_DATA = Path("messagelog-data")

HostOption = Annotated[str, typer.Option(help="The address to listen at.")]
PortOption = Annotated[int, typer.Option(min=0, max=65_535, help="The port to listen at; 0: a free one.")]


@app.command()
def demo(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8787,
    data: Annotated[Path, typer.Option(help="The folder that keeps the demo's data.")] = _DATA,
) -> None:
    """Serves everything to try out: the server, a demo CRM, users of two tenants."""
    from messagelog.demo import serve_demo  # noqa: PLC0415 - the demo's parts are loaded for the demo only

    _serve_or_refuse(serve_demo, host, port, data)


@app.command("demo-crm")
def demo_crm(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8788,
    data: Annotated[Path, typer.Option(help="The folder that keeps the CRM's data.")] = _DATA,
) -> None:
    """Serves the demo CRM alone, at /demo-crm."""
    from messagelog.demo import serve_demo_crm  # noqa: PLC0415 - as above

    _serve_or_refuse(serve_demo_crm, host, port, data)


@app.command("serve")
def serve_command(
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65_535, help="The port to listen at, instead of MESSAGELOG_PORT; 0: a free one."
        ),
    ] = None,
    env_file: EnvFileOption = None,
) -> None:
    """Serves for real use, configured by MESSAGELOG_* settings."""
    serve(port, env_file)


@app.command()
def manifest(
    platform: Annotated[str, typer.Argument(help="One platform alone; all when it is left out.")] = "",
) -> None:
    """Shows the client's manifest, once it is checked: what the Developer Console is to publish."""
    settings, connectors = require_settings(configuration.validate_for_manifest)
    if platform and platform not in connectors:
        refuse(f"There is no platform {platform}: MESSAGELOG_CONNECTORS has {', '.join(sorted(connectors))}.")
    chosen = {platform: connectors[platform]} if platform else connectors
    print_json(build_manifest(chosen, settings.public_url, settings.oauth_redirect_uri))


@app.command("migrate")
def migrate_command() -> None:
    """Brings the database's schema to the newest version."""
    with_database(migrate, database_url_of(None))
    print("The database is up to date.")  # noqa: T201 - the command's output


class Format(StrEnum):
    """The formats that can be previewed, by short names."""

    PLAIN = "plain"
    HTML = "html"
    MARKDOWN = "markdown"


@app.command()
def preview(
    file: Annotated[
        str, typer.Argument(help="A request body, as POST /messageLog takes it; - for standard input.")
    ],
    format_: Annotated[Format, typer.Option("--format", help="The CRM's log format.")] = Format.PLAIN,
    language: Annotated[str, typer.Option(help=f"One of {', '.join(compose.LANGUAGES)}.")] = "en",
    zone: Annotated[
        str, typer.Option(help="The user's time zone: Europe/Madrid, or an offset: -07:00.")
    ] = "UTC",
) -> None:
    """Shows the subject and the body of the activity that a request would become. Nothing is logged."""
    if language not in compose.LANGUAGES:
        refuse(f"--language: expected one of {', '.join(compose.LANGUAGES)}.")
    picked = compose.pick_zone(zone, None)
    if picked == "UTC" and not _UTC.fullmatch(zone):
        refuse("--zone: expected a name such as Europe/Madrid, or an offset such as -07:00.")
    try:
        body = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        request = parse_log_request(body)
    except OSError as error:
        refuse(f"{file} cannot be read: {error.strerror}.")
    except BadRequest as error:
        refuse(f"{error}.")
    if request.info.is_empty:
        refuse("logInfo.messages: there are no messages to log.")
    content = compose.compose_request(compose.TextSettings(_FORMATS[format_], picked, language), request)
    sys.stdout.buffer.write(f"{content.subject}\n\n{content.body}\n".encode())


_UTC = re.compile(r"(UTC|GMT)?([+-]?0{1,2}(:?00)?)?", re.IGNORECASE)
_FORMATS = {
    Format.PLAIN: compose.LogFormat.PLAIN,
    Format.HTML: compose.LogFormat.HTML,
    Format.MARKDOWN: compose.LogFormat.MARKDOWN,
}


@logs_app.callback()
def logs(
    context: typer.Context,
    data: DataOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the last changed first.")] = 50,
    *,
    json_: JsonOption = False,
) -> None:
    """Lists conversation logs with their states and reasons: in columns, or with tabs in a pipe."""
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
    """Shows one conversation log with all its messageLogs rows."""
    found = _read(data or context.obj, lambda: transactions.show_logs(id_))
    if not found:
        refuse(f"There is no conversation log or message with the id {id_}.")
    print_whole_logs(found, as_json=json_)


TenantOption = Annotated[str, typer.Option(help="Whose users: the tenant that the connector names at login.")]
PlatformOption = Annotated[str, typer.Option(help="The connector's name.")]


@settings_app.command("show")
def show_settings(tenant: TenantOption, platform: PlatformOption, data: DataOption = None) -> None:
    """Prints the settings for all users of a tenant, as JSON that `load` takes."""
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
    """Replaces the settings for all users of a tenant by those of a file."""

    async def replace(user_settings: UserSettings) -> int:
        wanted = read_admin_settings(file.read())
        gone = (await user_settings.admins(tenant, platform)).keys() - wanted.keys()
        await user_settings.change_admins(tenant, platform, wanted, gone)
        return len(wanted)

    count = _with_settings(data, replace)
    print(f"{count} settings for {tenant} at {platform}.")  # noqa: T201 - the command's output


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
    """Sets one setting for all users of a tenant."""
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
    """Takes a setting away from all users of a tenant, whatever they chose."""
    hidden = {id_: AdminSetting(is_removed=True)}
    _with_settings(data, lambda user_settings: user_settings.change_admins(tenant, platform, hidden))


@settings_app.command("unset")
def unset_setting(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The setting's id.")],
    tenant: TenantOption,
    platform: PlatformOption,
    data: DataOption = None,
) -> None:
    """Says nothing of a setting any more: it is each user's own again."""
    _with_settings(data, lambda user_settings: user_settings.change_admins(tenant, platform, {}, [id_]))


def _with_settings(data: Path | None, work: Callable[[UserSettings], Awaitable[Any]]) -> Any:
    """What `work` comes to with the settings of the database; refused with the field where a setting cannot be."""
    try:
        return run_in_store(database_url_of(data), lambda store: work(UserSettings(store, Locale())))
    except BadRequest as error:
        refuse(f"{error}.")


def _serve_or_refuse(work: Callable[[str, int, Path], None], host: str, port: int, data: Path) -> None:
    from messagelog.demo import UnusableFolder  # noqa: PLC0415 - as above

    try:
        work(host, port, data)
    except CannotListen as error:
        refuse(f"{error} Choose another one with --host and --port.")
    except UnusableFolder as error:
        refuse(f"{error} Choose another one with --data.")
    except UnusableFile as error:
        refuse(f"{error}", "Or choose another folder with --data.")


def _read(data: Path | None, script: Any) -> Any:
    """What a script reads from the database."""
    return run_in_store(database_url_of(data), lambda store: store.read(script))
