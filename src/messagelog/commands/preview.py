"""`messagelog preview`: the activity that a request would become."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from messagelog import compose
from messagelog.commands.common import refuse
from messagelog.messages import BadRequest, parse_log_request


class Format(StrEnum):
    """The formats that can be previewed, by short names."""

    PLAIN = "plain"
    HTML = "html"
    MARKDOWN = "markdown"


_FORMATS: Final = {
    Format.PLAIN: compose.LogFormat.PLAIN,
    Format.HTML: compose.LogFormat.HTML,
    Format.MARKDOWN: compose.LogFormat.MARKDOWN,
}
_UTC: Final = re.compile(r"(UTC|GMT)?([+-]?0{1,2}(:?00)?)?", re.IGNORECASE)


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
    """Show the subject and the body of the activity that a request would become. Nothing is logged."""
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
