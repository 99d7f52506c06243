"""The command `messagelog`."""

from __future__ import annotations

import asyncio
import datetime
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import structlog
import typer
from rich.console import Console
from rich.table import Table

import messagelog
from messagelog import settings as configuration
from messagelog.server.assembly import Parts
from messagelog.storage import open_store, scripts
from messagelog.storage.opening import is_current, migrate

if TYPE_CHECKING:
    from messagelog.storage import LogRow, MessageRow
    from messagelog.storage.rows import LogSummary

app = typer.Typer(
    help=messagelog.__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)
logs_app = typer.Typer(
    help="Shows conversation logs and their messageLogs rows.", invoke_without_command=True
)
app.add_typer(logs_app, name="logs")

_DATA = Path("messagelog-data")

DataOption = Annotated[
    Path | None, typer.Option("--data", help="The demo's folder, instead of MESSAGELOG_DATABASE_URL.")
]


def main() -> None:
    """The entry point of the command."""
    _configure_log()
    app()


@app.command()
def demo(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen at; 0 chooses a free one.")] = 8787,
    data: Annotated[Path, typer.Option(help="The folder that keeps the demo's data.")] = _DATA,
) -> None:
    """Serves everything to try out: the server, a demo CRM, users of two tenants."""
    from messagelog.demo import serve_demo  # noqa: PLC0415 - the demo's parts are loaded for the demo only

    serve_demo(host, port, data)


@app.command("demo-crm")
def demo_crm(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen at; 0 chooses a free one.")] = 8788,
    data: Annotated[Path, typer.Option(help="The folder that keeps the CRM's data.")] = _DATA,
) -> None:
    """Serves the demo CRM alone, at /demo-crm."""
    from messagelog.demo import serve_demo_crm  # noqa: PLC0415 - as above

    serve_demo_crm(host, port, data)


@app.command()
def serve() -> None:
    """Serves for real use, configured by MESSAGELOG_* settings."""
    from messagelog.server import create_app  # noqa: PLC0415 - the server is loaded to serve only
    from messagelog.server.serving import Serving, bound_socket, run  # noqa: PLC0415 - as above

    try:
        settings = configuration.read_settings()
        connectors = configuration.checked_for_serving(settings)
    except configuration.BadSettings as error:
        _refuse(*error.sentences)
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
    )
    try:
        listener = bound_socket(settings.host, settings.port)
    except OSError as error:
        _refuse(f"Cannot listen at {settings.host}:{settings.port}: {error.strerror}.")
    print(
        f"messagelog serves {', '.join(sorted(connectors))} at {settings.host}:{listener.getsockname()[1]}",
        flush=True,
    )
    run(Serving(create_app(parts, start_at_once=False)), listener)


@app.command("migrate")
def migrate_command() -> None:
    """Brings the database's schema to the newest version."""
    database_url = _database_url(None)
    migrate(database_url)
    Console().print("The database is up to date.")


@logs_app.callback()
def logs(
    context: typer.Context,
    data: DataOption = None,
    limit: Annotated[int, typer.Option(help="How many, the last changed first.")] = 50,
) -> None:
    """Lists conversation logs with their states and reasons."""
    if context.invoked_subcommand is not None:
        context.obj = data
        return
    summaries: list[LogSummary] = _read(data, lambda: scripts.list_logs(limit))
    _print_logs(summaries)


@logs_app.command("show")
def show(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="A conversation log's id, or a message's.")],
    data: DataOption = None,
) -> None:
    """Shows one conversation log with all its messageLogs rows."""
    found: list[tuple[LogRow, list[MessageRow]]] = _read(data or context.obj, lambda: scripts.show_logs(id_))
    if not found:
        _refuse(f"There is no conversation log or message with the id {id_}.")
    for log, rows in found:
        _print_log(log, rows)


def _read(data: Path | None, script: Any) -> Any:
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
    try:
        return configuration.checked_for_database(configuration.read_settings())
    except configuration.BadSettings as error:
        _refuse(*error.sentences)


def _check_schema(database_url: str) -> None:
    if database_url.startswith("sqlite:///") and not Path(database_url.removeprefix("sqlite:///")).exists():
        _refuse("The database does not exist yet: run `messagelog migrate`.")
    if not is_current(database_url):
        _refuse("The database's schema is not up to date: run `messagelog migrate`.")


def _print_logs(summaries: list[LogSummary]) -> None:
    table = Table("conversationLogId", "tenant", "platform", "contact", "thirdPartyLogId", "rows", "reason")
    for summary in summaries:
        log = summary.log
        counts = ", ".join(f"{count} {state}" for state, count in sorted(summary.counts.items()))
        table.add_row(
            log.key.conversation_log_id,
            log.key.tenant,
            log.key.platform,
            f"{log.contact_name} ({log.contact_id})",
            log.third_party_log_id or "",
            counts,
            log.reason or "",
        )
    Console().print(table)


def _print_log(log: LogRow, rows: list[MessageRow]) -> None:
    console = Console()
    console.print(
        f"[bold]{log.key.conversation_log_id}[/bold]  {log.key.tenant} / {log.key.platform}", highlight=False
    )
    console.print(
        f"contact {log.contact_name} ({log.contact_id}), activity {log.third_party_log_id or 'none'}",
        highlight=False,
    )
    console.print(f"state {log.state}{f', {log.reason}' if log.reason else ''}", highlight=False)
    table = Table("id", "state", "thirdPartyLogId", "userId", "updatedAt", "reason")
    for row in rows:
        updated = datetime.datetime.fromtimestamp(row.updated_at / 1000, tz=datetime.UTC)
        table.add_row(
            row.id,
            row.state,
            row.third_party_log_id or "",
            row.user_id,
            updated.isoformat(timespec="seconds"),
            row.reason or "",
        )
    console.print(table)


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
