"""A connector and a plugin that quote all that they know when they fail."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from messagelog.connectors import ConnectorError, Contact, Credentials
from support.live_server import ADA, FastDemoConnector
from support.oauth_server import OAuthDemo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from messagelog.connectors import MessageLog, Session

_NEEDED: Final[dict[str, Any]] = {"retry_after": 0.01}
"""Arguments that some errors need."""


def every_error(kind: type[ConnectorError] = ConnectorError) -> Iterator[type[ConnectorError]]:
    """Yield all kinds of errors of a CRM."""
    for each in kind.__subclasses__():
        if each.__module__.startswith("messagelog."):
            yield each
            yield from every_error(each)


def make_error(kind: type[ConnectorError]) -> ConnectorError:
    """Return an error of this kind."""
    parameters = inspect.signature(kind).parameters.values()
    needed = [each.name for each in parameters if each.default is each.empty]
    return kind("HTTP 418", **{name: _NEEDED[name] for name in needed if name in _NEEDED})


class Quoting(FastDemoConnector):
    """A connector that sends the user's whole key to the CRM, and quotes all that it knows when it fails."""

    raises: type[Exception] | None = None
    failed: int = 0

    def auth_headers(self, credentials: Credentials) -> dict[str, str]:
        return {"Authorization": f"Bearer {ADA}", "X-Key": credentials.api_key}

    def _fail(self, session: Session, log: MessageLog | None, said: str) -> None:
        if self.raises is None:
            return
        self.failed += 1
        if issubclass(self.raises, ConnectorError):
            raise make_error(self.raises) from ValueError(everything_known(session, log, said))
        raise self.raises(everything_known(session, log, said)) from KeyError(
            everything_known(session, log, said)
        )

    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        self._fail(session, log, "create")
        return await super().create_message_log(session, log)

    async def update_message_log(self, session: Session, log: MessageLog) -> None:
        self._fail(session, log, "update")
        await super().update_message_log(session, log)

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        self._fail(session, None, phone_number)
        return await super().find_contact(session, phone_number)


class QuotingOAuth(Quoting, OAuthDemo):
    """The same for users who have signed in with OAuth."""

    __init__ = OAuthDemo.__init__
    auth_headers = FastDemoConnector.auth_headers


def everything_known(session: Session, log: MessageLog | None, said: str) -> str:
    """Return what a careless programmer puts into an error."""
    known = f"{said} {session.credentials.api_key} {session.credentials.access_token} {session.credentials.fields}"
    if log is None:
        return known
    return f"{known} {log.content} {[each.record for each in log.messages]} {log.additional_submission}"
