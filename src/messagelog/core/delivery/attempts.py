"""What is kept of a call that came to nothing, for whoever looks into it: enough to see why, nothing that lets in."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from messagelog.connectors import ConnectorError
from messagelog.connectors.errors import Throttled
from messagelog.connectors.redaction import redact
from messagelog.storage.records.journal import Attempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from messagelog.connectors import Credentials
    from messagelog.storage import RowChange, Sealer
    from messagelog.storage.records.journal import LogKey, LogRow


class annotate_errors:  # noqa: N801 - named as the context managers of the standard library are
    """Says of an error which call it ended, and takes out of the CRM's answer what the call was made with."""

    __slots__ = ("_call", "_credentials")

    def __init__(self, call: str, credentials: Credentials) -> None:
        self._call = call
        self._credentials = credentials

    def __enter__(self) -> None:
        """Nothing is kept."""

    def __exit__(self, _: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, ConnectorError):
            error.call = self._call
            if error.body is not None:
                error.body = redact(error.body, _secrets(self._credentials))


def attempt_of(
    sealer: Sealer, log: LogRow, error: ConnectorError | None, changes: Sequence[RowChange]
) -> Attempt | None:
    """The attempt that an error ended; `changes` are what its rows became, with the reason.

    None without an error, and for one that held a call back on our side: there was none then.
    """
    if error is None or isinstance(error, Throttled):
        return None
    id_ = uuid.uuid4().hex
    reason = next((change.reason for change in changes if change.reason), None)
    body = (
        None
        if not error.body
        else sealer.seal(error.body.encode("utf-8", "replace"), *_context(log.key, id_))
    )
    return Attempt(
        call=error.call or "prepare",
        error=type(error).__name__,
        status=error.status,
        reason=reason and reason.partition(":")[0],
        body=body,
        id=id_,
    )


def open_body(sealer: Sealer, key: LogKey, id_: str, body: bytes) -> str:
    """What the CRM answered to the call of the attempt with this id."""
    return sealer.open(body, *_context(key, id_)).decode()


def _secrets(credentials: Credentials) -> list[str]:
    texts = [credentials.api_key, credentials.access_token, credentials.refresh_token]
    return texts + [value for value in credentials.fields.values() if isinstance(value, str)]


def _context(key: LogKey, id_: str) -> tuple[str, ...]:
    return ("attempts", key.tenant, key.platform, id_)
