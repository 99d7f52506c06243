"""Liveness, readiness and metrics of a server. Nothing here contains a tenant's or a user's name."""

from __future__ import annotations

import asyncio
import hmac
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from messagelog.core.delivery.metrics import JournalGauges
from messagelog.server.openapi.operations import TEXT, Content
from messagelog.server.openapi.schemas import Readiness
from messagelog.server.requests import HttpRefusal, bearer_of, context_of, json_response
from messagelog.server.routing import Router
from messagelog.storage import StoreUnavailable, transactions
from messagelog.storage.breaker import PROBE_SECONDS
from messagelog.storage.store import UnusableFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from messagelog.server.context import AppContext
    from messagelog.storage.transactions import Transaction

T = TypeVar("T")

router = Router()

_READ_SECONDS: Final = 2.0
"""How long the database may take to answer a read: less than supervisors commonly wait."""

_COMMIT_SECONDS: Final = PROBE_SECONDS + 0.5
"""The same for a commit. Its own limit is shorter, so that the error says the cause."""

_MOST_LIMITERS: Final = 10_000

_log = structlog.get_logger(__name__)


@router.get("/healthz", answer=Content(TEXT, "OK", "text/plain"), plain_errors=True)
async def health(_request: Request) -> Response:
    """Return `OK`, as text, while the process answers. No database is asked, so losing it restarts no server."""
    return Response("OK", media_type="text/plain")


@router.get(
    "/readyz",
    answer=Content(
        Readiness, {"ready": True, "checks": {"database": "ok", "work": "ok"}, "secondsSinceSweep": 0.4}
    ),
    plain_errors=True,
)
async def readiness(request: Request) -> Response:
    """Check that requests can be taken: the database takes a commit, and sweeps are made. A 503 otherwise."""
    context = context_of(request)
    runtime = context.runtime
    if not runtime.takes_work:
        raise HttpRefusal(503, "Not ready: the server is starting or stopping.")
    await _within(_probe_database(context), _COMMIT_SECONDS)
    if (seconds := runtime.seconds_since_sweep) > runtime.times.longest_between_sweeps:
        _log.warning("not_ready", error="no sweep")
        raise HttpRefusal(503, f"Not ready: nothing that is due was looked for in the last {seconds:.0f} s.")
    checks = {"database": "ok", "work": "ok"}
    return json_response(Readiness(ready=True, checks=checks, seconds_since_sweep=round(seconds, 3)))


@router.get(
    "/metrics",
    answer=Content(TEXT, 'messagelog_messages_total{platform="demo",outcome="logged"} 1.0', "text/plain"),
    errors=(403,),
    plain_errors=True,
)
async def metrics(request: Request) -> Response:
    """Return metrics for Prometheus. If the operator has set a token, it is required as a bearer."""
    context = context_of(request)
    expected = context.config.metrics_token
    given = bearer_of(request) or ""
    if expected and not hmac.compare_digest(given.encode(), expected.encode()):
        raise HttpRefusal(403, "The metrics need the token of MESSAGELOG_METRICS_TOKEN, as a bearer.")
    momentary = CollectorRegistry()
    try:
        counts = await _query_store(context, transactions.count_open)
        limiters = await _query_store(context, lambda: transactions.find_active_limiters(_MOST_LIMITERS))
    except HttpRefusal:  # this process's own counts are still shown, and that the database is down
        gauges = JournalGauges(None, None)
    else:
        gauges = JournalGauges(counts, limiters)
    momentary.register(gauges)
    body = generate_latest(context.metrics.registry) + generate_latest(momentary)
    return Response(body, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _probe_database(context: AppContext) -> None:
    """Read from the journal, and commit something."""
    await context.store.read(transactions.find_next_due)
    await context.store.check()


async def _query_store(context: AppContext, transaction: Callable[[], Transaction[T]]) -> T:
    """Read from the journal; a 503 if the database does not answer now."""
    return await _within(context.store.read(transaction), _READ_SECONDS)


async def _within(answer: Awaitable[T], seconds: float) -> T:
    """Return the database's answer; a 503 if it takes longer than so many seconds, or fails.

    The refusal names the cause only by SQLite's name or PostgreSQL's SQLSTATE: the driver's text may name hosts and
    users.
    """
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except UnusableFile as error:
        raise HttpRefusal(503, "Not ready: the database's file was replaced or deleted.") from error
    except StoreUnavailable as error:
        _log.warning("not_ready", cause=str(error.cause))
        raise HttpRefusal(503, f"Not ready: the database cannot be used ({error.cause.code}).") from error
    except Exception as error:
        _log.warning("not_ready", error=type(error).__name__)
        raise HttpRefusal(503, "Not ready: the database does not answer.") from error
