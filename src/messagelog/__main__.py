"""Where the command `messagelog` begins."""

from __future__ import annotations

import logging
import sys
from typing import Final

_HIGHEST_PORT: Final = 65_535


def main() -> None:
    """The entry point of the command. What it loads besides is what the process needs that it becomes."""
    _configure_log()
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

    try:
        serve(None if port is None else int(port), env_file)
    except KeyboardInterrupt:
        sys.exit(130)


def _configure_log() -> None:
    """Log lines are JSON on standard error; libraries only speak up when something is wrong."""
    # structlog loads Rich where it is there, for tracebacks in colour that no line of ours has. None is not there.
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog  # noqa: PLC0415 - without Rich

    del sys.modules["rich"]
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


if __name__ == "__main__":
    main()
