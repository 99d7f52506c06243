"""What can go wrong with a CRM. The type of the error is the recovery, so callers branch on it, never on text.

    ConnectorError
    ├── Unavailable      did not arrive or was turned away: nothing was done, safe to repeat
    ├── RateLimited      nothing was done; repeat after `retry_after` seconds
    │   └── Throttled    we held it back ourselves, so that the CRM's limits are kept: nothing was sent
    ├── AuthExpired      the user has to sign in again; of what was written, the CRM is asked first where it can be
    │   └── SignInRenewed   there are other credentials by now: no sign-in is needed
    ├── NotFound         what the call named is not there, or the user may not see it
    ├── Rejected         nothing was done; repeating the same call would be refused again
    ├── BodyFull         nothing was done; the activity has no room, so the log goes on in another one
    └── OutcomeUnknown   the CRM may have done it: find out before repeating

The `detail` of an error is shown to people and kept in the journal: it holds a status or a CRM's error code,
never message text and never a credential.
"""

from __future__ import annotations

from messagelog.errors import MessagelogError


class ConnectorError(MessagelogError):
    """A call to a CRM that did not succeed. Raise one of the subclasses.

    `detail` is a short text for people, such as "HTTP 503"; it must hold no message text and no secret. `body` is the
    CRM's answer, for operators who may see text: it is stored sealed, and neither `str` nor `repr` shows it.
    """

    meaning = "The CRM did not do it."

    def __init__(self, detail: str = "", *, status: int | None = None, body: str | None = None) -> None:
        self.detail = detail
        self.status = status
        self.body = body
        self.call: str | None = None  # the question that it answers; the core sets it
        self.wrote = True  # whether its call may have written something; the core says if it has not
        super().__init__(detail or self.meaning)


class Unavailable(ConnectorError):
    """The call did not arrive, or the CRM turned it away before doing anything: safe to repeat."""

    meaning = "The CRM could not be reached."


class RateLimited(ConnectorError):
    """The CRM asks for patience; nothing was done. `retry_after` in seconds, None if the CRM did not say."""

    meaning = "The CRM asks us to slow down."

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after: float | None = None,
        status: int | None = None,
        body: str | None = None,
    ) -> None:
        super().__init__(detail, status=status, body=body)
        self.retry_after = retry_after


class Throttled(RateLimited):
    """The request was held back on our side: nothing was sent, and it makes sense again after `retry_after` seconds.

    `down` says that the CRM does not answer; otherwise it is for the CRM's limits.
    """

    meaning = "We hold back, so that the CRM's limits are kept."

    def __init__(self, detail: str = "", *, retry_after: float, down: bool = False) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.down = down
        if down:
            self.meaning = "The CRM does not answer at the moment."


class AuthExpired(ConnectorError):
    """The CRM no longer accepts the user's credentials: the user has to sign in again.

    A gateway may say so after the CRM has done its work. So if a write was sent, the core asks the CRM before it
    repeats the call, if the connector can find or read.
    """

    meaning = "The CRM asks the user to sign in again."


class SignInRenewed(AuthExpired):
    """The CRM refused the credentials of a write, and they were renewed: the user need not sign in.

    `session.http` raises it instead of sending the write again, since the CRM may have done it.
    """

    meaning = "The sign-in had ended and was renewed."


class NotFound(ConnectorError):
    """The record that the call named is not there, or the user may not see it.

    `gone=True` says that it was deleted for everyone. If it is None, the core takes a missing activity as deleted only
    for the user who created it, since CRMs also answer 404 to hide a record from users without a right to it.
    """

    meaning = "The CRM has no such record, or hides it from this user."

    def __init__(
        self,
        detail: str = "",
        *,
        gone: bool | None = None,
        status: int | None = None,
        body: str | None = None,
    ) -> None:
        super().__init__(detail, status=status, body=body)
        self.gone = gone


class Rejected(ConnectorError):
    """The CRM refused this call for its content (a validation, a permission); it would refuse it again.

    With the status 403 the core asks the CRM once whether it did the write, if the connector can find or
    read: gateways say 403 too.
    """

    meaning = "The CRM refused it."


class BodyFull(ConnectorError):
    """The activity has no room for the new text; nothing was done. The log goes on in a "(continued)" activity.

    `log.amend` and `log.text` raise it by themselves if the connector declares its `body_limit`.
    """

    meaning = "The activity has no room for more text."


class OutcomeUnknown(ConnectorError):
    """The call left and no trustworthy answer came back: the CRM may have done it or not."""

    meaning = "The CRM's answer was lost."
