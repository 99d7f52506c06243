"""What can be wrong with a request, told so that the sender can find it."""


class BadRequest(ValueError):  # noqa: N818 - named after the answer that it becomes: 400 Bad Request
    """The sender's fault: the body of a request cannot be used.

    `path` is where, in the client's spelling with indices (`logInfo.messages[3].id`); `body` is the whole.
    `problem` says what was expected. Neither ever holds the offending value: it may be a customer's words.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class MediaUnavailable(Exception):  # noqa: N818 - says what is so, like the errors that connectors raise
    """A media file cannot be opened: nobody who may fetch it is signed in, or it has no address."""
