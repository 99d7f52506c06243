"""`messagelog manifest`: the client's manifest, for the Developer Console."""

from __future__ import annotations

from typing import Annotated

import typer

from messagelog import settings as configuration
from messagelog.commands.common import refuse, require_settings
from messagelog.commands.tables import print_json
from messagelog.server.routes.manifest import build_manifest


def manifest(
    platform: Annotated[str, typer.Argument(help="One platform alone; all when it is left out.")] = "",
) -> None:
    """Check the client's manifest and show it, as it is to be published in the Developer Console."""
    settings, connectors = require_settings(configuration.validate_for_manifest)
    if platform and platform not in connectors:
        refuse(f"There is no platform {platform}: MESSAGELOG_CONNECTORS has {', '.join(sorted(connectors))}.")
    chosen = {platform: connectors[platform]} if platform else connectors
    print_json(build_manifest(chosen, settings.public_url, settings.oauth_redirect_uri))
