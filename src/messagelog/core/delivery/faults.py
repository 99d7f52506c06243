"""Errors of this server's own, as the journal and people see them: their type and their place.

An error's text may quote a message, so it is never shown.
"""

from __future__ import annotations

from messagelog.connectors import ConnectorError
from messagelog.storage import is_transient


class ServerFault(ConnectorError):
    """An error of this server's own, before a call, after it, or while it was reconciled. `detail` says where.

    `wrote` is False if it is certain that nothing had been sent.
    """

    meaning = "This server has a fault."


class Interrupted(ServerFault):
    """The same for an error that passes by itself: a database that is away."""

    meaning = "This server was interrupted."


def fault_of(error: Exception, *, wrote: bool = True) -> ServerFault:
    """Return an error of our own as a fault. `wrote` says whether a call may have written something by then."""
    fault = Interrupted(error_summary(error)) if is_transient(error) else ServerFault(error_summary(error))
    fault.wrote = wrote
    return fault


def error_summary(error: BaseException) -> str:
    """Return what may be said of an error: its type, and the module and line of the innermost place in this package."""
    innermost = ours = ""
    frame = error.__traceback__
    while frame is not None:
        module = str(frame.tb_frame.f_globals.get("__name__", ""))
        innermost = f"{module}:{frame.tb_lineno}"
        ours = innermost if module.startswith("messagelog.") else ours
        frame = frame.tb_next
    return f"{type(error).__name__} at {ours or innermost}"
