"""Where the command `messagelog` begins."""

from __future__ import annotations

import sys
from typing import Final

from messagelog.log_lines import configure_log, report_crashes

_HIGHEST_PORT: Final = 65_535


def main() -> None:
    """The entry point of the command. What it loads besides is what the process needs that it becomes."""
    configure_log()
    options = _serve_options(sys.argv[1:])
    if options is None:
        from messagelog.cli import app  # noqa: PLC0415 - all commands and their libraries: a server keeps them not

        app()
    else:
        _serve(options.get("--port"), options.get("--env-file"))


def _serve_options(arguments: list[str]) -> dict[str, str] | None:
    """The options of `serve`, where it is plainly that; None leaves everything else to the command line's library."""
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


def _serve(port: str | None, env_file: str | None) -> None:
    """Serves until a signal ends it; Ctrl-C ends it as it ends every other command, with nothing said."""
    from messagelog.commands.serve import serve  # noqa: PLC0415 - the server, which most commands do without

    report_crashes()
    try:
        serve(None if port is None else int(port), env_file)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
