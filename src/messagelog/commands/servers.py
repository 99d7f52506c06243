"""`messagelog serve`, `demo` and `demo-crm`: the commands whose process serves until it is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from messagelog.commands.common import refuse
from messagelog.commands.options import EnvFileOption
from messagelog.commands.serve import serve
from messagelog.server.asgi.uvicorn_server import CannotListen
from messagelog.storage.store import UnusableFile

if TYPE_CHECKING:
    from collections.abc import Callable

HostOption = Annotated[str, typer.Option(help="The address to listen at.")]
PortOption = Annotated[int, typer.Option(min=0, max=65_535, help="The port to listen at; 0: a free one.")]

_DATA: Final = Path("messagelog-data")


def serve_command(
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65_535, help="The port to listen at, instead of MESSAGELOG_PORT; 0: a free one."
        ),
    ] = None,
    env_file: EnvFileOption = None,
) -> None:
    """Serve for real use, configured by MESSAGELOG_* settings."""
    serve(port, env_file)


def demo(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8787,
    data: Annotated[Path, typer.Option(help="The folder that keeps the demo's data.")] = _DATA,
) -> None:
    """Serve everything to try out: the server, a demo CRM, users of two tenants."""
    from messagelog.demo import serve_demo  # noqa: PLC0415 - the demo's parts are loaded for the demo only

    _serve_or_refuse(serve_demo, host, port, data)


def demo_crm(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8788,
    data: Annotated[Path, typer.Option(help="The folder that keeps the CRM's data.")] = _DATA,
) -> None:
    """Serve the demo CRM alone, at /demo-crm."""
    from messagelog.demo import serve_demo_crm  # noqa: PLC0415 - as above

    _serve_or_refuse(serve_demo_crm, host, port, data)


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
