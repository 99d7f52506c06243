"""Calls connectors within their time, and sees to it that every end of a call is a `ConnectorError` or an answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from messagelog import compose
from messagelog.compose import read_text_settings
from messagelog.connectors import Connector, ConnectorError, OutcomeUnknown, RateLimited, Session
from messagelog.connectors.errors import Throttled
from messagelog.core.delivery.attempts import annotate_errors
from messagelog.core.delivery.faults import fault_of
from messagelog.core.delivery.metrics import Metrics
from messagelog.core.errors import ConnectorBroke, NoLogId
from messagelog.core.rate_limits import call_context
from messagelog.errors import error_location
from messagelog.storage import is_transient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from messagelog.core.delivery.prepare import PreparedCall
    from messagelog.storage import Sealer
    from messagelog.storage.records.journal import LogRow

_log = structlog.get_logger(__name__)


class ConnectorCaller:
    """Makes the calls of connectors: each ends with an answer, or with a `ConnectorError`.

    `call_timeout` (seconds) is the limit of each call, with every request that it makes.
    """

    def __init__(self, sealer: Sealer, *, call_timeout: float, metrics: Metrics | None = None) -> None:
        self.metrics = metrics or Metrics()
        self._sealer = sealer
        self._call_timeout = call_timeout

    async def create(self, connector: Connector, call: PreparedCall) -> str:
        """Create the activity; return its id."""
        session, log = call.session, call.log
        with annotate_errors("create", session.credentials):
            made = await self._call_with_timeout(
                connector, "create", session, lambda: connector.create_message_log(session, log)
            )
            return _log_id(connector, made)

    async def update(self, connector: Connector, call: PreparedCall) -> None:
        """Update the activity. What the connector returns does not matter."""
        session, log = call.session, call.log
        with annotate_errors("update", session.credentials):
            await self._call_with_timeout(
                connector, "update", session, lambda: connector.update_message_log(session, log)
            )

    async def find(self, connector: Connector, call: PreparedCall) -> str | None:
        """Return the id of an activity that an earlier create made, or None."""
        session, log = call.session, call.log
        with annotate_errors("find", session.credentials):
            found = await self._call_with_timeout(
                connector, "find", session, lambda: connector.find_message_log(session, log)
            )
            return None if found is None else _log_id(connector, found)

    async def read(self, connector: Connector, call: PreparedCall) -> str:
        """Return the body of the existing activity."""
        session, existing = call.session, call.log.existing
        if existing is None:
            raise OutcomeUnknown("there is no activity to read")
        id_ = existing.third_party_log_id
        with annotate_errors("read", session.credentials):
            body = await self._call_with_timeout(
                connector, "read", session, lambda: connector.read_message_log(session, id_)
            )
        return str(body)

    async def count_in_activity(
        self, connector: Connector, log: LogRow, calls: Sequence[PreparedCall]
    ) -> dict[bytes, int]:
        """Count the new entries of calls in the existing activity, by hash. The activity is read for the first call."""
        first = calls[0]
        body = await self.read(connector, first)
        hashes = dict.fromkeys((hash_ for call in calls for hash_ in call.hashes.values()), 0)
        others = first.journal.known_hashes
        text_settings, key = read_text_settings(log.text_settings), self._sealer.entry_key
        return hashes | compose.count_entries(body, text_settings, hashes.keys(), key, others)

    async def _call_with_timeout(
        self, connector: Connector, name: str, session: Session, call: Callable[[], Awaitable[Any]]
    ) -> Any:
        """Make a call with a hard limit on its time, and count it by its outcome.

        After a mistake of the connector's own the outcome is unknown.
        """
        seconds = self._call_timeout
        with self.metrics.time_call(connector.name, name), call_context.single_call(seconds) as context:
            try:
                async with asyncio.timeout(seconds):
                    return await call()
            except ConnectorError as error:
                error.wrote = context.may_have_written
                if isinstance(error, RateLimited) and not isinstance(error, Throttled):
                    session.http.refused(error.retry_after)
                raise
            except TimeoutError as error:
                raise OutcomeUnknown(f"no answer within {seconds:g} s") from error
            except Exception as error:
                if is_transient(error):  # our database, which a renewed sign-in is written to
                    raise fault_of(error, wrote=context.may_have_written) from error
                # The text of such an error may quote a message: only its type and place are told.
                where = f"{type(error).__name__} at {error_location(error)}"
                _log.error("connector_failed", connector=connector.name, error=where)
                broke = f"the connector {connector.name} raised {type(error).__name__}"
                raise ConnectorBroke(broke) from error


def _log_id(connector: Connector, value: Any) -> str:
    """Return the CRM's id as text. Numbers and text are ids; anything else is the connector's mistake."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise NoLogId(f"the connector {connector.name} returned no log id")
    id_ = str(value)
    if "\0" in id_ or (not id_.isascii() and id_.encode("utf-8", "replace").decode() != id_):
        raise NoLogId(f"the connector {connector.name} returned a log id that no database can keep")
    return id_
