"""`messagelog serve`: the server, for real use. A process that serves loads neither Typer nor the other commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog import environment
from messagelog import settings as configuration
from messagelog.commands.common import load_settings_file, print_line, refuse, require_settings, with_database
from messagelog.commands.secret_keys import check_database
from messagelog.server import create_app
from messagelog.server.asgi.uvicorn_server import CannotListen, UvicornServer, bind_socket, run, url_host
from messagelog.server.context import ServerConfig
from messagelog.storage.database import serve_alone

if TYPE_CHECKING:
    from pathlib import Path


def serve(port: int | None = None, env_file: Path | str | None = None) -> None:
    """Serve for real use, configured by MESSAGELOG_* settings; these two override the environment's."""
    load_settings_file(env_file)
    settings, connectors = require_settings(configuration.validate_for_serving)
    environment.report_unknown_names(settings, connectors)
    check_database(settings.database_url, settings)
    config = ServerConfig(
        database_url=settings.database_url,
        secret_key=settings.secret_key,
        old_secret_keys=settings.old_secrets,
        connectors=connectors,
        public_url=settings.public_url,
        times=settings.times,
        body_limit=settings.body_limit,
        media_hosts=configuration.names(settings.media_hosts),
        private_hosts=settings.reached_hosts,
        cors_origins=configuration.names(settings.cors_origins),
        requests_per_minute=settings.requests_per_minute,
        guesses_per_minute=settings.guesses_per_minute,
        contact_seconds=settings.contact_seconds,
        retention=settings.retention,
        locale=settings.locale,
        oauth_clients=configuration.oauth_clients(connectors),
        redirect_uri=settings.oauth_redirect_uri,
        bare_state=settings.oauth_bare_state,
        refused_logs_as_text=settings.refused_logs_as_text,
        access_log=settings.access_log,
        metrics_token=settings.metrics_token,
        plugins=configuration.plugins(settings),
        required_plugins=configuration.names(settings.required_plugins),
    )
    with with_database(serve_alone, settings.database_url):
        try:
            listener = bind_socket(settings.host, settings.port if port is None else port)
        except CannotListen as error:
            refuse(f"{error} Set MESSAGELOG_HOST and MESSAGELOG_PORT, or --port, to another one.")
        names = ", ".join(sorted(connectors))
        print_line(f"messagelog serves {names} at {url_host(settings.host)}:{listener.getsockname()[1]}")
        app = create_app(config, start_at_once=False)
        proxies = configuration.names(settings.trusted_proxies)
        run(UvicornServer(app, trusted_proxies=proxies, drain_seconds=settings.drain_seconds), listener)
