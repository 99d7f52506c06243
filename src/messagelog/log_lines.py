"""Log lines: one JSON object a line on standard error, of this package and of the libraries that it uses.

A library's text may quote its input: a connection string, a request, an exception's words. So only the constant part
of its records is written (the first line of the message, without its arguments), and the type and place of exceptions.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final

from messagelog.errors import error_location

if TYPE_CHECKING:
    from types import TracebackType

_LONGEST_MESSAGE: Final = 200


def configure_log() -> None:
    """Write log lines as JSON on standard error; libraries speak from warnings on."""
    # structlog imports Rich, if it is installed, for coloured tracebacks, which our lines do not have. None hides it.
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog  # noqa: PLC0415 - without Rich

    del sys.modules["rich"]
    common: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*common, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LibraryFormatter(structlog.get_logger("library")))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)


def report_crashes() -> None:
    """Write an error that ends the process as one line too: its type and place, not its text."""
    sys.excepthook = _report_crash


class _LibraryFormatter(logging.Formatter):
    """Formats a record of the standard library's logging as one of our lines."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record: its logger, its message as the library's source has it, an exception's type."""
        message = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        event: dict[str, Any] = {
            "event": "library",
            "logger": record.name,
            "message": message.partition("\n")[0][:_LONGEST_MESSAGE],
        }
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            event |= {"error": type(error).__name__, "place": error_location(error)}
        processed: Any = event
        import structlog  # noqa: PLC0415 - configured by now

        for processor in structlog.get_config()["processors"]:
            processed = processor(self._logger, record.levelname.lower(), processed)
        return str(processed)


def _report_crash(_type: type[BaseException], error: BaseException, _traceback: TracebackType | None) -> None:
    import structlog  # noqa: PLC0415 - configured by now

    _log = structlog.get_logger(__name__)
    _log.error("crashed", error=type(error).__name__, place=error_location(error))
