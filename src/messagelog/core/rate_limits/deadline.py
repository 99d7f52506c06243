"""Calls a connector for a request that waits, within its time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog

from messagelog.connectors import ConnectorError, OutcomeUnknown
from messagelog.core.rate_limits import call_context
from messagelog.errors import error_location

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from messagelog.connectors import Connector

T = TypeVar("T")

_log = structlog.get_logger(__name__)


async def call_with_timeout(connector: Connector, call: Awaitable[T], seconds: float) -> T:
    """Return what the CRM answers within `seconds`. Raise `ConnectorError` for everything else."""
    with call_context.single_call(seconds) as context:
        try:
            async with asyncio.timeout(seconds):
                return await call
        except ConnectorError as error:
            error.wrote = context.may_have_written
            raise
        except TimeoutError as error:
            raise OutcomeUnknown("no answer in time") from error
        except Exception as error:
            # The connector's own mistake, or an answer of the CRM that it did not expect: its text may quote that.
            type_, place = type(error).__name__, error_location(error)
            _log.error("connector_failed", connector=connector.name, error=type_, place=place)
            raise OutcomeUnknown(f"the connector {connector.name} raised {type_}") from error
