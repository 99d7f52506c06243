"""The operator who runs the command, and the sealer that opens sealed texts."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from messagelog import settings as configuration
from messagelog.commands.common import database_url_of, refuse, require_settings
from messagelog.commands.secret_keys import open_sealer, sealer_of
from messagelog.core.operators.accounts import Operator, local_operator
from messagelog.storage import Sealer

if TYPE_CHECKING:
    from pathlib import Path


def current_operator() -> Operator:
    """Return the operator for the operating system's user, as the audit record names them."""
    try:
        return local_operator(getpass.getuser())
    except (KeyError, OSError):  # the user id has no name, as in some containers
        return local_operator("unknown")


def database_and_sealer(data: Path | None) -> tuple[str, Sealer]:
    """Return the URL and the sealer of the demo's database in `data`, else of the settings' database."""
    if data is None:
        settings, database_url = require_settings(configuration.validate_for_keys)
        return database_url, open_sealer(database_url, sealer_of(settings))
    try:
        secret_key = (data / "secret-key").read_text().strip()
    except OSError as error:
        refuse(f"The demo's key cannot be read: {error.strerror}.")
    database_url = database_url_of(data)
    return database_url, open_sealer(database_url, Sealer(secret_key))
