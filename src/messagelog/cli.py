"""The command `messagelog`."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import structlog
import typer

import messagelog
from messagelog import settings as configuration
from messagelog.listing import print_log, print_logs
from messagelog.server import create_app
from messagelog.server.assembly import Parts
from messagelog.server.serving import CannotListen, Serving, bound_socket, run, url_host
from messagelog.storage import open_store, scripts
from messagelog.storage.opening import is_current, migrate

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    help=messagelog.__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)
logs_app = typer.Typer(
    help="Shows conversation logs and their messageLogs rows.", invoke_without_command=True
)
app.add_typer(logs_app, name="logs")

_DATA = Path("messagelog-data")

HostOption = Annotated[str, typer.Option(help="The address to listen at.")]
PortOption = Annotated[int, typer.Option(min=0, max=65_535, help="The port to listen at; 0: a free one.")]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="The demo's folder, instead of MESSAGELOG_DATABASE_URL.")
]


def main() -> None:
    """The entry point of the command."""
    _configure_log()
    app()


@app.command()
def demo(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8787,
    data: Annotated[Path, typer.Option(help="The folder that keeps the demo's data.")] = _DATA,
) -> None:
    """Serves everything to try out: the server, a demo CRM, users of two tenants."""
    from messagelog.demo import serve_demo  # noqa: PLC0415 - the demo's parts are loaded for the demo only

    _demonstrate(serve_demo, host, port, data)


@app.command("demo-crm")
def demo_crm(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8788,
    data: Annotated[Path, typer.Option(help="The folder that keeps the CRM's data.")] = _DATA,
) -> None:
    """Serves the demo CRM alone, at /demo-crm."""
    from messagelog.demo import serve_demo_crm  # noqa: PLC0415 - as above

    _demonstrate(serve_demo_crm, host, port, data)


@app.command()
def serve() -> None:
    """Serves for real use, configured by MESSAGELOG_* settings."""
    settings, connectors = _checked(configuration.checked_for_serving)
    database_url = settings.database_url.get_secret_value()
    _check_schema(database_url)
    parts = Parts(
        database_url=database_url,
        secret_key=settings.secret_key.get_secret_value(),
        connectors=connectors,
        public_url=settings.public_url,
        times=settings.times,
        body_limit=settings.body_limit,
        media_hosts=configuration.names(settings.media_hosts),
        oauth_clients=configuration.oauth_clients(connectors),
        redirect_uri=settings.oauth_redirect_uri,
        bare_state=settings.oauth_bare_state,
    )
    try:
        listener = bound_socket(settings.host, settings.port)
    except CannotListen as error:
        _refuse(f"{error} Set MESSAGELOG_HOST and MESSAGELOG_PORT to another one.")
    port = listener.getsockname()[1]
    names = ", ".join(sorted(connectors))
    print(f"messagelog serves {names} at {url_host(settings.host)}:{port}", flush=True)  # noqa: T201 - the output
    run(Serving(create_app(parts, start_at_once=False)), listener)


@app.command("migrate")
def migrate_command() -> None:
    """Brings the database's schema to the newest version."""
    _with_database(migrate, _database_url(None))
    print("The database is up to date.")  # noqa: T201 - the command's output


@logs_app.callback()
def logs(
    context: typer.Context,
    data: DataOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the last changed first.")] = 50,
) -> None:
    """Lists conversation logs with their states and reasons: in columns, or with tabs in a pipe."""
    if context.invoked_subcommand is not None:
        context.obj = data
        return
    print_logs(_read(data, lambda: scripts.list_logs(limit)))


@logs_app.command("show")
def show(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="A conversation log's id, or a message's.")],
    data: DataOption = None,
) -> None:
    """Shows one conversation log with all its messageLogs rows."""
    found = _read(data or context.obj, lambda: scripts.show_logs(id_))
    if not found:
        _refuse(f"There is no conversation log or message with the id {id_}.")
    for log, rows in found:
        print_log(log, rows)


def _demonstrate(work: Callable[[str, int, Path], None], host: str, port: int, data: Path) -> None:
    from messagelog.demo import UnusableFolder  # noqa: PLC0415 - as above

    try:
        work(host, port, data)
    except CannotListen as error:
        _refuse(f"{error} Choose another one with --host and --port.")
    except UnusableFolder as error:
        _refuse(f"{error} Choose another one with --data.")


def _read(data: Path | None, script: Any) -> Any:
    """What a script reads from the database."""
    database_url = _database_url(data)
    _check_schema(database_url)

    async def read() -> Any:
        store = await open_store(database_url)
        try:
            return await store.read(script)
        finally:
            await store.close()

    return asyncio.run(read())


def _database_url(data: Path | None) -> str:
    if data is not None:
        return f"sqlite:///{data / 'messagelog.sqlite'}"
    database_url: str = _checked(configuration.checked_for_database)[1]
    return database_url


def _checked(check: Callable[[configuration.Settings], Any]) -> tuple[configuration.Settings, Any]:
    """The settings of the environment, and what `check` makes of them; refused with every problem."""
    try:
        settings = configuration.read_settings()
        return settings, check(settings)
    except configuration.BadSettings as error:
        _refuse(*error.sentences)


def _check_schema(database_url: str) -> None:
    if database_url.startswith("sqlite:///") and not Path(database_url.removeprefix("sqlite:///")).exists():
        _refuse("The database does not exist yet: run `messagelog migrate`.")
    if not _with_database(is_current, database_url):
        _refuse("The database's schema is not up to date: run `messagelog migrate`.")


def _with_database(work: Callable[[str], Any], database_url: str) -> Any:
    try:
        return work(database_url)
    except Exception as error:  # noqa: BLE001 - of either driver, or of SQLAlchemy, which wraps them
        # What drivers say may quote parts of the URL, and a password may be among them.
        cause = type(getattr(error, "orig", None) or error).__name__
        _refuse(f"The database cannot be used ({cause}): is MESSAGELOG_DATABASE_URL right, and does it run?")


def _refuse(*sentences: str) -> NoReturn:
    for sentence in sentences:
        print(sentence, file=sys.stderr)  # noqa: T201 - the command's answer
    raise typer.Exit(2)


def _configure_log() -> None:
    """Log lines are JSON on standard error; libraries only speak up when something is wrong."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
