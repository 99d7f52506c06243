"""Keeps failed calls for operators: enough to see why a call failed, and no credentials."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import structlog

from messagelog.connectors import ConnectorError
from messagelog.connectors.errors import Throttled
from messagelog.connectors.redaction import redact
from messagelog.core.delivery.faults import error_summary
from messagelog.storage.records.journal import Attempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from messagelog.connectors import Credentials
    from messagelog.storage import RowChange, Sealer
    from messagelog.storage.records.journal import LogKey, LogRow


_log = structlog.get_logger(__name__)


class annotate_errors:  # noqa: N801 - named as the context managers of the standard library are
    """Adds the name of the call to an error, and redacts the call's credentials from the CRM's answer."""

    __slots__ = ("_call", "_credentials")

    def __init__(self, call: str, credentials: Credentials) -> None:
        self._call = call
        self._credentials = credentials

    def __enter__(self) -> None:
        """Do nothing: only the exit matters."""

    def __exit__(self, _: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, ConnectorError):
            error.call = self._call
            if error.body is not None:
                own = self._credentials
                texts = [own.api_key, own.access_token, own.refresh_token]
                secrets = texts + [value for value in own.fields.values() if isinstance(value, str)]
                error.body = redact(error.body, secrets)


def attempt_of(
    sealer: Sealer, log: LogRow, error: ConnectorError | None, changes: Sequence[RowChange]
) -> Attempt | None:
    """Return the attempt that an error ended; `changes` are those of its rows, with the reason.

    None without an error, and for a call that was throttled: it was no attempt. None also if it cannot be kept, since
    the outcome matters more.
    """
    if error is None or isinstance(error, Throttled):
        return None
    try:
        return _seal_attempt(sealer, log, error, changes)
    except Exception as fault:  # noqa: BLE001 - whatever it is, the call ended the same way
        _log.error("outcome_curtailed", log=log.key.conversation_log_id, error=error_summary(fault))
        return None


def _seal_attempt(
    sealer: Sealer, log: LogRow, error: ConnectorError, changes: Sequence[RowChange]
) -> Attempt:
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
    """Return the CRM's answer to the call of the attempt with this id."""
    return sealer.open(body, *_context(key, id_)).decode()


def _context(key: LogKey, id_: str) -> tuple[str, ...]:
    return ("attempts", key.tenant, key.platform, id_)
