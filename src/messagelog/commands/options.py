"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    Path | None, typer.Option("--data", help="The demo's folder, instead of MESSAGELOG_DATABASE_URL.")
]
EnvFileOption = Annotated[
    Path | None,
    typer.Option(help="A file of settings, NAME=value in each line; MESSAGELOG_ENV_FILE names one as well."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON, with names and times as the journal has them.")
]
