"""What can be wrong with a request, told so that the sender can find it."""

from messagelog.errors import MessagelogError


class BadRequest(MessagelogError, ValueError):
    """The sender's fault: the body of a request cannot be used.

    `path` is where, in the client's spelling with indices (`logInfo.messages[3].id`); `body` is the whole.
    `problem` says what was expected. Neither ever holds the offending value: it may be a customer's words.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class MediaUnavailable(MessagelogError):
    """A media file cannot be opened: nobody who may fetch it is signed in, or it has no address."""
