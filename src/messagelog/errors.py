"""The root of this package's own errors, and what may be told of any error. Every room may import it."""

from __future__ import annotations


class MessagelogError(Exception):
    """The root of all errors that messagelog raises of its own; those of connectors are below `ConnectorError`."""


def error_location(error: BaseException) -> str:
    """The file and line where an error was raised: what may be logged of it beside its type."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame is not None else ""
