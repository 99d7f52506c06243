"""What is kept of a call that came to nothing, for whoever looks into it: enough to see why, nothing that lets in."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from messagelog.connectors import ConnectorError
from messagelog.connectors.redaction import redacted
from messagelog.storage.rows import Attempt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from messagelog.connectors import Credentials
    from messagelog.storage import RowChange, Sealer
    from messagelog.storage.rows import LogKey, LogRow


@contextmanager
def during(call: str, credentials: Credentials) -> Iterator[None]:
    """Says of an error which call it ended, and takes out of the CRM's answer what the call was made with."""
    try:
        yield
    except ConnectorError as error:
        error.call = call
        if error.body is not None:
            error.body = redacted(error.body, _secrets(credentials))
        raise


def attempt_of(sealer: Sealer, log: LogRow, error: ConnectorError, changes: Sequence[RowChange]) -> Attempt:
    """The attempt that an error ended; `changes` are what its rows became, with the reason."""
    reason = next((change.reason for change in changes if change.reason), None)
    body = (
        None
        if not error.body
        else sealer.seal(error.body.encode("utf-8", "replace"), *_context(log.key, log.fence))
    )
    return Attempt(
        call=error.call or "prepare",
        error=type(error).__name__,
        status=error.status,
        reason=reason and reason.partition(":")[0],
        body=body,
    )


def opened_body(sealer: Sealer, key: LogKey, fence: int, body: bytes) -> str:
    """What the CRM answered the call of this number."""
    return sealer.open(body, *_context(key, fence)).decode()


def _secrets(credentials: Credentials) -> list[str]:
    texts = [credentials.api_key, credentials.access_token, credentials.refresh_token]
    return texts + [value for value in credentials.fields.values() if isinstance(value, str)]


def _context(key: LogKey, fence: int) -> tuple[str, ...]:
    return ("attempts", *key, str(fence))
