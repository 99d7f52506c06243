"""`messagelog config`: whether the settings let a server start."""

from __future__ import annotations

from typing import Annotated

import typer

from messagelog import environment
from messagelog import settings as configuration
from messagelog.commands.common import print_line, refuse
from messagelog.commands.secret_keys import check_database

config_app = typer.Typer(help="Check the settings.", no_args_is_help=True)


@config_app.callback()
def config() -> None:
    """Check the settings."""


@config_app.command()
def check(
    *,
    database: Annotated[
        bool,
        typer.Option(
            "--database",
            help="Check the database too: its schema, its secret keys, and whether it can be written.",
        ),
    ] = False,
) -> None:
    """Print every problem that keeps a server from starting, and names in the environment that are not settings."""
    settings, problems = configuration.readable_settings()
    connectors, others = configuration.examine_for_serving(settings)
    problems += others
    problems += map(str, environment.unknown_names(settings, connectors))
    if problems:
        refuse(*problems)
    if database:
        check_database(settings.database_url, settings)
    print_line(
        "The settings let a server start."
        if database
        else "The settings are good. --database asks it as well."
    )
