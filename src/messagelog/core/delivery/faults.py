"""Errors of this server's own: what the journal and people are told of them, and where they were raised.

An error's text may quote a message, so only its type and its place are told.
"""

from __future__ import annotations

from messagelog.connectors import ConnectorError
from messagelog.storage import is_transient


class ServerFault(ConnectorError):
    """An error of this server's own, before a call, after it, or while it asked about one. `detail` says where.

    `wrote` is False where it is certain that nothing had been sent.
    """

    meaning = "This server has a fault."


class Interrupted(ServerFault):
    """The same for what passes by itself: a database that is away."""

    meaning = "This server was interrupted."


def fault_of(error: Exception, *, wrote: bool = True) -> ServerFault:
    """The fault that an error of our own is. `wrote` says whether a call may have written something by then."""
    fault = Interrupted(error_summary(error)) if is_transient(error) else ServerFault(error_summary(error))
    fault.wrote = wrote
    return fault


def error_summary(error: BaseException) -> str:
    """What may be told of an error of our own: its type, and module and line of the innermost place in this package."""
    innermost = ours = ""
    frame = error.__traceback__
    while frame is not None:
        module = str(frame.tb_frame.f_globals.get("__name__", ""))
        innermost = f"{module}:{frame.tb_lineno}"
        ours = innermost if module.startswith("messagelog.") else ours
        frame = frame.tb_next
    return f"{type(error).__name__} at {ours or innermost}"
