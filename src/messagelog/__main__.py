"""Where the command `messagelog` begins."""

from __future__ import annotations

import sys

from messagelog.log_lines import configure_log, report_crashes


def main() -> None:
    """The entry point of the command. What it loads besides is what the process needs that it becomes."""
    configure_log()
    if sys.argv[1:] == ["serve"]:
        _serve()
    else:
        from messagelog.cli import app  # noqa: PLC0415 - all commands and their libraries: a server keeps them not

        app()


def _serve() -> None:
    """Serves until a signal ends it; Ctrl-C ends it as it ends every other command, with nothing said."""
    from messagelog.commands.serve import serve  # noqa: PLC0415 - the server, which most commands do without

    report_crashes()
    try:
        serve()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
