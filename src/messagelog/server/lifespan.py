"""Opens and closes the parts of a server: database, sealing, connectors, runtime."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp

from messagelog.connectors.outbound import NamedHosts, Outbound
from messagelog.core import DeliveryContext, Runtime, UserDirectory
from messagelog.core.admin.retention import Retention
from messagelog.core.contacts.service import ContactService
from messagelog.core.delivery.calls import ConnectorCaller
from messagelog.core.delivery.media import MediaFetcher
from messagelog.core.delivery.metrics import Metrics
from messagelog.core.delivery.prepare import CallPreparer
from messagelog.core.intake.plugins import Plugins
from messagelog.core.operators.accounts import Operators
from messagelog.core.rate_limits.registry import LimiterRegistry
from messagelog.core.users.settings import UserSettings
from messagelog.server.auth.login_throttle import LoginThrottle
from messagelog.server.auth.oauth_state import OAuthStates
from messagelog.server.auth.rate_limit import TokenBuckets
from messagelog.server.auth.session_tokens import SessionTokens
from messagelog.server.context import AppContext
from messagelog.server.shutdown import CLOSE_SECONDS, close_all
from messagelog.storage import Sealer, open_store, transactions, with_stored_keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from messagelog.server.context import ServerConfig


@asynccontextmanager
async def open_context(config: ServerConfig) -> AsyncIterator[AppContext]:
    """Open the parts of a server; at the end drain its work and close everything.

    Raises `LookupError` if a connector signs users in with OAuth and has no client id, and `KeysLocked` if the
    database was used with other secret keys.
    """
    for name, each in config.connectors.items():
        if each.oauth is not None and name not in config.oauth_clients:
            raise LookupError(f"no OAuth client id is known for the connector {name}")
    named = NamedHosts(config.private_hosts)
    store = await open_store(config.database_url, clock=config.clock)
    try:
        sealer = await with_stored_keys(store, Sealer(config.secret_key, config.old_secret_keys))
        journal = await store.read(transactions.read_journal_id)
    except BaseException:
        await store.close()
        raise
    # No limit here, where one tenant's calls could hold up others': each tenant has a rate limiter of its own.
    connector = Outbound(named, limit=0)
    # Cookies would carry one user's session over to the next user's call.
    client = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    limiters = LimiterRegistry(store, call_seconds=config.times.call)
    users = UserDirectory(
        store,
        sealer,
        client,
        call_timeout=config.times.call,
        oauth_clients=config.oauth_clients,
        limiters=limiters,
        clock=config.now,
    )
    media = MediaFetcher(client, config.media_hosts)
    settings = UserSettings(store, config.locale)
    metrics = Metrics()
    passwords = config.passwords()
    plugins = Plugins(config.plugins, config.required_plugins) if config.plugins else None
    delivery = DeliveryContext(
        store=store,
        sealer=sealer,
        users=users,
        preparer=CallPreparer(store, sealer, media, call_timeout=config.times.call),
        caller=ConnectorCaller(sealer, call_timeout=config.times.call, metrics=metrics),
        times=config.times,
        jitter=config.jitter,
    )
    runtime = Runtime(delivery, config.connectors, journal=journal, settings=settings, plugins=plugins)
    retention = Retention(store, config.retention)
    retention.start()
    try:
        yield AppContext(
            config=config,
            store=store,
            runtime=runtime,
            users=users,
            tokens=SessionTokens(sealer.token_keys, clock=config.now),
            states=OAuthStates(sealer.state_keys, store, clock=config.now),
            contacts=ContactService(store, sealer, age=config.contact_seconds, lease=config.times.lease),
            plugins=plugins,
            settings=settings,
            metrics=metrics,
            requests=TokenBuckets(config.requests_per_minute, clock=config.now),
            guesses=TokenBuckets(config.guesses_per_minute, clock=config.now),
            sealer=sealer,
            operators=Operators(store, passwords),
            throttle=LoginThrottle(config.now),
            account_key=sealer.account_key,
        )
    finally:
        passwords.close()
        await runtime.stop()
        closing = (
            ("retention", retention.stop),
            ("users", users.close),
            ("rate limiters", limiters.close),
            ("CRM connections", client.close),
            ("database", store.close),
        )
        await close_all(closing, runtime.stops_by + CLOSE_SECONDS)
