"""The core's own errors: ends of a call beside the connectors' errors, and refusals of a request."""

from __future__ import annotations

from messagelog.connectors import OutcomeUnknown, Rejected
from messagelog.errors import MessagelogError


class ConnectorBroke(OutcomeUnknown):
    """The connector raised an error of its own in the middle of a call."""

    meaning = "The connector failed."


class NotPrepared(Rejected):
    """A call could not be prepared, because of an error of the connector or of ours: nothing was sent."""

    meaning = "The connector failed."


class NoLogId(OutcomeUnknown):
    """A create answered without an id: there may be an activity that nothing can be added to."""


class NothingToChange(MessagelogError):
    """What has changed of a message has no place in the CRM, or is there already: no call is made.

    The message is not logged any more, its activity is gone, or its entry would read as it does.
    """


class NoContact(MessagelogError):
    """The request's contact is not clear; the text says why, for the user."""


class UnknownPlatform(MessagelogError, LookupError):
    """No connector has this name."""


class Stopping(MessagelogError):
    """The server is shutting down and takes no new work."""
