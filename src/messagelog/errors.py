"""The root of this package's own errors, and what may be logged of any error. Every room may import it."""

from __future__ import annotations


class MessagelogError(Exception):
    """The root of messagelog's own errors; those of connectors are below `ConnectorError`."""


def error_location(error: BaseException) -> str:
    """Return the file and line where an error was raised: it may be logged, as the error's type may."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame is not None else ""
