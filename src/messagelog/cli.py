"""The commands of `messagelog`. A server loads none of this: `__main__.py` knows the command `serve` by itself."""

from __future__ import annotations

from typing import Annotated

import typer

import messagelog
from messagelog.commands.audit import audit
from messagelog.commands.backup import backup, restore
from messagelog.commands.client_settings import settings_app
from messagelog.commands.common import load_settings_file, print_line
from messagelog.commands.config import config_app
from messagelog.commands.erase import erase_app
from messagelog.commands.export import export_app
from messagelog.commands.journal import journal_app
from messagelog.commands.keys import keys_app
from messagelog.commands.logs import logs_app
from messagelog.commands.manifest import manifest
from messagelog.commands.migrate import migrate
from messagelog.commands.operators import operators_app
from messagelog.commands.options import EnvFileOption
from messagelog.commands.preview import preview
from messagelog.commands.servers import demo, demo_crm, serve_command
from messagelog.commands.tenants import tenants_app
from messagelog.commands.users import users_app

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
for _name, _command in (
    ("demo", demo),
    ("demo-crm", demo_crm),
    ("serve", serve_command),
    ("manifest", manifest),
    ("migrate", migrate),
    ("preview", preview),
    ("audit", audit),
    ("backup", backup),
    ("restore", restore),
):
    app.command(_name)(_command)
for _name, _commands in (
    ("logs", logs_app),
    ("settings", settings_app),
    ("operators", operators_app),
    ("erase", erase_app),
    ("export", export_app),
    ("config", config_app),
    ("journal", journal_app),
    ("keys", keys_app),
    ("users", users_app),
    ("tenants", tenants_app),
):
    app.add_typer(_commands, name=_name)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_line(f"messagelog {messagelog.__version__}")
        raise typer.Exit


@app.callback(help=messagelog.__doc__)
def main(
    env_file: EnvFileOption = None,
    *,
    version: Annotated[  # noqa: ARG001 - its callback has printed it
        bool,
        typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Read a file of settings for any command. The environment's own settings come before the file's."""
    load_settings_file(env_file)
