"""Errors of requests, with the place that is wrong."""

from messagelog.errors import MessagelogError


class BadRequest(MessagelogError, ValueError):
    """The body of a request cannot be used: the sender's fault.

    `path` is the place, in the client's spelling with indices (`logInfo.messages[3].id`); `body` is the whole.
    `problem` says what was expected. Neither ever holds the wrong value: it may be a customer's words.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class MediaUnavailable(MessagelogError):
    """A media file cannot be opened: no user who may fetch it is signed in, or it has no address."""
