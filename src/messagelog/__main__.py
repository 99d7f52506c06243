"""Where the command `messagelog` begins."""

from __future__ import annotations

import signal
import sys
from typing import Final

_HIGHEST_PORT: Final = 65_535


def main() -> None:
    """Run the command. Imports are within functions, so that each process loads only what it needs."""
    # Until there is something to bring to an end, Ctrl-C ends the process at once, as SIGTERM does.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from messagelog.log_lines import configure_log  # noqa: PLC0415 - behind the signal

    configure_log()
    options = _serve_options(sys.argv[1:])
    if options is None:
        from messagelog.cli import app  # noqa: PLC0415 - all commands and their libraries: a server does not keep them

        signal.signal(signal.SIGINT, signal.default_int_handler)
        app()
    else:
        from messagelog.commands.serve import serve  # noqa: PLC0415 - the server, which most commands do without
        from messagelog.log_lines import report_crashes  # noqa: PLC0415 - as above

        report_crashes()
        port = options.get("--port")
        serve(None if port is None else int(port), options.get("--env-file"))


def _serve_options(arguments: list[str]) -> dict[str, str] | None:
    """Return the options of a plain `serve` command; None for everything else, which Typer reads."""
    if arguments[:1] != ["serve"]:
        return None
    options: dict[str, str] = {}
    rest = iter(arguments[1:])
    for each in rest:
        name, equals, value = each.partition("=")
        options[name] = value if equals else next(rest, "")
    plain = options.keys() <= {"--port", "--env-file"} and all(options.values())
    port = options.get("--port", "0")
    return options if plain and port.isdecimal() and int(port) <= _HIGHEST_PORT else None


if __name__ == "__main__":
    main()
